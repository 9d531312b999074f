//! The official clients for Python and JavaScript, each in a process of its own that prints its figure.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// An official client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    /// At `AZEVENTS_PYTHON` or in `.venv`, with `tests/clients/requirements.txt`.
    Python,
    /// In the folder `AZEVENTS_NODE_MODULES` or `tests/clients/node_modules`, from `tests/clients/package.json`.
    JavaScript,
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

    /// The interpreter with its script, if the packages are there.
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
        };
        let there = self
            .interpreter()
            .args(probe)
            .output()
            .await
            .is_ok_and(|output| output.status.success());
        if !there {
            eprintln!("{self:?} is left out: {}", self.remedy());
            return None;
        }
        let mut command = self.interpreter();
        command.arg(
            repository()
                .join("benches/clients")
                .join(format!("{}.{ending}", script.name)),
        );
        Some(command)
    }

    fn interpreter(self) -> Command {
        let place = |variable: &str, otherwise: &str| -> PathBuf {
            let given = env::var_os(variable).map_or_else(|| otherwise.into(), PathBuf::from);
            repository().join(given)
        };
        match self {
            Self::Python => Command::new(place("AZEVENTS_PYTHON", ".venv/bin/python")),
            Self::JavaScript => {
                let mut node = Command::new("node");
                let modules = place("AZEVENTS_NODE_MODULES", "tests/clients/node_modules");
                node.env("NODE_PATH", modules);
                node
            }
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Python => "set AZEVENTS_PYTHON to one with tests/clients/requirements.txt",
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
