//! Concurrent appenders of one stream, checked for linearizability.
//!
//! The specification is a log: an append that commits adds its events at the end; one that conflicts, and
//! a read, see how long the log is. Every operation so has a place: an append that of its first event, one
//! that only looked that between two lengths. The final log says where each append went, also one whose
//! caller never learnt it. The history is linearizable if these places agree with the order in which
//! operations followed one another in time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use azevents_core::{
    AppendOutcome, EventId, EventStore, ExpectedVersion, NewEvent, ReadOptions, StreamHead, StreamId, Version,
};
use azevents_cosmos::CosmosEventStore;
use azevents_emulator::{FaultKind, FaultPlan};
use futures::TryStreamExt;
use futures::future::join_all;

use crate::common::Server;
use crate::support::{event, read, stream};

const CLIENTS: u64 = 4;
const OPERATIONS: u64 = 5;

/// One operation of a client. Times are ticks of one counter.
#[derive(Debug)]
struct Operation {
    begun: u64,
    /// `u64::MAX` where no answer came.
    ended: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Says it has added these; at this version, unless the outcome is unknown.
    Append(Vec<EventId>, Option<u64>),
    /// Has seen a log of this length, beginning or ending with these events.
    Look(u64, Seen),
}

#[derive(Debug)]
enum Seen {
    /// All events from this version on.
    From(u64, Vec<EventId>),
    Nothing,
}

/// A client that appends and looks, by a seed.
async fn client(store: &CosmosEventStore, stream: &StreamId, clock: &AtomicU64, mut seed: u64) -> Vec<Operation> {
    let mut draw = |of: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % of
    };
    let mut known: Option<StreamHead> = None;
    let mut history = Vec::new();
    for _ in 0..OPERATIONS {
        let begun = clock.fetch_add(1, Ordering::SeqCst);
        let what = if draw(4) == 0 {
            let events = loop {
                match store.read(stream, ReadOptions::default()).try_collect::<Vec<_>>().await {
                    Ok(events) => break events,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            };
            known = events.last().map(|event: &azevents_core::RecordedEvent| StreamHead {
                version: event.version,
                last_commit: event.commit,
            });
            What::Look(
                events.len() as u64,
                Seen::From(1, events.iter().map(|event| event.id).collect()),
            )
        } else {
            let events: Vec<NewEvent> = (0..=draw(2)).map(|n| event(n as usize)).collect();
            let ids = events.iter().map(|event| event.id).collect();
            let expected = match draw(5) {
                0 => ExpectedVersion::Any,
                1 => ExpectedVersion::Exact(known.map_or(Version::NONE, |head| head.version)),
                _ => known.into(),
            };
            match store.append(stream, expected, events).await {
                Ok(AppendOutcome::Committed(commit)) => {
                    known = Some(commit.head());
                    What::Append(ids, Some(commit.first.get()))
                }
                Ok(AppendOutcome::Conflict(conflict)) => {
                    let seen = conflict.unseen.iter().map(|event| event.id).collect();
                    let from = known.map_or(Version::NONE, |head| head.version).next().get();
                    known = conflict.head;
                    What::Look(known.map_or(0, |head| head.version.get()), Seen::From(from, seen))
                }
                Err(error) if error.is_transient() => What::Append(ids, None),
                Err(error) => panic!("{error}"),
            }
        };
        let answered = !matches!(what, What::Append(_, None));
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        history.push(Operation {
            begun,
            ended: if answered { ended } else { u64::MAX },
            what,
        });
    }
    history
}

