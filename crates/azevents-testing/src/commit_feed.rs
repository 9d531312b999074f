//! The promises of [`CommitFeed`].

use std::collections::BTreeMap;

use azevents_core::{
    Commit, CommitFeed, Continuation, EventStore, ExpectedVersion, FeedRange, NewEvent, StartFrom, StreamId,
};

use crate::fresh_stream;

/// Runs all checks on a store and its feed. The feed may hold other streams as well.
pub async fn check(store: &dyn EventStore, feed: &dyn CommitFeed) {
    every_commit_is_read_in_order_per_stream(store, feed).await;
    reading_goes_on_where_it_stopped(store, feed).await;
    a_reader_can_begin_with_what_comes(store, feed).await;
}

async fn append(store: &dyn EventStore, stream: &StreamId, events: u32) {
    let events = (0..events)
        .map(|n| NewEvent::json("Counted", &n).expect("JSON"))
        .collect();
    let _ = store
        .append(stream, ExpectedVersion::Any, events)
        .await
        .expect("append");
}

/// Reads a range to its end.
async fn drain(
    feed: &dyn CommitFeed,
    range: &FeedRange,
    mut after: Option<Continuation>,
) -> (Vec<Commit>, Option<Continuation>) {
    let mut commits = Vec::new();
    loop {
        let page = feed.next(range, after.as_ref()).await.expect("next");
        after = page.continuation.or(after);
        if page.commits.is_empty() {
            return (commits, after);
        }
        commits.extend(page.commits);
    }
}

/// All ranges together hold every commit, each stream's in the order of its versions.
pub async fn every_commit_is_read_in_order_per_stream(store: &dyn EventStore, feed: &dyn CommitFeed) {
    let streams: Vec<_> = (0..7).map(|_| fresh_stream("feed")).collect();
    for round in 0..20 {
        for stream in &streams {
            append(store, stream, 1 + round % 3).await;
        }
    }
    let mut found: BTreeMap<StreamId, Vec<u64>> = BTreeMap::new();
    for range in feed.ranges().await.expect("ranges") {
        for commit in drain(feed, &range, None).await.0 {
            found
                .entry(commit.stream)
                .or_default()
                .extend(commit.events.iter().map(|event| event.version.get()));
        }
    }
    for stream in streams {
        let expected: u64 = (0..20).map(|round| 1 + round % 3).sum();
        assert_eq!(found.remove(&stream), Some((1..=expected).collect()), "{stream}");
    }
}

/// A continuation yields what came after it, and yields it again when asked again.
pub async fn reading_goes_on_where_it_stopped(store: &dyn EventStore, feed: &dyn CommitFeed) {
    let mut positions = BTreeMap::new();
    for range in feed.ranges().await.expect("ranges") {
        let after = drain(feed, &range, None).await.1;
        positions.insert(range, after);
    }
    let stream = fresh_stream("later");
    append(store, &stream, 2).await;
    for _ in 0..2 {
        let mut later = Vec::new();
        for (range, after) in &positions {
            later.extend(drain(feed, range, after.clone()).await.0);
        }
        later.retain(|commit| commit.stream == stream);
        assert_eq!(later.len(), 1, "one commit since the continuation");
    }
}

/// From now on is from now on: nothing that was there comes, everything later does, in whatever parts it is read.
pub async fn a_reader_can_begin_with_what_comes(store: &dyn EventStore, feed: &dyn CommitFeed) {
    let earlier = fresh_stream("earlier");
    append(store, &earlier, 1).await;
    let whole = FeedRange::whole();
    let now = feed.position(&whole, StartFrom::Now).await.expect("a position");
    let later: Vec<_> = (0..5).map(|_| fresh_stream("later")).collect();
    for stream in &later {
        append(store, stream, 1).await;
    }
    let mut found = Vec::new();
    for range in feed.ranges().await.expect("ranges") {
        found.extend(drain(feed, &range, now.clone()).await.0);
    }
    let found: Vec<_> = found.into_iter().map(|commit| commit.stream).collect();
    assert!(!found.contains(&earlier), "what was there before does not come");
    assert!(later.iter().all(|stream| found.contains(stream)), "{found:?}");
}
