//! Appends when several processes write at once, and when answers get lost.

mod common;

use std::collections::BTreeSet;

use azevents_core::{
    AppendOutcome, CommitFeed, ErrorKind, EventId, EventStore, ExpectedVersion, NewEvent, Nudge, ReadOptions,
    RecordedEvent, StreamHead, StreamId, Version,
};
use azevents_cosmos::{CosmosCommitFeed, CosmosEventStore};
use azevents_emulator::{FaultKind, FaultPlan};
use common::{EVENTS, Server};
use futures::TryStreamExt;
use futures::future::join_all;

fn stream(name: &str) -> StreamId {
    StreamId::new(name).expect("a valid name")
}

fn event(n: usize) -> NewEvent {
    NewEvent::json("Counted", &n).expect("a number is JSON")
}

async fn read(store: &CosmosEventStore, stream: &StreamId) -> Vec<RecordedEvent> {
    store
        .read(stream, ReadOptions::default())
        .try_collect()
        .await
        .expect("read")
}

/// Appends `count` commits of `size` events by deciding again after every conflict, from the events
/// that the conflict has brought. Returns everything it has seen of the stream.
async fn append_by_head(store: &CosmosEventStore, stream: &StreamId, count: usize, size: usize) -> Vec<EventId> {
    let mut seen: Vec<EventId> = Vec::new();
    let mut head: Option<StreamHead> = None;
    for n in 0..count {
        let events: Vec<_> = (0..size).map(|m| event(n * size + m)).collect();
        loop {
            let outcome = store.append(stream, head.into(), events.clone()).await;
            match outcome.expect("append") {
                AppendOutcome::Committed(commit) => {
                    head = Some(commit.head());
                    seen.extend(commit.events.iter().map(|event| event.id));
                    break;
                }
                AppendOutcome::Conflict(conflict) => {
                    head = conflict.head;
                    seen.extend(conflict.unseen.iter().map(|event| event.id));
                }
            }
        }
    }
    seen
}

fn assert_gapless(events: &[RecordedEvent], expected: usize) {
    let versions: Vec<_> = events.iter().map(|event| event.version.get()).collect();
    assert_eq!(versions, (1..=expected as u64).collect::<Vec<_>>());
    let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), expected, "no event twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_of_one_stream_leave_no_gap_and_each_sees_what_the_others_wrote() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("contended-1");
    let views = join_all((0..8).map(|_| append_by_head(&store, &stream, 5, 2))).await;
    let events = read(&store, &stream).await;
    assert_gapless(&events, 80);
    let order: Vec<_> = events.iter().map(|event| event.id).collect();
    for view in views {
        assert_eq!(
            view,
            order[..view.len()],
            "each writer saw the stream's own order, nothing left out"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_happen_once_when_answers_are_lost_refused_or_late() {
    let server = Server::start().await;
    let store = server.store().await;
    server.misbehave(
        FaultPlan::new(7)
            .with(FaultKind::CosmosLoseResponse, 0.2, 60)
            .with(FaultKind::CosmosThrottle, 0.1, 60)
            .with(FaultKind::CosmosUnavailable, 0.1, 60),
    );
    let own: Vec<_> = (0..6).map(|n| stream(&format!("own-{n}"))).collect();
    let shared = stream("shared-1");
    join_all(own.iter().map(|stream| append_by_head(&store, stream, 6, 2))).await;
    join_all((0..4).map(|_| append_by_head(&store, &shared, 4, 1))).await;
    let any = stream("any-1");
    for outcome in join_all((0..6).map(|n| store.append(&any, ExpectedVersion::Any, vec![event(n)]))).await {
        assert!(matches!(outcome.expect("append"), AppendOutcome::Committed(_)));
    }
    server.emulator.faults().clear();
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 10, "answers were lost");
    for stream in &own {
        assert_gapless(&read(&store, stream).await, 12);
    }
    assert_gapless(&read(&store, &shared).await, 16);
    assert_gapless(&read(&store, &any).await, 6);
}

#[tokio::test]
async fn a_version_that_is_no_end_of_a_commit_is_a_conflict_and_changes_nothing() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("boundary-1");
    for n in 0..2 {
        let _ = store
            .append(&stream, ExpectedVersion::Any, vec![event(n), event(n), event(n)])
            .await
            .expect("append");
    }
    let head = |version, last_commit| {
        ExpectedVersion::Head(StreamHead {
            version: Version::new(version),
            last_commit: Version::new(last_commit),
        })
    };
    // In the middle of a commit, at an old end, beyond the end, after a commit that begins elsewhere.
    for (expected, unseen) in [
        (ExpectedVersion::Exact(Version::new(4)), vec![5, 6]),
        (head(3, 1), vec![4, 5, 6]),
        (head(9, 7), vec![]),
        (head(6, 5), vec![]),
    ] {
        match store.append(&stream, expected, vec![event(9)]).await.expect("append") {
            AppendOutcome::Conflict(conflict) => {
                let found: Vec<_> = conflict.unseen.iter().map(|event| event.version.get()).collect();
                assert_eq!(found, unseen, "{expected:?}");
                assert_eq!(conflict.head.map(|head| head.version.get()), Some(6));
            }
            AppendOutcome::Committed(commit) => panic!("{expected:?} committed {commit:?}"),
        }
    }
    assert_gapless(&read(&store, &stream).await, 6);
}

