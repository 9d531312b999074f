//! Streams in a map, and the feed of their commits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use time::OffsetDateTime;

use super::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Commit, NewEvent, RecordedEvent};
use crate::nudge::Nudge;
use crate::snapshot::Snapshot;
use crate::store::{AppendOutcome, Conflict, Direction, EventStore, ReadOptions};
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead, Version};

/// An event store and its commit feed. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    pub(super) state: Arc<Mutex<State>>,
    nudge: Nudge,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) log: Vec<Arc<Commit>>,
    /// Where the feed's ranges begin, but for the first.
    pub(super) bounds: BTreeSet<u32>,
    pub(super) streams: HashMap<StreamId, Vec<Arc<Commit>>>,
    /// The streams that take nothing any more, and where they ended.
    pub(super) closed: HashMap<StreamId, Option<StreamHead>>,
    pub(super) snapshots: HashMap<(StreamId, String), Snapshot>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rung by every append.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }
}

impl State {
    pub(super) fn head(&self, stream: &StreamId) -> Option<StreamHead> {
        if let Some(head) = self.closed.get(stream) {
            return *head;
        }
        self.streams.get(stream)?.last().map(|commit| commit.head())
    }

    /// Events of a stream after `version`.
    fn after(&self, stream: &StreamId, version: Version) -> Vec<RecordedEvent> {
        let commits = self.streams.get(stream).into_iter().flatten();
        commits
            .flat_map(|commit| commit.events.clone())
            .filter(|event| event.version > version)
            .collect()
    }

    /// The commit that an earlier attempt at the same append has made, if there is one.
    fn earlier_attempt(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Option<&Arc<Commit>> {
        let commits = self.streams.get(stream)?;
        let candidate = match expected {
            ExpectedVersion::Any | ExpectedVersion::StreamExists => commits.last(),
            ExpectedVersion::NoStream => commits.first(),
            ExpectedVersion::Exact(version) | ExpectedVersion::Head(StreamHead { version, .. }) => {
                commits.iter().find(|commit| commit.first == version.next())
            }
        }?;
        let same = candidate
            .events
            .iter()
            .map(|event| event.id)
            .eq(events.iter().map(|event| event.id));
        same.then_some(candidate)
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome> {
        if events.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "append", stream).with_message("no events to append"));
        }
        let commit = {
            let mut state = lock(&self.state);
            if let Some(commit) = state.earlier_attempt(stream, expected, &events) {
                return Ok(AppendOutcome::Committed(commit.as_ref().clone()));
            }
            if state.closed.contains_key(stream) {
                return Err(Error::new(ErrorKind::Closed, "append", stream).with_message("the stream was closed"));
            }
            let head = state.head(stream);
            let current = head.map_or(Version::NONE, |head| head.version);
            if !expected.accepts(current) {
                let unseen = match expected {
                    ExpectedVersion::Any | ExpectedVersion::StreamExists => Vec::new(),
                    ExpectedVersion::NoStream => state.after(stream, Version::NONE),
                    ExpectedVersion::Exact(version) | ExpectedVersion::Head(StreamHead { version, .. }) => {
                        state.after(stream, version)
                    }
                };
                return Ok(AppendOutcome::Conflict(Conflict { head, unseen }));
            }
            let commit = Arc::new(Commit::record(
                stream,
                current.next(),
                events,
                OffsetDateTime::now_utc(),
            ));
            state.log.push(commit.clone());
            state.streams.entry(stream.clone()).or_default().push(commit.clone());
            commit
        };
        self.nudge.ring();
        Ok(AppendOutcome::Committed(commit.as_ref().clone()))
    }

    fn read(&self, stream: &StreamId, options: ReadOptions) -> BoxStream<'static, Result<RecordedEvent>> {
        let mut events = lock(&self.state).after(stream, Version::NONE);
        let later = |event: &RecordedEvent| options.until.is_some_and(|until| event.committed_at > until);
        if let Some(end) = events.iter().position(later) {
            events.truncate(end);
        }
        if options.direction == Direction::Backwards {
            events.reverse();
            events.retain(|event| options.from.is_none_or(|from| event.version <= from));
        } else {
            events.retain(|event| event.version >= options.first());
        }
        events.truncate(options.limit.unwrap_or(usize::MAX));
        stream::iter(events.into_iter().map(Ok)).boxed()
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        Ok(lock(&self.state).head(stream))
    }
}
