//! The emulator against Microsoft's own clients in Python and JavaScript, which share no code with ours: a
//! constant that is wrong in both of ours would pass every other test.
//!
//! Needs Python with the packages of `tests/clients/requirements.txt`, at `AZEVENTS_PYTHON` or in `.venv`,
//! and Node.js with those of `tests/clients/package.json`, in the folder `AZEVENTS_NODE_MODULES` or beside it.
//! The community's Rust client is built in `tests/clients/azservicebus`; `AZEVENTS_AZSERVICEBUS` says where its program is.
//! Microsoft's checkpoint store for Rust is in `tests/clients/checkpointstore`, and `AZEVENTS_CHECKPOINTSTORE`.
//!
//! Each script says how many checks it made; `AZEVENTS_CLIENT_COUNTS` may name a file that gathers it.
//!
//! Without them the tests are skipped and say so; `AZEVENTS_REQUIRE_CLIENTS=1` makes that a failure.

mod clients;
mod interop;

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use azevents_emulator::{Emulator, EmulatorBuilder, EventHub, Queue, Subscription, Tls, Topic};

use clients::{ends, finish, interpreter, missing, repository, run_with};

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
        .event_hub(EventHub::new("small").with_partition_count(1))
        .event_hub(EventHub::new("geo").with_opaque_offsets())
        .event_hub(EventHub::new("tiny").with_max_partition_bytes(64 * 1024))
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
    for script in ["eventhubs.py", "eventhubs.cjs", "eventhubs_idempotent.cjs"] {
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
async fn the_official_eventhubs_client_is_told_what_goes_wrong() {
    for script in ["eventhubs_errors.py", "eventhubs_errors.cjs"] {
        run(script, |emulator| {
            vec![emulator.ready().eventhubs.connection_string.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_eventhubs_client_understands_throughput_units() {
    for script in ["eventhubs_throttled.py", "eventhubs_throttled.cjs"] {
        run_on(builder().throughput_units(1), script, |emulator| {
            vec![emulator.ready().eventhubs.connection_string.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_processors_take_over_from_each_other() {
    for script in ["eventhubs_processors.py", "eventhubs_processors.cjs"] {
        run(script, |emulator| {
            let ready = emulator.ready();
            vec![
                ready.eventhubs.connection_string.clone(),
                ready.blobs.connection_string.clone(),
            ]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_rust_processor_goes_on_behind_its_checkpoints() {
    let hint = "cargo build --manifest-path tests/clients/checkpointstore/Cargo.toml, and AZEVENTS_CHECKPOINTSTORE";
    let Some(program) = env::var_os("AZEVENTS_CHECKPOINTSTORE") else {
        return missing("checkpointstore", "AZEVENTS_CHECKPOINTSTORE is not set", hint);
    };
    let builder = builder().blob_container("processors-rs");
    let emulator = builder.start().await.expect("the emulator starts");
    let ready = emulator.ready();
    let host = ready.eventhubs.connection_string.split("sb://").nth(1);
    let host = host.and_then(|rest| rest.split([';', '/']).next()).expect("a host");
    let mut client = tokio::process::Command::new(repository().join(program));
    client.arg(format!("amqp://{host}"));
    client.arg(format!("{}/processors-rs?{}", ready.blobs.endpoint, ready.blobs.sas));
    finish(client, "checkpointstore").await;
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_blob_clients_and_checkpoint_stores_find_their_promises_kept() {
    for script in ["blobs.py", "blobs.cjs"] {
        run(script, |emulator| {
            let ready = emulator.ready();
            vec![ready.blobs.connection_string.clone(), ready.management.endpoint.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_cosmos_client_understands_provisioned_throughput() {
    let builder = builder().enforce_provisioned_throughput();
    run_on(builder, "cosmos_throttled.py", with_cosmos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_cosmos_client_finds_its_promises_kept() {
    for script in ["cosmos.py", "cosmos.cjs", "cosmos_features.py"] {
        run(script, with_cosmos).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_cosmos_client_goes_on_where_a_region_is_lost() {
    let builder = builder().cosmos_regions(["East US", "West US"]);
    run_on(builder, "cosmos_regions.py", with_cosmos).await;
}

/// Endpoint, key, and how to manage it.
fn with_cosmos(emulator: &Emulator) -> Vec<String> {
    let ready = emulator.ready();
    let cosmos = ready.cosmos.as_ref().expect("Cosmos DB is served");
    vec![
        cosmos.endpoint.clone(),
        cosmos.key.clone(),
        ready.management.endpoint.clone(),
    ]
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
async fn the_official_clients_bring_tokens_with_the_claim_that_is_required() {
    for script in ["access.py", "access.cjs"] {
        let Some(mut interpreter) = interpreter(script) else {
            continue;
        };
        let builder = builder().require_claim("tenant", "shop");
        let emulator = builder.start().await.expect("the emulator starts");
        let (ready, authority) = (emulator.ready(), authority(&emulator, script));
        let cosmos = ready.cosmos.as_ref().expect("Cosmos DB");
        let mut arguments = vec![
            ready.servicebus.connection_string.clone(),
            ready.eventhubs.connection_string.clone(),
            cosmos.endpoint.clone(),
            cosmos.key.clone(),
        ];
        interpreter.env("NODE_EXTRA_CA_CERTS", &authority);
        arguments.extend([authority.display().to_string(), ready.blobs.endpoint.clone()]);
        run_with(interpreter, script, arguments).await;
        emulator.shutdown().await;
    }
}

/// Alone with an emulator each, because they move its clock and have it fail.
async fn run_with_management(script: &str) {
    run(script, |emulator| {
        let ready = emulator.ready();
        vec![
            ready.servicebus.connection_string.clone(),
            ready.management.endpoint.clone(),
            ready.administration.connection_string.clone(),
            authority(emulator, script).display().to_string(),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_servicebus_client_meets_limits_and_the_end_of_locks_and_times() {
    run_with_management("servicebus_entities.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_servicebus_clients_live_through_faults() {
    for script in ["servicebus_faults.py", "servicebus_entities.cjs"] {
        run_with_management(script).await;
    }
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
///
/// A run takes two seconds. On a busy machine one in ten never ends, whatever it is just about, with the emulator at
/// rest and others served: then there is another run, on a new emulator.
#[tokio::test(flavor = "multi_thread")]
async fn the_communitys_rust_client_finds_its_promises_kept() {
    let hint = "cargo build --manifest-path tests/clients/azservicebus/Cargo.toml, and AZEVENTS_AZSERVICEBUS";
    let Some(program) = env::var_os("AZEVENTS_AZSERVICEBUS") else {
        return missing("azservicebus", "AZEVENTS_AZSERVICEBUS is not set", hint);
    };
    for run in 1..=5 {
        let builder = builder().host(IpAddr::from([127, 0, 72, 5])).servicebus_port(5672);
        let emulator = builder.start().await.expect("the emulator starts");
        let mut client = tokio::process::Command::new(repository().join(&program));
        client.arg(&emulator.ready().servicebus.connection_string);
        let ended = ends(client, "azservicebus", Duration::from_secs(30)).await;
        emulator.shutdown().await;
        if ended {
            return;
        }
        eprintln!("azservicebus: run {run} did not come to an end");
    }
    panic!("azservicebus does not come to an end");
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
