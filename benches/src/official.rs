//! The official clients for Python and JavaScript and the community's for Rust, each in a process of its own that prints
//! its figure.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// A client that others wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    /// At `AZEVENTS_PYTHON` or in `.venv`, with `tests/clients/requirements.txt`.
    Python,
    /// In the folder `AZEVENTS_NODE_MODULES` or `tests/clients/node_modules`, from `tests/clients/package.json`.
    JavaScript,
    /// `azservicebus`: the program `azservicebus-bench` of `tests/clients/azservicebus`, at `AZEVENTS_AZSERVICEBUS_BENCH`. It
    /// reaches Service Bus on port 5672 only.
    Azservicebus,
}

/// What a suite has for each client in `benches/clients`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// The file's name, without its ending.
    pub(crate) name: &'static str,
    /// The modules it imports.
    pub(crate) python: &'static str,
    /// The packages it requires.
    pub(crate) javascript: &'static [&'static str],
}

impl Client {
    /// The figure that the script prints last, or `None` where the client is not installed.
    ///
    /// # Errors
    /// When the script fails, or has no figure in time.
    pub(crate) async fn run(self, script: Script, arguments: &[&str], patience: Duration) -> Result<Option<f64>> {
        let Some(mut command) = self.command(script).await else {
            return Ok(None);
        };
        let running = command.args(arguments).kill_on_drop(true).output();
        let output = tokio::time::timeout(patience, running)
            .await
            .context("no end in sight")??;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let last = said.lines().last().unwrap_or_default();
        Ok(Some(
            last.trim().parse().with_context(|| format!("{self:?} said {last:?}"))?,
        ))
    }

    /// The program with its script, if it and the packages are there.
    async fn command(self, script: Script) -> Option<Command> {
        let (probe, ending) = match self {
            Self::Python => (["-c".to_owned(), format!("import {}", script.python)], "py"),
            Self::JavaScript => (
                [
                    "-e".to_owned(),
                    format!("for (const name of {:?}) require(name)", script.javascript),
                ],
                "cjs",
            ),
            // It has its scripts inside.
            Self::Azservicebus => return self.program().or_else(|| self.left_out()),
        };
        let there = self.program()?.args(probe).output().await;
        if !there.is_ok_and(|output| output.status.success()) {
            return self.left_out();
        }
        let mut command = self.program()?;
        let scripts = repository().join("benches/clients");
        command.arg(scripts.join(format!("{}.{ending}", script.name)));
        Some(command)
    }

    fn left_out(self) -> Option<Command> {
        eprintln!("{self:?} is left out: {}", self.remedy());
        None
    }

    /// The interpreter, or the client itself.
    fn program(self) -> Option<Command> {
        let given = |variable: &str| env::var_os(variable).map(|given| repository().join(given));
        let place = |variable: &str, otherwise: &str| given(variable).unwrap_or_else(|| repository().join(otherwise));
        match self {
            Self::Python => Some(Command::new(place("AZEVENTS_PYTHON", ".venv/bin/python"))),
            Self::JavaScript => {
                let mut node = Command::new("node");
                let modules = place("AZEVENTS_NODE_MODULES", "tests/clients/node_modules");
                node.env("NODE_PATH", modules);
                Some(node)
            }
            Self::Azservicebus => given("AZEVENTS_AZSERVICEBUS_BENCH").map(Command::new),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Python => "set AZEVENTS_PYTHON to one with tests/clients/requirements.txt",
            Self::Azservicebus => {
                "build tests/clients/azservicebus with --release, and set AZEVENTS_AZSERVICEBUS_BENCH to its azservicebus-bench"
            }
            Self::JavaScript => "set AZEVENTS_NODE_MODULES to a folder made from tests/clients/package.json",
        }
    }
}

/// A peer's figure, or why there is none.
pub(crate) fn known(figure: Result<Option<f64>>) -> Option<f64> {
    figure.unwrap_or_else(|error| {
        eprintln!("left out: {error:#}");
        None
    })
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
