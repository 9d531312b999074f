//! The promises of [`StreamLifecycle`].

use azevents_core::{
    AppendOutcome, Closing, ErrorKind, EventStore, ExpectedVersion, NewEvent, ReadOptions, StreamHead, StreamId,
    StreamLifecycle, Version,
};
use futures::TryStreamExt;

use crate::fresh_stream;

/// A store that can end streams.
pub trait Store: EventStore + StreamLifecycle {}

impl<S: EventStore + StreamLifecycle> Store for S {}

/// Runs all checks on one store.
pub async fn check(store: &dyn Store) {
    what_is_truncated_is_gone_commit_by_commit_and_appends_go_on(store).await;
    the_last_commit_outlives_any_truncation(store).await;
    a_closed_stream_takes_nothing_and_stays_readable(store).await;
    closing_holds_to_what_is_expected(store).await;
    a_closed_stream_can_be_emptied_and_its_name_stays_taken(store).await;
    a_deleted_stream_is_gone_for_good(store).await;
}

async fn stream_of(store: &dyn Store, commits: u32) -> (StreamId, StreamHead) {
    let stream = fresh_stream("ending");
    let mut head = None;
    for n in 0..commits {
        head = Some(append(store, &stream, n).await);
    }
    (stream, head.expect("at least one commit"))
}

/// One commit of three events.
async fn append(store: &dyn Store, stream: &StreamId, n: u32) -> StreamHead {
    let events = (0..3).map(|m| event(n * 3 + m)).collect();
    match store
        .append(stream, ExpectedVersion::Any, events)
        .await
        .expect("append")
    {
        AppendOutcome::Committed(commit) => commit.head(),
        AppendOutcome::Conflict(conflict) => panic!("expected a commit, got {conflict:?}"),
    }
}

fn event(n: u32) -> NewEvent {
    NewEvent::json("Counted", &n).expect("a number is JSON")
}

async fn versions(store: &dyn Store, stream: &StreamId, options: ReadOptions) -> Vec<u64> {
    let events = store.read(stream, options).map_ok(|event| event.version.get());
    events.try_collect().await.expect("read")
}

/// Whole commits go, from the beginning; what is left keeps its versions, and appends go on behind it.
pub async fn what_is_truncated_is_gone_commit_by_commit_and_appends_go_on(store: &dyn Store) {
    let (stream, head) = stream_of(store, 4).await;
    // Version 8 lies within the third commit, which stays whole.
    assert_eq!(store.truncate(&stream, Version::new(8)).await.expect("truncate"), 6);
    assert_eq!(store.truncate(&stream, Version::new(8)).await.expect("again"), 0);
    let all = ReadOptions::default;
    assert_eq!(versions(store, &stream, all()).await, (7..=12).collect::<Vec<_>>());
    assert_eq!(
        versions(store, &stream, all().backwards()).await,
        (7..=12).rev().collect::<Vec<_>>()
    );
    assert_eq!(
        versions(store, &stream, all().from(Version::new(2))).await,
        (7..=12).collect::<Vec<_>>()
    );
    assert_eq!(store.head(&stream).await.expect("head"), Some(head));
    let outcome = store.append(&stream, ExpectedVersion::Head(head), vec![event(9)]).await;
    match outcome.expect("append") {
        AppendOutcome::Committed(commit) => assert_eq!(commit.first, Version::new(13)),
        AppendOutcome::Conflict(conflict) => panic!("expected a commit, got {conflict:?}"),
    }
    let outcome = store.append(&stream, ExpectedVersion::NoStream, vec![event(9)]).await;
    match outcome.expect("append") {
        AppendOutcome::Conflict(conflict) => assert_eq!(conflict.head.map(|head| head.version), Some(Version::new(13))),
        AppendOutcome::Committed(commit) => panic!("version 1 was given twice: {commit:?}"),
    }
}

/// It says where the stream ends.
pub async fn the_last_commit_outlives_any_truncation(store: &dyn Store) {
    let (stream, head) = stream_of(store, 3).await;
    store.truncate(&stream, Version::new(100)).await.expect("truncate");
    assert_eq!(versions(store, &stream, ReadOptions::default()).await, [7, 8, 9]);
    assert_eq!(store.head(&stream).await.expect("head"), Some(head));
    let nothing = fresh_stream("nothing");
    assert_eq!(store.truncate(&nothing, Version::new(9)).await.expect("truncate"), 0);
}

