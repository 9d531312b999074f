//! Random histories of one stream beside the simplest model there is: a list of commits.

use azevents_core::{
    AppendOutcome, Closing, ErrorKind, EventId, EventStore, ExpectedVersion, NewEvent, ReadOptions, StreamHead,
    StreamId, StreamLifecycle, Version,
};
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fresh_stream;
use crate::lifecycle::Store;

/// What a stream should be.
#[derive(Debug, Default)]
struct Model {
    /// Ids by commit, truncated ones included.
    commits: Vec<Vec<EventId>>,
    /// How many commits from the beginning are truncated.
    truncated: usize,
    closed: bool,
}

impl Model {
    fn version(&self) -> u64 {
        self.commits.iter().map(|commit| commit.len() as u64).sum()
    }

    fn head(&self) -> Option<StreamHead> {
        let last = self.commits.last()?;
        Some(StreamHead {
            version: Version::new(self.version()),
            last_commit: Version::new(self.version() - last.len() as u64 + 1),
        })
    }

    /// What can be read: versions and ids.
    fn events(&self) -> Vec<(u64, EventId)> {
        let gone: usize = self.commits[..self.truncated].iter().map(Vec::len).sum();
        let all = self.commits.iter().flatten().copied();
        (1..).zip(all).skip(gone).collect()
    }

    /// The commit, if any, that begins where an append that expects this would go, or the last one.
    fn candidate(&self, expected: ExpectedVersion) -> Option<&[EventId]> {
        let visible = || self.commits.iter().enumerate().skip(self.truncated);
        match expected {
            ExpectedVersion::Any | ExpectedVersion::StreamExists => visible().last().map(|(_, commit)| &commit[..]),
            ExpectedVersion::NoStream => self.begins_at(1),
            ExpectedVersion::Exact(version) | ExpectedVersion::Head(StreamHead { version, .. }) => {
                self.begins_at(version.get() + 1)
            }
        }
    }

    fn begins_at(&self, version: u64) -> Option<&[EventId]> {
        let mut first = 1;
        for (n, commit) in self.commits.iter().enumerate() {
            if first == version && n >= self.truncated {
                return Some(commit);
            }
            first += commit.len() as u64;
        }
        None
    }
}

/// Applies `steps` random operations to a new stream, checking each answer. The same seed gives the same
/// operations.
///
/// # Panics
/// When the store and the model disagree; the message holds the seed.
pub async fn check(store: &dyn Store, seed: u64, steps: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let stream = fresh_stream("model");
    let mut model = Model::default();
    let mut heads: Vec<StreamHead> = Vec::new();
    let mut appends: Vec<(ExpectedVersion, Vec<NewEvent>)> = Vec::new();
    for step in 0..steps {
        let at = format!("seed {seed}, step {step}, {model:?}");
        match random.random_range(0..100) {
            0..55 => {
                let expected = expectation(&mut random, &model, &heads);
                let count = random.random_range(1..4);
                let events: Vec<_> = (0..count)
                    .map(|n| NewEvent::json("Counted", &n).expect("JSON"))
                    .collect();
                appends.push((expected, events.clone()));
                append(store, &stream, &mut model, expected, events, &at).await;
            }
            // An append whose answer was lost is repeated, at once or much later.
            55..70 => {
                if let Some((expected, events)) = appends.get(random.random_range(0..appends.len().max(1))) {
                    append(store, &stream, &mut model, *expected, events.clone(), &at).await;
                }
            }
            70..88 => read(store, &stream, &model, &mut random, &at).await,
            88..95 => truncate(store, &stream, &mut model, random.random_range(0..20), &at).await,
            95..97 => {
                let closing = store.close(&stream, ExpectedVersion::Any).await.expect(&at);
                assert_eq!(closing, Closing::Closed(model.head()), "{at}");
                model.closed = true;
            }
            _ => {
                store.delete(&stream).await.expect(&at);
                model.closed = true;
                model.truncated = model.commits.len();
            }
        }
        assert_eq!(store.head(&stream).await.expect(&at), model.head(), "{at}");
        heads.extend(model.head());
    }
}

