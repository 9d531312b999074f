//! The promises of [`EventStore`].

use azevents_core::{
    AppendOutcome, Commit, ErrorKind, EventId, EventStore, ExpectedVersion, NewEvent, ReadOptions, RecordedEvent,
    StreamHead, StreamId, Version,
};
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};

use crate::fresh_stream;

/// Runs all checks on one store.
pub async fn check(store: &dyn EventStore) {
    versions_count_from_one_without_gaps(store).await;
    what_is_read_is_what_was_appended(store).await;
    every_expectation_is_held_to(store).await;
    a_conflict_returns_what_the_caller_has_not_seen(store).await;
    the_same_append_again_changes_nothing(store).await;
    of_concurrent_appends_at_one_version_one_wins(store).await;
    concurrent_appends_at_any_version_all_succeed(store).await;
    reads_begin_end_and_turn_as_asked(store).await;
    a_stream_is_read_as_it_was_at_a_time(store).await;
    the_next_commit_is_what_follows_a_head(store).await;
    a_stream_that_does_not_exist_is_empty(store).await;
    an_append_of_nothing_is_refused(store).await;
}

fn events(numbers: std::ops::Range<u32>) -> Vec<NewEvent> {
    numbers
        .map(|n| NewEvent::json("Counted", &n).expect("a number is JSON"))
        .collect()
}

fn committed(outcome: AppendOutcome) -> Commit {
    match outcome {
        AppendOutcome::Committed(commit) => commit,
        AppendOutcome::Conflict(conflict) => panic!("expected a commit, got {conflict:?}"),
    }
}

async fn append(store: &dyn EventStore, stream: &StreamId, expected: ExpectedVersion, events: Vec<NewEvent>) -> Commit {
    committed(store.append(stream, expected, events).await.expect("append"))
}

async fn read(store: &dyn EventStore, stream: &StreamId, options: ReadOptions) -> Vec<RecordedEvent> {
    store.read(stream, options).try_collect().await.expect("read")
}

fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

/// Versions are 1, 2, 3, … across commits, and heads say where the last commit begins.
pub async fn versions_count_from_one_without_gaps(store: &dyn EventStore) {
    let stream = fresh_stream("versions");
    let first = append(store, &stream, ExpectedVersion::NoStream, events(0..3)).await;
    assert_eq!(
        first.head(),
        StreamHead {
            version: Version::new(3),
            last_commit: Version::FIRST
        }
    );
    let second = append(store, &stream, ExpectedVersion::Head(first.head()), events(3..5)).await;
    assert_eq!(
        second.head(),
        StreamHead {
            version: Version::new(5),
            last_commit: Version::new(4)
        }
    );
    assert_eq!(store.head(&stream).await.expect("head"), Some(second.head()));
    assert_eq!(
        versions(&read(store, &stream, ReadOptions::default()).await),
        [1, 2, 3, 4, 5]
    );
}

/// Ids, types, data of any content type and metadata come back unchanged.
pub async fn what_is_read_is_what_was_appended(store: &dyn EventStore) {
    let stream = fresh_stream("content");
    let given = vec![
        NewEvent::json("Json", &serde_json_like())
            .expect("JSON")
            .with_metadata("user", "ünï \"quoted\""),
        NewEvent::new("Binary", "application/octet-stream", vec![0u8, 255, 1, 254]),
        NewEvent::new("Empty", "text/plain", Vec::new()),
    ];
    append(store, &stream, ExpectedVersion::NoStream, given.clone()).await;
    let found = read(store, &stream, ReadOptions::default()).await;
    assert_eq!(found.len(), given.len());
    for (found, given) in found.iter().zip(&given) {
        assert_eq!(found.id, given.id);
        assert_eq!(found.event_type, given.event_type);
        assert_eq!(found.content_type, given.content_type);
        assert_eq!(found.data, given.data, "{}", given.event_type);
        assert_eq!(found.metadata, given.metadata);
        assert_eq!(found.stream, stream);
        assert_eq!(found.commit, Version::FIRST);
    }
}

fn serde_json_like() -> std::collections::BTreeMap<&'static str, &'static str> {
    [("note", "a \"quote\", a \\ and a / and 'ü'"), ("price", "2.55")].into()
}

