//! Short names for what every test does.

use azevents_core::{AppendOutcome, Commit, EventStore, Message, NewEvent, ReadOptions, RecordedEvent, StreamId};
use futures::TryStreamExt;

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::new(name).expect("a valid name")
}

pub(crate) fn event(n: usize) -> NewEvent {
    NewEvent::json("Counted", &n).expect("a number is JSON")
}

pub(crate) fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(event).collect()
}

/// An event of about so many bytes.
pub(crate) fn large(bytes: usize) -> NewEvent {
    NewEvent::json("Large", &"x".repeat(bytes)).expect("text is JSON")
}

pub(crate) fn message(id: &str) -> Message {
    Message {
        id: id.into(),
        key: "invoices".into(),
        event_type: "InvoiceDue".into(),
        content_type: "application/json".into(),
        body: r#"{"pence":1530}"#.into(),
        headers: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn committed(outcome: AppendOutcome) -> Commit {
    match outcome {
        AppendOutcome::Committed(commit) => commit,
        AppendOutcome::Conflict(conflict) => panic!("expected a commit, got {conflict:?}"),
    }
}

pub(crate) async fn read(store: &dyn EventStore, stream: &StreamId) -> Vec<RecordedEvent> {
    let events = store.read(stream, ReadOptions::default());
    events.try_collect().await.expect("read")
}
