//! The parts as processes of their own: any of them can be killed at any moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use azevents_emulator::{Emulator, Ready};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use retail::input::generate;
use retail::report::Report;
use tokio::process::{Child, Command};

use crate::figures::{expected, settled};

const PARTS: [&[&str]; 5] = [
    &["relay", "servicebus"],
    &["relay", "eventhubs"],
    &["consume", "billing"],
    &["consume", "fulfilment"],
    &["consume", "analytics"],
];

/// The program, told where the services are.
fn retail(ready: &Ready) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retail"));
    let cosmos = ready.cosmos.as_ref().expect("Cosmos DB is on");
    command
        .env("COSMOS_ENDPOINT", &cosmos.endpoint)
        .env("COSMOS_KEY", &cosmos.key)
        .env("SERVICEBUS_CONNECTION_STRING", &ready.servicebus.connection_string)
        .env("EVENTHUBS_CONNECTION_STRING", &ready.eventhubs.connection_string)
        .env("AZEVENTS_EMULATOR_MANAGEMENT", &ready.management.endpoint)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A part that runs until it is stopped, under an owner's name of its own.
fn start(ready: &Ready, part: &[&str]) -> Child {
    let owner = part.join("-");
    retail(ready)
        .args(part)
        .args(["--owner", &owner])
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts")
}

async fn output(mut command: Command) -> String {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

async fn report(ready: &Ready) -> Report {
    let mut command = retail(ready);
    command.args(["report", "--json"]);
    serde_json::from_str(&output(command).await).expect("one JSON object")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_can_be_killed_at_any_moment_and_the_report_is_exact() {
    let emulator = Emulator::builder().start().await.expect("the emulator starts");
    let ready = emulator.ready();
    let csv = generate(1, 80);
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("day.csv");
    std::fs::write(&input, &csv).expect("written");

    let mut provision = retail(ready);
    provision.arg("provision");
    output(provision).await;
    let mut ingest = retail(ready);
    ingest.args(["ingest", "--input"]).arg(&input);
    let ingest = tokio::spawn(output(ingest));

    let mut parts: Vec<_> = PARTS.iter().map(|part| start(ready, part)).collect();
    let mut random = StdRng::seed_from_u64(536_365);
    for _ in 0..15 {
        // The moments are the point: anywhere in start-up, in the middle of work, or idle.
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        let victim = random.random_range(0..PARTS.len());
        parts[victim].kill().await.expect("killed");
        parts[victim] = start(ready, PARTS[victim]);
    }
    println!("{}", ingest.await.expect("ingest"));

    let expected = expected(&csv);
    let begun = Instant::now();
    loop {
        let found = settled(report(ready).await);
        if found == expected {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "not there yet:\n{found:?}\ninstead of\n{expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }

    // Reading the same file again adds nothing.
    let mut again = retail(ready);
    again.args(["ingest", "--input"]).arg(&input);
    output(again).await;
    assert_eq!(settled(report(ready).await), expected);
}

#[tokio::test]
async fn without_an_environment_the_error_says_what_to_set() {
    let output = Command::new(env!("CARGO_BIN_EXE_retail"))
        .arg("report")
        .env_clear()
        .output()
        .await
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("COSMOS_ENDPOINT is not set") && said.contains("--env-file"),
        "{said}"
    );
}
