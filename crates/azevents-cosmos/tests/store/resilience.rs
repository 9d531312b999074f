//! What is left to the SDK's own policies: throttling, a service that is away, sessions.

use azevents_core::{ErrorKind, EventStore, ExpectedVersion};
use azevents_cosmos::CosmosEventStore;
use azevents_emulator::{FaultKind, FaultPlan};

use crate::common::{EVENTS, Server};
use crate::support::{committed, event, events, read, stream};

#[tokio::test]
async fn what_the_service_asks_to_repeat_is_repeated_and_paid_for() {
    let server = Server::start().await;
    let (store, meter) = server.store().await.metered();
    for (kind, name) in [
        (FaultKind::CosmosThrottle, stream("throttled-1")),
        (FaultKind::CosmosRetryWith, stream("contended-1")),
    ] {
        server.misbehave(FaultPlan::new(1).with(kind, 1.0, 3));
        committed(
            store
                .append(&name, ExpectedVersion::NoStream, events(2))
                .await
                .expect("append"),
        );
        assert_eq!(server.injected(kind), 3);
        let cost = meter.take();
        assert_eq!(cost.requests, 4, "{kind}: the repetitions are counted: {cost}");
        assert_eq!(read(&store, &name).await.len(), 2);
        meter.take();
    }
}

#[tokio::test]
async fn throttling_without_end_is_an_error_that_says_so_and_nothing_is_written() {
    let server = Server::start().await;
    let store = server.store().await;
    server.misbehave(FaultPlan::new(1).with(FaultKind::CosmosThrottle, 1.0, u64::MAX));
    let error = store
        .append(&stream("busy-1"), ExpectedVersion::NoStream, events(1))
        .await
        .expect_err("throttled");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
    assert!(error.is_transient() && error.retry_after().is_some(), "{error:?}");
    server.emulator.faults().clear();
    assert!(read(&store, &stream("busy-1")).await.is_empty());
}

#[tokio::test]
async fn a_service_that_is_away_leaves_an_error_that_says_whether_it_may_have_happened() {
    let server = Server::start().await;
    let store = server.store().await;
    server.misbehave(FaultPlan::new(1).with(FaultKind::CosmosUnavailable, 1.0, u64::MAX));
    let error = store
        .append(&stream("away-1"), ExpectedVersion::NoStream, events(1))
        .await
        .expect_err("away");
    assert!(
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown),
        "{error}"
    );
    server.misbehave(FaultPlan::new(1).with(FaultKind::CosmosLoseResponse, 1.0, u64::MAX));
    let given = vec![event(1)];
    let outcome = store
        .append(&stream("lost-1"), ExpectedVersion::NoStream, given.clone())
        .await;
    if let Err(error) = &outcome {
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    }
    // It had happened: the same again finds it.
    server.emulator.faults().clear();
    let commit = committed(
        store
            .append(&stream("lost-1"), ExpectedVersion::NoStream, given)
            .await
            .expect("append"),
    );
    assert_eq!(read(&store, &stream("lost-1")).await, commit.events);
}

/// Each connection is a session: it reads what it has written. Another connection may lag behind, which an
/// append finds out by its conflict.
#[tokio::test]
async fn what_one_connection_has_written_it_reads_and_another_finds_out_by_appending() {
    let server = Server::start().await;
    let store = server.store().await;
    let other = CosmosEventStore::open(&server.connect_again().await, EVENTS)
        .await
        .expect("container");
    let name = stream("session-1");
    let mut head = None;
    for n in 0..20 {
        let commit = committed(store.append(&name, head.into(), vec![event(n)]).await.expect("append"));
        head = Some(commit.head());
        assert_eq!(store.head(&name).await.expect("head"), head);
        assert_eq!(read(&store, &name).await.len(), n + 1);
    }
    let outcome = other
        .append(&name, ExpectedVersion::NoStream, vec![event(99)])
        .await
        .expect("append");
    match outcome {
        azevents_core::AppendOutcome::Conflict(conflict) => assert_eq!(conflict.head, head),
        azevents_core::AppendOutcome::Committed(commit) => panic!("{commit:?}"),
    }
}