/// Each expected version accepts just what it says.
pub async fn every_expectation_is_held_to(store: &dyn EventStore) {
    let empty = || fresh_stream("expect");
    let filled = async || {
        let stream = empty();
        append(store, &stream, ExpectedVersion::NoStream, events(0..2)).await;
        stream
    };
    let at = |n| ExpectedVersion::Exact(Version::new(n));
    let cases = [
        (ExpectedVersion::Any, true, true),
        (ExpectedVersion::NoStream, true, false),
        (ExpectedVersion::StreamExists, false, true),
        (at(0), true, false),
        (at(1), false, false),
        (at(2), false, true),
        (at(3), false, false),
    ];
    for (expected, on_empty, on_filled) in cases {
        for (stream, accepted) in [(empty(), on_empty), (filled().await, on_filled)] {
            let outcome = store.append(&stream, expected, events(9..10)).await.expect("append");
            assert_eq!(
                matches!(outcome, AppendOutcome::Committed(_)),
                accepted,
                "{expected:?} on {stream}"
            );
        }
    }
}

/// A conflict carries the events after the expected version, and the stream is unchanged.
pub async fn a_conflict_returns_what_the_caller_has_not_seen(store: &dyn EventStore) {
    let stream = fresh_stream("conflict");
    let seen = append(store, &stream, ExpectedVersion::NoStream, events(0..2)).await;
    let theirs = append(store, &stream, ExpectedVersion::Any, events(2..5)).await;
    for expected in [
        ExpectedVersion::Head(seen.head()),
        ExpectedVersion::Exact(Version::new(2)),
    ] {
        match store.append(&stream, expected, events(7..8)).await.expect("append") {
            AppendOutcome::Conflict(conflict) => {
                assert_eq!(conflict.head, Some(theirs.head()));
                assert_eq!(versions(&conflict.unseen), [3, 4, 5]);
            }
            AppendOutcome::Committed(commit) => panic!("committed {commit:?} over somebody else's events"),
        }
    }
    match store
        .append(&stream, ExpectedVersion::NoStream, events(7..8))
        .await
        .expect("append")
    {
        AppendOutcome::Conflict(conflict) => assert_eq!(versions(&conflict.unseen), [1, 2, 3, 4, 5]),
        AppendOutcome::Committed(commit) => panic!("committed {commit:?} to a stream that exists"),
    }
    assert_eq!(read(store, &stream, ReadOptions::default()).await.len(), 5);
}

/// Repeating an append with the same ids reports the first one's commit.
pub async fn the_same_append_again_changes_nothing(store: &dyn EventStore) {
    let stream = fresh_stream("again");
    let first = events(0..2);
    let commit = append(store, &stream, ExpectedVersion::NoStream, first.clone()).await;
    let again = append(store, &stream, ExpectedVersion::NoStream, first).await;
    assert_eq!(again.head(), commit.head());

    let more = events(2..4);
    let expected = ExpectedVersion::Head(commit.head());
    let second = append(store, &stream, expected, more.clone()).await;
    append(store, &stream, ExpectedVersion::Any, events(4..5)).await;
    // Found also after others have appended behind it.
    let repeated = append(store, &stream, expected, more).await;
    assert_eq!(repeated.events, second.events);

    let last = vec![
        NewEvent::json("Counted", &9)
            .expect("JSON")
            .with_id(EventId::derived(&stream, "last")),
    ];
    append(store, &stream, ExpectedVersion::Any, last.clone()).await;
    append(store, &stream, ExpectedVersion::Any, last).await;
    assert_eq!(read(store, &stream, ReadOptions::default()).await.len(), 6);
}

/// Optimistic concurrency: one winner, and everybody else learns what it wrote.
pub async fn of_concurrent_appends_at_one_version_one_wins(store: &dyn EventStore) {
    let stream = fresh_stream("race");
    let outcomes = join_all((0..8).map(|n| store.append(&stream, ExpectedVersion::NoStream, events(n..n + 1)))).await;
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome.expect("append") {
            AppendOutcome::Committed(commit) => won.push(commit),
            AppendOutcome::Conflict(conflict) => lost.push(conflict),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, 7));
    for conflict in lost {
        assert_eq!(
            conflict.unseen.first().map(|event| event.id),
            won[0].events.first().map(|event| event.id)
        );
    }
}

/// `Any` retries until it finds the end: nothing is refused, nothing is lost.
pub async fn concurrent_appends_at_any_version_all_succeed(store: &dyn EventStore) {
    let stream = fresh_stream("any");
    let commits =
        join_all((0..8).map(|n| append(store, &stream, ExpectedVersion::Any, events(n * 2..n * 2 + 2)))).await;
    let found = read(store, &stream, ReadOptions::default()).await;
    assert_eq!(versions(&found), (1..=16).collect::<Vec<_>>());
    for commit in commits {
        let place = &found[commit.first.get() as usize - 1..][..2];
        assert!(
            place
                .iter()
                .map(|event| event.id)
                .eq(commit.events.iter().map(|event| event.id))
        );
    }
}

