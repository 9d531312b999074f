//! The official clients for Python and JavaScript, each in a process of its own that prints its figure.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::{PATIENCE, Scene};

/// An official client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Client {
    /// At `AZEVENTS_PYTHON` or in `.venv`, with `tests/clients/requirements.txt`.
    Python,
    /// In the folder `AZEVENTS_NODE_MODULES` or `tests/clients/node_modules`, from `tests/clients/package.json`.
    JavaScript,
}

impl Client {
    /// Events a second, or `None` where the client is not installed.
    pub(super) async fn run(self, scene: &Scene, what: &str) -> Result<Option<f64>> {
        let Some(mut command) = self.command().await else {
            return Ok(None);
        };
        let blobs = &scene.emulator.ready().blobs.connection_string;
        let arguments = [what, scene.connection_string(), scene.hub.as_str(), blobs.as_str()];
        let running = command
            .args(arguments)
            .arg(scene.events.to_string())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, running)
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
    async fn command(self) -> Option<Command> {
        let place = |variable: &str, otherwise: &str| -> PathBuf {
            let given = env::var_os(variable).map_or_else(|| otherwise.into(), PathBuf::from);
            repository().join(given)
        };
        let interpreter = || match self {
            Self::Python => Command::new(place("AZEVENTS_PYTHON", ".venv/bin/python")),
            Self::JavaScript => {
                let mut node = Command::new("node");
                node.env(
                    "NODE_PATH",
                    place("AZEVENTS_NODE_MODULES", "tests/clients/node_modules"),
                );
                node
            }
        };
        let (probe, script) = match self {
            Self::Python => (
                [
                    "-c",
                    "import azure.eventhub, azure.eventhub.extensions.checkpointstoreblob",
                ],
                "eventhubs.py",
            ),
            Self::JavaScript => (
                [
                    "-e",
                    "require('@azure/event-hubs'); require('@azure/eventhubs-checkpointstore-blob')",
                ],
                "eventhubs.cjs",
            ),
        };
        let there = interpreter()
            .args(probe)
            .output()
            .await
            .is_ok_and(|output| output.status.success());
        there.then(|| {
            let mut command = interpreter();
            command.arg(repository().join("benches/clients").join(script));
            command
        })
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