/// Whether a history of a log is linearizable, given the log at its end; the reason when it isn't.
fn check(history: &[Operation], log: &[EventId]) -> Result<(), String> {
    let places: BTreeMap<EventId, u64> = log.iter().copied().zip(1..).collect();
    if places.len() != log.len() {
        return Err("an event stands in the log twice".into());
    }
    // Appends at twice their version, looks between.
    let mut placed: Vec<(u64, &Operation)> = Vec::new();
    let mut accounted = 0;
    for operation in history {
        match &operation.what {
            What::Append(ids, claimed) => {
                let found = places.get(&ids[0]).copied();
                if let Some(first) = found {
                    let there = log.get(first as usize - 1..first as usize - 1 + ids.len());
                    if there != Some(ids) {
                        return Err(format!("not together in the log: {operation:?}"));
                    }
                    accounted += ids.len();
                    placed.push((first * 2, operation));
                }
                if claimed.is_some() && *claimed != found {
                    return Err(format!("is at {found:?}: {operation:?}"));
                }
            }
            What::Look(length, seen) => {
                if let Seen::From(from, ids) = seen {
                    let from = (*from as usize - 1).min(*length as usize);
                    if log.get(from..*length as usize) != Some(ids) {
                        return Err(format!("has seen what is not in the log: {operation:?}"));
                    }
                }
                placed.push((length * 2 + 1, operation));
            }
        }
    }
    if accounted != log.len() {
        return Err("the log holds events that nobody appended".into());
    }
    for (place, operation) in &placed {
        for (other_place, other) in &placed {
            if place < other_place && other.ended < operation.begun {
                return Err(format!(
                    "{other:?} was over before {operation:?} began, but has come after it"
                ));
            }
        }
    }
    Ok(())
}

/// How many histories by `AZEVENTS_HISTORIES`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_concurrent_appenders_are_linearizable_when_answers_are_lost() {
    let histories: u64 = std::env::var("AZEVENTS_HISTORIES").map_or(40, |text| text.parse().expect("a number"));
    let server = Server::start().await;
    let store = server.store().await;
    let mut lost = 0;
    for group in 0..histories.div_ceil(10) {
        server.misbehave(
            FaultPlan::new(group)
                .with(FaultKind::CosmosLoseResponse, 0.15, 40)
                .with(FaultKind::CosmosUnavailable, 0.05, 10),
        );
        let runs = (0..10).map(|n| async move { (group, n) });
        join_all(runs.map(|run| async {
            let (group, n) = run.await;
            let stream = stream(&format!("history-{group}-{n}"));
            let clock = AtomicU64::new(0);
            let clients = (0..CLIENTS).map(|client_| client(&store, &stream, &clock, group * 1000 + n * 10 + client_));
            let history: Vec<_> = join_all(clients).await.into_iter().flatten().collect();
            let log: Vec<_> = read(&store, &stream).await.iter().map(|event| event.id).collect();
            if let Err(why) = check(&history, &log) {
                panic!("group {group}, history {n}: {why}\nlog: {log:?}\nhistory: {history:#?}");
            }
        }))
        .await;
        lost += server.injected(FaultKind::CosmosLoseResponse);
    }
    assert!(lost > histories, "answers were lost: {lost}");
}

mod the_checker {
    use super::*;

    fn ids(count: usize) -> Vec<EventId> {
        (0..count).map(|_| EventId::new()).collect()
    }

    fn operation(begun: u64, ended: u64, what: What) -> Operation {
        Operation { begun, ended, what }
    }

    #[test]
    fn accepts_what_a_log_can_do() {
        let log = ids(3);
        let history = [
            operation(0, 5, What::Append(vec![log[0]], Some(1))),
            operation(1, 2, What::Look(0, Seen::Nothing)),
            operation(3, u64::MAX, What::Append(vec![log[1], log[2]], None)),
            operation(6, 9, What::Look(1, Seen::From(1, vec![log[0]]))),
            operation(10, 11, What::Append(ids(1), None)),
        ];
        assert_eq!(check(&history, &log), Ok(()));
    }

    #[test]
    fn refuses_what_it_cannot() {
        let log = ids(2);
        let append = |n: usize, begun, ended| operation(begun, ended, What::Append(vec![log[n]], Some(n as u64 + 1)));
        let both = || vec![append(0, 0, 1), append(1, 2, 3)];
        let stale = operation(6, 7, What::Look(1, Seen::From(1, vec![log[0]])));
        let from_the_future = operation(0, 0, What::Look(2, Seen::Nothing));
        let lost = operation(6, 7, What::Append(ids(1), Some(3)));
        for wrong in [stale, from_the_future, lost] {
            let history: Vec<_> = both()
                .into_iter()
                .map(|mut op| {
                    op.begun += 1;
                    op.ended += 1;
                    op
                })
                .chain([wrong])
                .collect();
            assert!(check(&history, &log).is_err(), "{history:?}");
        }
        let reversed = [append(1, 0, 1), append(0, 2, 3)];
        assert!(check(&reversed, &log).is_err());
        let repeated = [log[0], log[0]];
        assert!(check(&both(), &repeated).is_err());
        assert!(check(&both()[..1], &log).is_err(), "an event that nobody appended");
    }
}
