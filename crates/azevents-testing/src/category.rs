//! The promises of [`CategoryReader`].

use std::collections::BTreeMap;

use azevents_core::{CategoryReader, Commit, Continuation, EventStore, ExpectedVersion, NewEvent, StreamId};

use crate::fresh_stream;

/// A store that reads categories.
pub trait Store: EventStore + CategoryReader {}

impl<S: EventStore + CategoryReader> Store for S {}

/// Runs all checks on one store.
pub async fn check(store: &dyn Store) {
    a_category_is_read_once_and_in_order_per_stream(store).await;
    reading_goes_on_in_another_process(store).await;
    a_category_without_streams_is_empty(store).await;
}

async fn filled(store: &dyn Store) -> (String, BTreeMap<StreamId, u64>) {
    let category = format!("cat{}", uuid::Uuid::new_v4().simple());
    let mut streams = BTreeMap::new();
    for n in 0..5u64 {
        let stream = StreamId::new(format!("{category}-{n}")).expect("a valid name");
        for _ in 0..=n {
            append(store, &stream).await;
        }
        streams.insert(stream, (n + 1) * 2);
    }
    append(store, &fresh_stream(&format!("{category}x"))).await;
    (category, streams)
}

async fn append(store: &dyn Store, stream: &StreamId) {
    let events = (0..2).map(|n| NewEvent::json("Counted", &n).expect("JSON")).collect();
    let _ = store
        .append(stream, ExpectedVersion::Any, events)
        .await
        .expect("append");
}

fn collect(found: &mut BTreeMap<StreamId, Vec<u64>>, commits: Vec<Commit>) {
    for commit in commits {
        let versions = found.entry(commit.stream).or_default();
        versions.extend(commit.events.iter().map(|event| event.version.get()));
    }
}

fn assert_complete(found: &BTreeMap<StreamId, Vec<u64>>, expected: &BTreeMap<StreamId, u64>) {
    let expected: BTreeMap<_, Vec<u64>> = expected
        .iter()
        .map(|(stream, last)| (stream.clone(), (1..=*last).collect()))
        .collect();
    assert_eq!(found, &expected);
}

/// In pages of any size, no stream of another category among them.
pub async fn a_category_is_read_once_and_in_order_per_stream(store: &dyn Store) {
    let (category, expected) = filled(store).await;
    for limit in [1, 4, 100] {
        let mut found = BTreeMap::new();
        let mut after: Option<Continuation> = None;
        loop {
            let page = store
                .read_category(&category, after.as_ref(), limit)
                .await
                .expect("read");
            collect(&mut found, page.commits);
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_complete(&found, &expected);
    }
}

/// A continuation is only text, and asking with it twice gives the same.
pub async fn reading_goes_on_in_another_process(store: &dyn Store) {
    let (category, expected) = filled(store).await;
    let first = store.read_category(&category, None, 6).await.expect("read");
    let kept = serde_json::to_string(&first.next.expect("more follows")).expect("JSON");
    for _ in 0..2 {
        let mut found = BTreeMap::new();
        collect(&mut found, first.commits.clone());
        let mut after: Option<Continuation> = Some(serde_json::from_str(&kept).expect("JSON"));
        while let Some(at) = after {
            let page = store.read_category(&category, Some(&at), 6).await.expect("read");
            collect(&mut found, page.commits);
            after = page.next;
        }
        assert_complete(&found, &expected);
    }
}

/// No commits, no continuation.
pub async fn a_category_without_streams_is_empty(store: &dyn Store) {
    let page = store.read_category("nothing-like-it", None, 10).await.expect("read");
    assert!(page.commits.is_empty() && page.next.is_none());
}
