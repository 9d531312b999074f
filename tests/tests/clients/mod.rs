//! Finds what the scripts of `tests/clients` need, runs them, and counts what they have checked.

mod counts;
mod coverage;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The longest a script may take. A minute is much, where nothing else runs; the clients wait for ever where an emulator falls silent.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is the parent folder")
}

/// A Python that has the packages, or why there is none.
fn python() -> Result<PathBuf, String> {
    let python = env::var_os("AZEVENTS_PYTHON").map_or_else(
        || repository().join(".venv/bin/python"),
        |given| repository().join(given),
    );
    let import = "import azure.servicebus, azure.eventhub, azure.cosmos, azure.storage.blob, websocket, proton";
    runs(Command::new(&python).args(["-c", import])).map(|()| python)
}

/// Where Node.js finds the packages, or why it doesn't.
pub(crate) fn node_modules() -> Result<PathBuf, String> {
    let modules = env::var_os("AZEVENTS_NODE_MODULES").map_or_else(
        || repository().join("tests/clients/node_modules"),
        |given| repository().join(given),
    );
    let require = "require('@azure/storage-blob'); require('@azure/cosmos'); require('@azure/event-hubs'); require('@azure/service-bus')";
    runs(Command::new("node").args(["-e", require]).env("NODE_PATH", &modules)).map(|()| modules)
}

fn runs(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// What runs a script, by the ending of its name; `None` after saying that it is skipped.
pub(crate) fn interpreter(script: &str) -> Option<tokio::process::Command> {
    let (found, hint) = if Path::new(script).extension().is_some_and(|ending| ending == "py") {
        let hint = "python3 -m venv .venv && .venv/bin/pip install -r tests/clients/requirements.txt";
        (python().map(tokio::process::Command::new), hint)
    } else {
        let node = node_modules().map(|modules| {
            let mut node = tokio::process::Command::new("node");
            node.env("NODE_PATH", modules);
            node
        });
        (node, "npm install --prefix tests/clients")
    };
    match found {
        Ok(interpreter) => Some(interpreter),
        Err(why) => {
            missing(script, &why, hint);
            None
        }
    }
}

/// Says that something is skipped, or fails where it must not be.
pub(crate) fn missing(what: &str, why: &str, hint: &str) {
    assert!(
        env::var_os("AZEVENTS_REQUIRE_CLIENTS").is_none(),
        "the official clients are required and missing ({why}): {hint}"
    );
    eprintln!("SKIPPED: {what} needs the official clients ({why}): {hint}");
}

/// Runs a script of `tests/clients`, and shows what it says when a promise is broken.
pub(crate) async fn run_with(mut interpreter: tokio::process::Command, script: &str, arguments: Vec<String>) {
    interpreter
        .arg(repository().join("tests/clients").join(script))
        .args(arguments);
    finish(interpreter, script).await;
}

/// Lets a client run to its end, shows what it says when it isn't content, and counts its checks when it is.
pub(crate) async fn finish(client: tokio::process::Command, script: &str) {
    assert!(ends(client, script, PATIENCE).await, "{script} does not come to an end");
}

/// As [`finish`]; `false` where a client has not come to its end after so long.
pub(crate) async fn ends(mut client: tokio::process::Command, script: &str, patience: Duration) -> bool {
    let running = client.kill_on_drop(true).output();
    let Ok(output) = tokio::time::timeout(patience, running).await else {
        return false;
    };
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script}:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    counts::note(script, &said);
    true
}