/// Whatever an appender expects, it is told that the stream is closed; readers notice nothing.
pub async fn a_closed_stream_takes_nothing_and_stays_readable(store: &dyn Store) {
    let (stream, head) = stream_of(store, 2).await;
    let closed = store.close(&stream, ExpectedVersion::Any).await.expect("close");
    assert_eq!(closed, Closing::Closed(Some(head)));
    let again = store.close(&stream, ExpectedVersion::NoStream).await.expect("close");
    assert_eq!(again, Closing::Closed(Some(head)), "closing twice changes nothing");
    for expected in [
        ExpectedVersion::Any,
        ExpectedVersion::StreamExists,
        ExpectedVersion::Exact(head.version),
        ExpectedVersion::Head(head),
    ] {
        let error = store
            .append(&stream, expected, vec![event(9)])
            .await
            .expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed, "{expected:?}: {error}");
    }
    let all = ReadOptions::default;
    assert_eq!(versions(store, &stream, all()).await, (1..=6).collect::<Vec<_>>());
    assert_eq!(versions(store, &stream, all().backwards().limit(2)).await, [6, 5]);
    assert_eq!(store.head(&stream).await.expect("head"), Some(head));
    assert_eq!(store.next_commit(&stream, Some(head)).await.expect("next"), None);
    // Also one that never had an event.
    let empty = fresh_stream("ending");
    assert_eq!(
        store.close(&empty, ExpectedVersion::NoStream).await.expect("close"),
        Closing::Closed(None)
    );
    let error = store
        .append(&empty, ExpectedVersion::NoStream, vec![event(1)])
        .await
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(store.head(&empty).await.expect("head"), None);
}

/// A stream that has moved on is not closed.
pub async fn closing_holds_to_what_is_expected(store: &dyn Store) {
    let (stream, seen) = stream_of(store, 1).await;
    let now = append(store, &stream, 1).await;
    let outcome = store.close(&stream, ExpectedVersion::Head(seen)).await.expect("close");
    assert_eq!(outcome, Closing::Conflict(Some(now)));
    append(store, &stream, 2).await;
}

/// Events can go for good without the name becoming free.
pub async fn a_closed_stream_can_be_emptied_and_its_name_stays_taken(store: &dyn Store) {
    let (stream, head) = stream_of(store, 3).await;
    let _ = store.close(&stream, ExpectedVersion::Any).await.expect("close");
    assert_eq!(store.truncate(&stream, head.version.next()).await.expect("truncate"), 9);
    assert_eq!(versions(store, &stream, ReadOptions::default()).await, [0u64; 0]);
    assert_eq!(store.head(&stream).await.expect("head"), Some(head));
    let error = store
        .append(&stream, ExpectedVersion::Any, vec![event(1)])
        .await
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// Nothing is left, and nobody can take the place of what was there, whether it was closed before or not.
pub async fn a_deleted_stream_is_gone_for_good(store: &dyn Store) {
    for closed in [false, true] {
        let (stream, head) = stream_of(store, 3).await;
        if closed {
            let _ = store.close(&stream, ExpectedVersion::Any).await.expect("close");
        }
        for _ in 0..2 {
            store.delete(&stream).await.expect("delete, also again");
            assert_eq!(versions(store, &stream, ReadOptions::default()).await, [0u64; 0]);
            assert_eq!(
                versions(store, &stream, ReadOptions::default().backwards()).await,
                [0u64; 0]
            );
        }
        for expected in [ExpectedVersion::Any, ExpectedVersion::Head(head)] {
            let error = store
                .append(&stream, expected, vec![event(1)])
                .await
                .expect_err("closed");
            assert_eq!(error.kind(), ErrorKind::Closed, "{expected:?}: {error}");
        }
        let outcome = store.append(&stream, ExpectedVersion::NoStream, vec![event(1)]).await;
        assert!(!matches!(outcome, Ok(AppendOutcome::Committed(_))), "{outcome:?}");
    }
    let nothing = fresh_stream("nothing");
    store.delete(&nothing).await.expect("deleting nothing is no error");
    let error = store
        .append(&nothing, ExpectedVersion::NoStream, vec![event(1)])
        .await
        .expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}
