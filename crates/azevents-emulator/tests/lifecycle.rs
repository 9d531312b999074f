//! Starting, stopping, and what stands in the way of it.

#![cfg(feature = "cosmos")]

mod support;

use std::net::Ipv4Addr;

use azevents_emulator::{Emulator, EventHub, Port, StartError};
use support::{cosmos_client, events_container, http, http_with};

fn cosmos_port(emulator: &Emulator) -> u16 {
    let endpoint = &emulator.ready().cosmos.as_ref().expect("Cosmos DB is served").endpoint;
    endpoint
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn two_emulators_in_one_process_share_nothing() {
    let first = Emulator::builder().start().await.unwrap();
    let second = Emulator::builder().start().await.unwrap();
    events_container(&cosmos_client(&first).await).await;
    // It would be a conflict, were it the same account.
    events_container(&cosmos_client(&second).await).await;
    first.shutdown().await;
    let (status, _) = http(&second.ready().management.endpoint, "GET", "/health", "").await;
    assert_eq!(status, 200, "stopping one does not stop the other");
}

#[tokio::test]
async fn a_token_needs_the_claims_that_are_required() {
    let emulator = Emulator::builder().require_claim("tid", "bank").start().await.unwrap();
    let ready = emulator.ready();
    let cosmos = &ready.cosmos.as_ref().expect("Cosmos DB is served").endpoint;
    let (blobs, account) = ready.blobs.endpoint.rsplit_once('/').expect("host and account");
    // {} and {"tid":"bank"}.
    for (claims, status) in [("e30", 401), ("eyJ0aWQiOiJiYW5rIn0", 200)] {
        let token = format!("e30.{claims}.c2ln");
        let header = format!("Authorization: type=aad&ver=1.0&sig={token}");
        let (answered, body) = http_with(cosmos, "GET", "/dbs", &header, "").await;
        assert_eq!(answered, status, "{body}");
        let header = format!("x-ms-version: 2021-12-02\r\nAuthorization: Bearer {token}");
        let path = format!("/{account}/?comp=list");
        let (answered, body) = http_with(blobs, "GET", &path, &header, "").await;
        assert_eq!(answered, status, "{body}");
    }
}

#[tokio::test]
async fn a_port_is_free_again_after_shutdown_even_with_a_client_connected() {
    let emulator = Emulator::builder().start().await.unwrap();
    let port = cosmos_port(&emulator);
    let client = cosmos_client(&emulator).await;
    events_container(&client).await;
    emulator.shutdown().await;
    let again = Emulator::builder()
        .cosmos_port(port)
        .start()
        .await
        .expect("the same port");
    assert_eq!(cosmos_port(&again), port);
    // A new emulator is empty.
    events_container(&cosmos_client(&again).await).await;
}

#[tokio::test]
async fn dropping_an_emulator_stops_it() {
    let emulator = Emulator::builder().start().await.unwrap();
    let port = cosmos_port(&emulator);
    drop(emulator);
    // The tasks end on their own time; the port becomes free then and not before.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match Emulator::builder().cosmos_port(port).start().await {
            Ok(_) => break,
            Err(StartError::PortInUse { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_remedy() {
    let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let number = taken.local_addr().unwrap().port();
    let attempts = [
        (Emulator::builder().cosmos_port(number), Port::Cosmos, "cosmos-port"),
        (
            Emulator::builder().servicebus_port(number),
            Port::ServiceBus,
            "servicebus-port",
        ),
        (
            Emulator::builder().eventhubs_port(number),
            Port::EventHubs,
            "eventhubs-port",
        ),
        (Emulator::builder().blobs_port(number), Port::Blobs, "blobs-port"),
        (
            Emulator::builder().administration_port(number),
            Port::Administration,
            "administration-port",
        ),
        (
            Emulator::builder().management_port(number),
            Port::Management,
            "management-port",
        ),
    ];
    for (builder, expected, setting) in attempts {
        let error = builder.start().await.unwrap_err();
        let says = error.to_string();
        assert!(says.contains(&number.to_string()) && says.contains(setting), "{says}");
        let StartError::PortInUse { port, .. } = error else {
            panic!("{says}")
        };
        assert_eq!(port, expected);
    }
}

#[tokio::test]
async fn other_machines_are_kept_out_unless_allowed() {
    let builder = Emulator::builder().host(Ipv4Addr::UNSPECIFIED.into());
    let error = builder.clone().start().await.unwrap_err();
    assert!(matches!(error, StartError::NotLoopback { .. }), "{error}");
    let emulator = builder.allow_remote(true).start().await.unwrap();
    let endpoint = &emulator.ready().cosmos.as_ref().unwrap().endpoint;
    assert!(
        endpoint.starts_with("http://127.0.0.1:"),
        "one can't connect to {endpoint}"
    );
}

#[tokio::test]
async fn impossible_entities_are_refused_before_anything_runs() {
    let twice = Emulator::builder().queue("q1").queue("Q1");
    let error = twice.start().await.unwrap_err();
    assert!(error.to_string().contains("is there twice"), "{error}");
    let many = Emulator::builder().event_hub(EventHub::new("eh").with_partition_count(5000));
    let error = many.start().await.unwrap_err();
    assert!(error.to_string().contains("5000 partitions"), "{error}");
}
