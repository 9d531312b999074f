//! Microsoft's emulator of Blob Storage, from npm: what our blob leases keep there, official checkpoint stores of other
//! languages find there, by code that is neither's.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::clients::{missing, node_modules};

/// A running Azurite; it ends when this is dropped.
pub(super) struct Azurite {
    _process: Child,
    _output: Lines<BufReader<ChildStdout>>,
    endpoint: String,
}

impl Azurite {
    /// Starts one that has the account of a connection string. `None`, after saying that it is skipped, where it
    /// isn't installed.
    pub(super) async fn start(connection_string: &str) -> Option<Self> {
        let program = node_modules().map(|modules| modules.join("azurite/dist/src/blob/main.js"));
        let program = match program {
            Ok(program) if program.exists() => program,
            Ok(program) => {
                missing(
                    "Azurite",
                    &format!("no {}", program.display()),
                    "npm install --prefix tests/clients",
                );
                return None;
            }
            Err(why) => {
                missing("Azurite", &why, "npm install --prefix tests/clients");
                return None;
            }
        };
        let (name, key) = account(connection_string);
        let mut process = Command::new("node")
            .arg(program)
            .args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"])
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .env("AZURITE_ACCOUNTS", format!("{name}:{key}"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let address = loop {
            let line = output
                .next_line()
                .await
                .expect("text")
                .expect("it says where it listens");
            if let Some((_, address)) = line.split_once("successfully listens on ") {
                break address.trim().to_owned();
            }
        };
        Some(Self {
            _process: process,
            _output: output,
            endpoint: format!("{address}/{name}"),
        })
    }

    /// Where the account is.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// The account's name and key.
fn account(connection_string: &str) -> (&str, &str) {
    let value = |name: &str| {
        let mut parts = connection_string.split(';').filter_map(|part| part.split_once('='));
        parts
            .find(|(key, _)| *key == name)
            .expect("it is in every connection string")
            .1
    };
    (value("AccountName"), value("AccountKey"))
}