#[tokio::test]
async fn a_head_that_was_made_up_is_refused_and_leaves_no_trace() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("forged-1");
    let _ = store
        .append(&stream, ExpectedVersion::NoStream, vec![event(0), event(1)])
        .await
        .expect("append");
    for (version, last_commit) in [(5, 1), (1, 2), (2, 0)] {
        let head = StreamHead {
            version: Version::new(version),
            last_commit: Version::new(last_commit),
        };
        let outcome = store.append(&stream, ExpectedVersion::Head(head), vec![event(2)]).await;
        match outcome {
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
            Ok(AppendOutcome::Conflict(_)) => {}
            Ok(AppendOutcome::Committed(commit)) => panic!("{head:?} committed {commit:?}"),
        }
    }
    assert_gapless(&read(&store, &stream).await, 2);
}

#[tokio::test]
async fn a_commit_that_does_not_fit_is_refused_with_its_size_and_one_that_just_fits_is_stored() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("large-1");
    let text = |bytes| vec![NewEvent::json("Large", &"x".repeat(bytes)).expect("text is JSON")];
    let error = store
        .append(&stream, ExpectedVersion::NoStream, text(2 * 1024 * 1024))
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("2097"), "{error}");
    assert_eq!(store.head(&stream).await.expect("head"), None);
    for _ in 0..2 {
        let outcome = store
            .append(&stream, ExpectedVersion::Any, text(2 * 1024 * 1024 - 2048))
            .await;
        assert!(matches!(outcome.expect("append"), AppendOutcome::Committed(_)));
    }
    assert_gapless(&read(&store, &stream).await, 2);
}

#[tokio::test]
async fn a_long_stream_is_read_in_order_over_many_pages() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("long-1");
    let mut head = None;
    for n in 0..250 {
        let outcome = store
            .append(&stream, head.into(), vec![event(n)])
            .await
            .expect("append");
        let AppendOutcome::Committed(commit) = outcome else {
            panic!("nobody else writes")
        };
        head = Some(commit.head());
    }
    assert_gapless(&read(&store, &stream).await, 250);
    let last: Vec<_> = store
        .read(&stream, ReadOptions::default().backwards().limit(120))
        .map_ok(|event| event.version.get())
        .try_collect()
        .await
        .expect("read");
    assert_eq!(last, (131..=250).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_commit_rings_and_a_conflict_does_not() {
    let server = Server::start().await;
    let nudge = Nudge::new();
    let store = server.store().await.with_nudge(nudge.clone());
    let stream = stream("bell-1");
    let mut listener = nudge.listen();
    let _ = store
        .append(&stream, ExpectedVersion::NoStream, vec![event(0)])
        .await
        .expect("append");
    assert!(futures::poll!(std::pin::pin!(listener.rung())).is_ready());
    let _ = store
        .append(&stream, ExpectedVersion::NoStream, vec![event(1)])
        .await
        .expect("append");
    assert!(futures::poll!(std::pin::pin!(listener.rung())).is_pending());
}

#[tokio::test]
async fn the_feed_leaves_out_documents_that_are_no_commits() {
    let server = Server::start().await;
    let store = server.store().await;
    let stream = stream("mixed-1");
    let container = server.cosmos.container(EVENTS).await.expect("container");
    for id in ["s1", "meta"] {
        let other = serde_json::json!({ "id": id, "stream": "mixed-1", "state": {} });
        container.create_item("mixed-1", id, other, None).await.expect("create");
    }
    let _ = store
        .append(&stream, ExpectedVersion::NoStream, vec![event(0)])
        .await
        .expect("append");
    assert_gapless(&read(&store, &stream).await, 1);
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    let mut commits = Vec::new();
    for range in feed.ranges().await.expect("ranges") {
        commits.extend(feed.next(&range, None).await.expect("next").commits);
    }
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].stream, stream);
}

#[tokio::test]
async fn the_feed_refuses_what_is_not_its_own_and_says_so() {
    let server = Server::start().await;
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    let range = feed.ranges().await.expect("ranges").remove(0);
    let foreign = azevents_core::Continuation("41".into());
    let error = feed.next(&range, Some(&foreign)).await.expect_err("not its own");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let error = feed
        .next(&azevents_core::FeedRange("0".into()), None)
        .await
        .expect_err("not its own");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn a_container_that_does_not_exist_is_named() {
    let server = Server::start().await;
    let error = CosmosEventStore::open(&server.cosmos, "nowhere")
        .await
        .expect_err("not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("test/nowhere"), "{error}");
}
