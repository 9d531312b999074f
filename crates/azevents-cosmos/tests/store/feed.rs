//! The feed of commits over physical partitions that change.

use std::collections::BTreeSet;

use azevents_core::{
    AppendOutcome, CommitFeed, Continuation, EventStore, ExpectedVersion, FeedRange, NewEvent, StreamId,
};
use azevents_cosmos::{CosmosCommitFeed, CosmosEventStore};

use crate::common::{DATABASE, EVENTS, Server};

/// As many as lie in every quarter of the keys.
const STREAMS: usize = 24;

async fn append_to_each(store: &CosmosEventStore, expected: ExpectedVersion) {
    for stream in 0..STREAMS {
        let stream: StreamId = format!("order-{stream}").parse().expect("a name");
        let event = NewEvent::json("Counted", &1).expect("JSON");
        let outcome = store.append(&stream, expected, vec![event]).await.expect("append");
        assert!(matches!(outcome, AppendOutcome::Committed(_)));
    }
}

/// The streams with a commit after a position, and the position behind them all.
async fn streams_after(
    feed: &CosmosCommitFeed,
    after: Option<Continuation>,
) -> (BTreeSet<String>, Option<Continuation>) {
    let (mut streams, mut after) = (BTreeSet::new(), after);
    loop {
        let page = feed.next(&FeedRange::whole(), after.as_ref()).await.expect("a page");
        after = page.continuation;
        if page.commits.is_empty() {
            return (streams, after);
        }
        streams.extend(page.commits.iter().map(|commit| commit.stream.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_from_before_a_merge_misses_nothing_that_comes_after() {
    let server = Server::start().await;
    let store = server.store().await;
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    append_to_each(&store, ExpectedVersion::NoStream).await;
    let (before, position) = streams_after(&feed, None).await;
    assert_eq!(before.len(), STREAMS);

    let partitions = server.emulator.partitions();
    while let [first, second, ..] = partitions.list(DATABASE, EVENTS)[..] {
        partitions
            .merge(DATABASE, EVENTS, [first, second])
            .await
            .expect("merge");
    }
    append_to_each(&store, ExpectedVersion::StreamExists).await;
    let (after, _) = streams_after(&feed, position).await;
    assert_eq!(after, before);
}