/// Mostly what is right, often what was right once, sometimes what never was.
fn expectation(random: &mut StdRng, model: &Model, heads: &[StreamHead]) -> ExpectedVersion {
    match random.random_range(0..10) {
        0 => ExpectedVersion::Any,
        1 => ExpectedVersion::StreamExists,
        2 => ExpectedVersion::NoStream,
        3 => ExpectedVersion::Exact(Version::new(random.random_range(0..model.version() + 3))),
        4 if !heads.is_empty() => ExpectedVersion::Head(heads[random.random_range(0..heads.len())]),
        5 => ExpectedVersion::Exact(Version::new(model.version())),
        _ => model.head().into(),
    }
}

async fn append(
    store: &dyn Store,
    stream: &StreamId,
    model: &mut Model,
    expected: ExpectedVersion,
    events: Vec<NewEvent>,
    at: &str,
) {
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let at = format!("{at}: append {expected:?} {ids:?}");
    let repeated = model.candidate(expected).is_some_and(|candidate| candidate == ids);
    // A repetition of what went somewhere else is a new append with ids that are known.
    let outcome = store.append(stream, expected, events).await;
    match outcome {
        Ok(AppendOutcome::Committed(commit)) => {
            let found: Vec<_> = commit.events.iter().map(|event| event.id).collect();
            assert_eq!(found, ids, "{at}");
            if repeated {
                return;
            }
            assert!(!model.closed && expected.accepts(Version::new(model.version())), "{at}");
            assert_eq!(commit.first.get(), model.version() + 1, "{at}");
            model.commits.push(ids);
        }
        Ok(AppendOutcome::Conflict(conflict)) => {
            assert!(!repeated && !expected.accepts(Version::new(model.version())), "{at}");
            assert_eq!(conflict.head, model.head(), "{at}");
            let seen = match expected {
                ExpectedVersion::Any | ExpectedVersion::StreamExists => u64::MAX,
                ExpectedVersion::NoStream => 0,
                ExpectedVersion::Exact(version) | ExpectedVersion::Head(StreamHead { version, .. }) => version.get(),
            };
            let unseen: Vec<_> = conflict
                .unseen
                .iter()
                .map(|event| (event.version.get(), event.id))
                .collect();
            let mut expected = model.events();
            expected.retain(|(version, _)| *version > seen);
            assert_eq!(unseen, expected, "{at}");
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Closed, "{at}: {error}");
            assert!(model.closed && !repeated, "{at}");
        }
    }
}

async fn read(store: &dyn EventStore, stream: &StreamId, model: &Model, random: &mut StdRng, at: &str) {
    let mut options = ReadOptions::default();
    let mut expected = model.events();
    let backwards = random.random_bool(0.4);
    let from = random
        .random_bool(0.5)
        .then(|| random.random_range(1..model.version() + 3));
    if backwards {
        options = options.backwards();
        expected.reverse();
    }
    if let Some(from) = from {
        options = options.from(Version::new(from));
        expected.retain(|(version, _)| if backwards { *version <= from } else { *version >= from });
    }
    if random.random_bool(0.5) {
        let limit = random.random_range(0..5);
        options = options.limit(limit);
        expected.truncate(limit);
    }
    let found = store
        .read(stream, options.clone())
        .map_ok(|event| (event.version.get(), event.id));
    let found: Vec<_> = found.try_collect().await.expect(at);
    assert_eq!(found, expected, "{at}: {options:?}");
}

async fn truncate(store: &dyn StreamLifecycle, stream: &StreamId, model: &mut Model, before: u64, at: &str) {
    let mut gone = 0;
    let mut end = 0;
    for (n, commit) in model.commits.iter().enumerate() {
        end += commit.len() as u64;
        let last = n + 1 == model.commits.len() && !model.closed;
        if n >= model.truncated && end < before && !last {
            gone += commit.len() as u64;
            model.truncated = n + 1;
        }
    }
    let found = store.truncate(stream, Version::new(before)).await.expect(at);
    assert_eq!(found, gone, "{at}: truncate before {before}");
}
