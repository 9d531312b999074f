//! Categories whose commits expire.

use std::time::Duration;

use azevents_core::{AppendOutcome, EventStore, ExpectedVersion, Snapshot, SnapshotStore};
use serde_json::Value;

use crate::common::{EVENTS, Server};
use crate::support::{committed, events, stream};

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
