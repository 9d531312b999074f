//! The program: its one line, its file of variables, its exit codes.

#![cfg(unix)]

mod killed;

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// A running program that is killed with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Program {
    let child = Command::new(env!("CARGO_BIN_EXE_azevents-emulator"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    Program(child)
}

impl Program {
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        line
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the end: exit code and standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("stderr is a pipe");
        stderr.read_to_string(&mut said).expect("readable");
        (self.0.wait().expect("it ends").code(), said)
    }
}

/// A file name that no other test and no other run uses.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

#[test]
fn the_ready_line_is_all_there_is_on_standard_output() {
    for signal in ["TERM", "INT"] {
        let mut program = start(&["--log", "debug"]);
        let ready: Value = serde_json::from_str(&program.first_line()).expect("JSON");
        assert_eq!(ready["event"], "ready");
        for pointer in [
            "/cosmos/endpoint",
            "/cosmos/key",
            "/servicebus/connection_string",
            "/eventhubs/connection_string",
            "/blobs/endpoint",
            "/blobs/connection_string",
            "/blobs/sas",
            "/administration/connection_string",
            "/management/endpoint",
        ] {
            assert!(
                ready.pointer(pointer).is_some_and(Value::is_string),
                "{pointer} in {ready}"
            );
        }
        program.signal(signal);
        let (code, said) = program.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("stopping"), "the log is on standard error: {said}");
    }
}

#[test]
fn a_shell_can_source_the_env_file_as_soon_as_the_line_is_there() {
    let file = scratch("emulator.env");
    let mut program = start(&["--env-file", file.to_str().unwrap()]);
    let ready: Value = serde_json::from_str(&program.first_line()).expect("JSON");
    let sourced = Command::new("sh")
        .arg("-ec")
        .arg("set -a; . \"$0\"; env")
        .arg(&file)
        .env_clear()
        .output()
        .expect("sh runs");
    let variables = String::from_utf8(sourced.stdout).unwrap();
    for (name, pointer) in [
        ("COSMOS_ENDPOINT", "/cosmos/endpoint"),
        ("COSMOS_KEY", "/cosmos/key"),
        ("SERVICEBUS_CONNECTION_STRING", "/servicebus/connection_string"),
        ("EVENTHUBS_CONNECTION_STRING", "/eventhubs/connection_string"),
        ("BLOBS_CONNECTION_STRING", "/blobs/connection_string"),
        ("BLOBS_ENDPOINT", "/blobs/endpoint"),
        ("BLOBS_SAS", "/blobs/sas"),
        (
            "SERVICEBUS_ADMINISTRATION_CONNECTION_STRING",
            "/administration/connection_string",
        ),
        ("AZEVENTS_EMULATOR_MANAGEMENT", "/management/endpoint"),
    ] {
        let line = format!("{name}={}", ready.pointer(pointer).unwrap().as_str().unwrap());
        assert!(
            variables.lines().any(|variable| variable == line),
            "{line} in {variables}"
        );
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_taken_port_and_a_wrong_file_end_it_with_1_and_a_wrong_argument_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let config = scratch("Config.json");
    std::fs::write(
        &config,
        "{\n  \"UserConfig\": { \"Namespaces\": [ { \"Queue\": [] } ] }\n}",
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (
            &["--cosmos-port", &port],
            1,
            &format!("port {port} for Cosmos DB is already in use"),
        ),
        (&["--config", config], 1, &format!("{config}:2:")),
        (&["--host", "0.0.0.0"], 1, "allow-remote"),
        (&["--no-such-thing"], 2, "--no-such-thing"),
    ];
    for (arguments, code, says) in cases {
        let mut program = start(arguments);
        let (ended, said) = program.end();
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    std::fs::remove_file(config).unwrap();
}
