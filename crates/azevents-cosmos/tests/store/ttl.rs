//! What expires: commits of a category, marks of handled messages.

use std::time::Duration;

use azevents_core::{AppendOutcome, Begin, EventStore, ExpectedVersion, Inbox, InboxKey, Snapshot, SnapshotStore};
use azevents_cosmos::CosmosInbox;
use serde_json::Value;

use crate::common::{EVENTS, INBOX, Server};
use crate::support::{committed, events, read, stream};

#[tokio::test]
async fn commits_and_snapshots_of_a_category_carry_its_time_to_live_and_others_none() {
    let server = Server::start().await;
    let store = server.store().await.with_ttl("session", Duration::from_secs(3600));
    let container = server.cosmos.container(EVENTS).await.expect("container");
    for (name, ttl) in [("session-1", Some(3600)), ("order-1", None)] {
        let name = stream(name);
        let head = committed(
            store
                .append(&name, ExpectedVersion::NoStream, events(1))
                .await
                .expect("append"),
        )
        .head();
        let snapshot = Snapshot {
            stream: name.clone(),
            schema: "v1".into(),
            head,
            taken_at: time::OffsetDateTime::UNIX_EPOCH,
            content_type: "application/json".into(),
            state: "1".into(),
        };
        store.save_snapshot(&snapshot).await.expect("save");
        for id in ["c00000000000000000001", "s|v1"] {
            let read = container
                .read_item(name.as_str().to_owned(), id, None)
                .await
                .expect("there");
            let document: Value = read.into_model().expect("JSON");
            assert_eq!(document["ttl"].as_u64(), ttl, "{document}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_has_lost_its_beginning_is_not_begun_again() {
    let server = Server::start().await;
    let store = server.store().await.with_ttl("session", Duration::from_secs(3600));
    let name = stream("session-1");
    for _ in 0..2 {
        committed(
            store
                .append(&name, ExpectedVersion::Any, events(2))
                .await
                .expect("append"),
        );
    }
    // As when the first commit has expired and the second hasn't.
    let container = server.cosmos.container(EVENTS).await.expect("container");
    container
        .delete_item("session-1", "c00000000000000000001", None)
        .await
        .expect("deleted");
    match store
        .append(&name, ExpectedVersion::NoStream, events(1))
        .await
        .expect("append")
    {
        AppendOutcome::Conflict(conflict) => assert_eq!(conflict.unseen.len(), 2),
        AppendOutcome::Committed(commit) => panic!("version 1 was given twice: {commit:?}"),
    }
}

#[tokio::test]
async fn an_expired_stream_begins_anew_and_a_state_from_before_is_told_so() {
    let server = Server::start().await;
    let store = server.store().await.with_ttl("session", Duration::from_secs(3600));
    let (short, long) = (stream("session-1"), stream("order-1"));
    let mut old = None;
    for name in [&short, &long] {
        let commit = committed(
            store
                .append(name, ExpectedVersion::NoStream, events(1))
                .await
                .expect("append"),
        );
        old = old.or(Some(commit.head()));
    }
    server.emulator.clock().advance(Duration::from_secs(3700));
    assert!(read(&store, &short).await.is_empty());
    assert_eq!(read(&store, &long).await.len(), 1);
    let anew = committed(
        store
            .append(&short, ExpectedVersion::NoStream, events(3))
            .await
            .expect("append"),
    );
    assert_eq!(anew.first, azevents_core::Version::FIRST);
    // A head from before names a commit that is there again, but ends elsewhere.
    match store.append(&short, old.into(), events(1)).await.expect("append") {
        AppendOutcome::Conflict(conflict) => assert_eq!(conflict.head, Some(anew.head())),
        AppendOutcome::Committed(commit) => panic!("overlaps the new stream: {commit:?}"),
    }
    assert_eq!(
        read(&store, &short).await,
        anew.events,
        "what was tried has left no trace"
    );
}

#[tokio::test]
async fn a_mark_of_a_handled_message_is_kept_as_long_as_it_was_asked_for() {
    let server = Server::start().await;
    let inbox = CosmosInbox::open(&server.cosmos, INBOX).await.expect("container");
    let inbox = inbox.with_retention(Duration::from_secs(3600));
    let key = InboxKey::new("billing", "m1");
    let lease = Duration::from_secs(30);
    let Begin::Granted(granted) = inbox.begin(&key, lease).await.expect("begin") else {
        panic!("nobody else has asked for it");
    };
    inbox.complete(&granted).await.expect("complete");
    server.emulator.clock().advance(Duration::from_secs(3500));
    assert_eq!(inbox.begin(&key, lease).await.expect("begin"), Begin::AlreadyHandled);
    server.emulator.clock().advance(Duration::from_secs(200));
    assert!(matches!(
        inbox.begin(&key, lease).await.expect("begin"),
        Begin::Granted(_)
    ));
}
