//! The promises of [`SnapshotStore`].

use azevents_core::{Snapshot, SnapshotStore, StreamHead, StreamId, Version};
use time::OffsetDateTime;

use crate::fresh_stream;

/// Runs all checks on one store.
pub async fn check(store: &dyn SnapshotStore) {
    the_latest_snapshot_comes_back_as_it_was(store).await;
    schemas_and_streams_are_apart(store).await;
    a_deleted_snapshot_is_gone(store).await;
}

fn snapshot(stream: &StreamId, schema: &str, version: u64, content_type: &str, state: &[u8]) -> Snapshot {
    Snapshot {
        stream: stream.clone(),
        schema: schema.to_owned(),
        head: StreamHead {
            version: Version::new(version),
            last_commit: Version::new(version),
        },
        taken_at: OffsetDateTime::from_unix_timestamp(1_291_191_960).expect("a valid time"),
        content_type: content_type.to_owned(),
        state: state.to_vec().into(),
    }
}

async fn load(store: &dyn SnapshotStore, stream: &StreamId, schema: &str) -> Option<Snapshot> {
    store.load_snapshot(stream, schema).await.expect("load")
}

/// States of any content type; the one before is replaced.
pub async fn the_latest_snapshot_comes_back_as_it_was(store: &dyn SnapshotStore) {
    let stream = fresh_stream("snapshot");
    assert_eq!(load(store, &stream, "order.v1").await, None);
    for (version, content_type, state) in [
        (3, "application/json", br#"{"total":1530}"#.as_slice()),
        (9, "application/octet-stream", b"\x00\xff".as_slice()),
    ] {
        let snapshot = snapshot(&stream, "order.v1", version, content_type, state);
        store.save_snapshot(&snapshot).await.expect("save");
        assert_eq!(load(store, &stream, "order.v1").await, Some(snapshot));
    }
}

/// Another version of an aggregate has a snapshot of its own.
pub async fn schemas_and_streams_are_apart(store: &dyn SnapshotStore) {
    let (one, other) = (fresh_stream("snapshot"), fresh_stream("snapshot"));
    // Names of schemas can hold anything.
    let schemas = ["order.v1", "order/v2", "order|v2#?"];
    for (n, schema) in schemas.iter().enumerate() {
        let snapshot = snapshot(&one, schema, n as u64 + 1, "application/json", b"1");
        store.save_snapshot(&snapshot).await.expect("save");
    }
    for (n, schema) in schemas.iter().enumerate() {
        let version = load(store, &one, schema).await.map(|found| found.head.version.get());
        assert_eq!(version, Some(n as u64 + 1));
        assert_eq!(load(store, &other, schema).await, None);
    }
}

/// And deleting it again is no error.
pub async fn a_deleted_snapshot_is_gone(store: &dyn SnapshotStore) {
    let stream = fresh_stream("snapshot");
    let kept = snapshot(&stream, "v1", 1, "application/json", b"1");
    store.save_snapshot(&kept).await.expect("save");
    for _ in 0..2 {
        store.delete_snapshot(&stream, "v1").await.expect("delete");
        assert_eq!(load(store, &stream, "v1").await, None);
    }
}
