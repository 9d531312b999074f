//! The emulator against Microsoft's own clients in Python and JavaScript, which share no code with ours: a
//! constant that is wrong in both of ours would pass every other test.
//!
//! Needs Python with the packages of `tests/clients/requirements.txt`, at `AZEVENTS_PYTHON` or in `.venv`,
//! and Node.js with those of `tests/clients/package.json`, in the folder `AZEVENTS_NODE_MODULES` or beside it.
//! The community's Rust client is built in `tests/clients/azservicebus`; `AZEVENTS_AZSERVICEBUS` says where its program is.
//!
//! Without them the tests are skipped and say so; `AZEVENTS_REQUIRE_CLIENTS=1` makes that a failure.

mod interop;

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use azevents_emulator::{Emulator, EmulatorBuilder, EventHub, Queue, Subscription, Tls, Topic};

fn repository() -> &'static Path {
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
fn node_modules() -> Result<PathBuf, String> {
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
fn interpreter(script: &str) -> Option<tokio::process::Command> {
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
fn missing(what: &str, why: &str, hint: &str) {
    assert!(
        env::var_os("AZEVENTS_REQUIRE_CLIENTS").is_none(),
        "the official clients are required and missing ({why}): {hint}"
    );
    eprintln!("SKIPPED: {what} needs the official clients ({why}): {hint}");
}

fn builder() -> EmulatorBuilder {
    Emulator::builder()
        .queue(Queue::new("work").with_max_delivery_count(3))
        .queue(Queue::new("sessions").with_sessions())
        .topic(
            Topic::new("orders")
                .with_subscription("billing")
                .with_subscription(Subscription::new("fulfilment").with_sessions()),
        )
        .event_hub(EventHub::new("order-events").with_consumer_group("analytics"))
        .event_hub(EventHub::new("geo").with_opaque_offsets())
        .event_hub(EventHub::new("short").with_retention(Duration::from_secs(3600)))
        .tls(Tls::generate(&[]).expect("a certificate"))
}

/// Runs a script of `tests/clients` and shows what it says when a promise is broken.
async fn run(script: &str, arguments: impl FnOnce(&Emulator) -> Vec<String>) {
    run_on(builder(), script, arguments).await;
}

async fn run_on(builder: EmulatorBuilder, script: &str, arguments: impl FnOnce(&Emulator) -> Vec<String>) {
    let Some(interpreter) = interpreter(script) else {
        return;
    };
    let emulator = builder.start().await.expect("the emulator starts");
    run_with(interpreter, script, arguments(&emulator)).await;
    emulator.shutdown().await;
}

async fn run_with(mut interpreter: tokio::process::Command, script: &str, arguments: Vec<String>) {
    interpreter
        .arg(repository().join("tests/clients").join(script))
        .args(arguments);
    finish(interpreter, script).await;
}

/// Lets a client run to its end, and shows what it says when it isn't content.
async fn finish(mut client: tokio::process::Command, script: &str) {
    let running = client.kill_on_drop(true).output();
    // Half a minute is usual; the clients wait for ever where an emulator falls silent.
    let output = tokio::time::timeout(Duration::from_secs(180), running)
        .await
        .unwrap_or_else(|_| panic!("{script} does not come to an end"))
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{script}:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_servicebus_client_finds_its_promises_kept() {
    for script in ["servicebus.py", "servicebus.cjs", "rules.cjs"] {
        run(script, |emulator| {
            vec![emulator.ready().servicebus.connection_string.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_eventhubs_client_finds_its_promises_kept() {
    for script in ["eventhubs.py", "eventhubs.cjs"] {
        run(script, |emulator| {
            let ready = emulator.ready();
            vec![
                ready.eventhubs.connection_string.clone(),
                ready.management.endpoint.clone(),
            ]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_eventhubs_client_understands_throughput_units() {
    run_on(builder().throughput_units(1), "eventhubs_throttled.py", |emulator| {
        vec![emulator.ready().eventhubs.connection_string.clone()]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_blob_clients_and_checkpoint_stores_find_their_promises_kept() {
    for script in ["blobs.py", "blobs.cjs"] {
        run(script, |emulator| {
            vec![emulator.ready().blobs.connection_string.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_cosmos_client_finds_its_promises_kept() {
    for script in ["cosmos.py", "cosmos.cjs"] {
        run(script, |emulator| {
            let cosmos = emulator
                .ready()
                .cosmos
                .as_ref()
                .expect("the emulator has Cosmos DB by default");
            vec![cosmos.endpoint.clone(), cosmos.key.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_come_over_tls_and_websockets() {
    run("transport.py", |emulator| {
        let authority = authority(emulator, "transport");
        vec![
            emulator.ready().servicebus.connection_string.clone(),
            emulator.ready().eventhubs.connection_string.clone(),
            authority.display().to_string(),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_administration_client_finds_its_promises_kept() {
    let (python, node) = ("administration.py", "administration.cjs");
    let emulator = builder().start().await.expect("the emulator starts");
    let ready = emulator.ready();
    let (administration, servicebus) = (
        ready.administration.connection_string.clone(),
        ready.servicebus.connection_string.clone(),
    );
    let authority = authority(&emulator, "administration");
    if let Some(interpreter) = interpreter(python) {
        let arguments = vec![
            administration.clone(),
            authority.display().to_string(),
            servicebus.clone(),
        ];
        run_with(interpreter, python, arguments).await;
    }
    if let Some(mut interpreter) = interpreter(node) {
        // Node.js has no other way to trust a certificate that the client gives room for.
        interpreter.env("NODE_EXTRA_CA_CERTS", &authority);
        run_with(interpreter, node, vec![administration, servicebus]).await;
    }
    emulator.shutdown().await;
}

/// Over plain TCP this client knows port 5672 only, so the emulator gets a loopback address of its own for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_communitys_rust_client_finds_its_promises_kept() {
    let hint = "cargo build --manifest-path tests/clients/azservicebus/Cargo.toml, and AZEVENTS_AZSERVICEBUS";
    let Some(program) = env::var_os("AZEVENTS_AZSERVICEBUS") else {
        return missing("azservicebus", "AZEVENTS_AZSERVICEBUS is not set", hint);
    };
    let builder = builder().host(IpAddr::from([127, 0, 72, 5])).servicebus_port(5672);
    let emulator = builder.start().await.expect("the emulator starts");
    let mut client = tokio::process::Command::new(repository().join(program));
    client.arg(&emulator.ready().servicebus.connection_string);
    finish(client, "azservicebus").await;
    emulator.shutdown().await;
}

/// An AMQP engine that knows nothing of Azure, and writes what the official clients never do.
#[tokio::test(flavor = "multi_thread")]
async fn qpid_proton_finds_its_promises_kept() {
    run("qpid_proton.py", |emulator| {
        let ready = emulator.ready();
        vec![
            ready.servicebus.connection_string.clone(),
            ready.eventhubs.connection_string.clone(),
        ]
    })
    .await;
}

/// The certificate to trust, in a file.
fn authority(emulator: &Emulator, name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-authority.pem"));
    let tls = emulator.ready().tls.as_ref().expect("the emulator has a certificate");
    std::fs::write(&file, &tls.ca_pem).expect("a file for the certificate");
    file
}