/// From a version, backwards, and up to a limit, in every combination that cuts commits in two.
pub async fn reads_begin_end_and_turn_as_asked(store: &dyn EventStore) {
    let stream = fresh_stream("read");
    for n in 0..5 {
        append(store, &stream, ExpectedVersion::Any, events(n * 3..n * 3 + 3)).await;
    }
    let all = ReadOptions::default;
    for (options, expected) in [
        (all(), (1..=15).collect::<Vec<_>>()),
        (all().from(at(8)), (8..=15).collect()),
        (all().from(at(8)).limit(3), vec![8, 9, 10]),
        (all().from(at(16)), vec![]),
        (all().backwards(), (1..=15).rev().collect()),
        (all().backwards().from(at(8)), (1..=8).rev().collect()),
        (all().backwards().from(at(8)).limit(2), vec![8, 7]),
        (all().limit(0), vec![]),
    ] {
        assert_eq!(
            versions(&read(store, &stream, options.clone()).await),
            expected,
            "{options:?}"
        );
    }
}

/// Everything from the first later commit on is left out, in both directions.
pub async fn a_stream_is_read_as_it_was_at_a_time(store: &dyn EventStore) {
    let stream = fresh_stream("time");
    let mut times = Vec::new();
    for n in 0..4 {
        let commit = append(store, &stream, ExpectedVersion::Any, events(n * 2..n * 2 + 2)).await;
        times.push(commit.committed_at);
        // The clock of the next commit must show something else.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let all = ReadOptions::default;
    let moment = std::time::Duration::from_micros(1);
    for (options, expected) in [
        (all().until(times[0] - moment), vec![]),
        (all().until(times[1]), vec![1, 2, 3, 4]),
        (all().until(times[2] - moment), vec![1, 2, 3, 4]),
        (all().until(times[3]), (1..=8).collect()),
        (all().until(times[1]).from(at(2)).limit(2), vec![2, 3]),
        (all().until(times[1]).backwards(), vec![4, 3, 2, 1]),
        (all().until(times[3]).backwards().from(at(3)), vec![3, 2, 1]),
        (all().until(times[0]).backwards().limit(1), vec![2]),
    ] {
        let found = versions(&read(store, &stream, options.clone()).await);
        assert_eq!(found, expected, "{options:?}, commits at {times:?}");
    }
}

fn at(version: u64) -> Version {
    Version::new(version)
}

/// One look tells whether a state is current, and what comes next where it isn't.
pub async fn the_next_commit_is_what_follows_a_head(store: &dyn EventStore) {
    let stream = fresh_stream("next");
    assert_eq!(store.next_commit(&stream, None).await.expect("next"), None);
    let first = append(store, &stream, ExpectedVersion::NoStream, events(0..3)).await;
    assert_eq!(
        store.next_commit(&stream, Some(first.head())).await.expect("next"),
        None
    );
    let second = append(store, &stream, ExpectedVersion::Any, events(3..4)).await;
    append(store, &stream, ExpectedVersion::Any, events(4..6)).await;
    for (head, expected) in [(None, &first), (Some(first.head()), &second)] {
        let found = store.next_commit(&stream, head).await.expect("next");
        assert_eq!(found.expect("a commit").events, expected.events);
    }
    let after = ReadOptions::default().after(Some(first.head()));
    assert_eq!(versions(&read(store, &stream, after.clone()).await), [4, 5, 6]);
    assert_eq!(versions(&read(store, &stream, after.limit(1)).await), [4]);
}

/// No events, no head, no error.
pub async fn a_stream_that_does_not_exist_is_empty(store: &dyn EventStore) {
    let stream = fresh_stream("nothing");
    assert!(store.read(&stream, ReadOptions::default()).next().await.is_none());
    assert_eq!(store.head(&stream).await.expect("head"), None);
}

/// An append without events is a mistake of the caller.
pub async fn an_append_of_nothing_is_refused(store: &dyn EventStore) {
    let stream = fresh_stream("nothing");
    let error = store
        .append(&stream, ExpectedVersion::Any, Vec::new())
        .await
        .expect_err("nothing to append");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
