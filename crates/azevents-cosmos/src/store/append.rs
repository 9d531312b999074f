//! Appending: the rules of versions, in as few requests as they allow.
//!
//! A commit's id is the version of its first event, so of two appends at one version exactly one is
//! created. The batch also reads the commit before it: a version that is not the end of a commit has
//! none there, the read fails and with it the batch, so that a wrong number leaves neither a gap nor an
//! overlap.

use std::time::Duration;

use azevents_core::{
    AppendOutcome, Commit, Conflict, Error, ErrorKind, EventId, ExpectedVersion, NewEvent, Result, StreamHead,
    StreamId, Version,
};
use time::OffsetDateTime;

use super::CosmosEventStore;
use super::create::{Attempt, invalid};
use crate::doc::{Tail, commit_id};
use crate::wire;

/// Longest pause of an appender that has lost its turn to another.
const LOST_TURN: Duration = Duration::from_millis(20);

impl CosmosEventStore {
    pub(super) async fn append_events(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome> {
        if events.is_empty() {
            return Err(invalid(stream, "no events to append"));
        }
        let outcome = match expected {
            ExpectedVersion::NoStream | ExpectedVersion::Exact(Version::NONE) => {
                self.append_after(stream, None, events).await?
            }
            ExpectedVersion::Head(head) if head.last_commit == Version::NONE || head.last_commit > head.version => {
                return Err(invalid(stream, "a head whose last commit begins after its last event"));
            }
            ExpectedVersion::Head(head) => self.append_after(stream, Some(head), events).await?,
            ExpectedVersion::Exact(version) => {
                let head = self.tail(stream).await?.map(Tail::head);
                if head.is_some_and(|head| head.version == version) {
                    self.append_after(stream, head, events).await?
                } else {
                    self.elsewhere(stream, version, head, &ids(&events)).await?
                }
            }
            ExpectedVersion::Any => self.append_at_end(stream, events, false).await?,
            ExpectedVersion::StreamExists => self.append_at_end(stream, events, true).await?,
        };
        if let (AppendOutcome::Committed(_), Some(nudge)) = (&outcome, &self.nudge) {
            nudge.ring();
        }
        Ok(outcome)
    }

    /// Appends where the stream must end at `head`.
    async fn append_after(
        &self,
        stream: &StreamId,
        head: Option<StreamHead>,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome> {
        let version = head.map_or(Version::NONE, |head| head.version);
        let ids = ids(&events);
        let commit = Commit::record(stream, version.next(), events, OffsetDateTime::now_utc());
        match self.create(&commit, head).await? {
            Attempt::Created => Ok(AppendOutcome::Committed(commit)),
            Attempt::Taken => self.taken(stream, version, &ids).await,
            Attempt::NoSuchBoundary => {
                let head = self.tail(stream).await?.map(Tail::head);
                self.elsewhere(stream, version, head, &ids).await
            }
        }
    }

    /// Appends wherever the stream ends.
    async fn append_at_end(&self, stream: &StreamId, events: Vec<NewEvent>, must_exist: bool) -> Result<AppendOutcome> {
        let mut head = match self.commit_at(stream, None).await? {
            Some(last) if holds(&last, &ids(&events)) => return Ok(AppendOutcome::Committed(last)),
            Some(last) => Some(last.head()),
            None if must_exist => return Ok(conflict(None)),
            None => None,
        };
        // A turn that is lost was won by somebody else, so all appenders together make progress.
        loop {
            match self.append_after(stream, head, events.clone()).await? {
                AppendOutcome::Conflict(lost) if lost.head.is_some() => head = lost.head,
                outcome => return Ok(outcome),
            }
            tokio::time::sleep(wire::jittered(LOST_TURN)).await;
        }
    }

    /// Something begins where the commit should have: the commit itself, stored by an earlier attempt,
    /// or somebody else's.
    async fn taken(&self, stream: &StreamId, version: Version, ids: &[EventId]) -> Result<AppendOutcome> {
        let commits = self.commits_from(stream, version.next()).await?;
        match commits.first() {
            Some(first) if holds(first, ids) => Ok(AppendOutcome::Committed(first.clone())),
            Some(_) => Ok(unseen(commits, version)),
            None => Err(
                Error::new(ErrorKind::Unavailable, "append", stream).with_message(format!(
                    "{} exists, but this region doesn't show it yet",
                    commit_id(version.next())
                )),
            ),
        }
    }

    /// No commit ends at `version`: the stream, which ends at `head`, is behind or has gone past it.
    async fn elsewhere(
        &self,
        stream: &StreamId,
        version: Version,
        head: Option<StreamHead>,
        ids: &[EventId],
    ) -> Result<AppendOutcome> {
        if head.is_none_or(|head| head.version <= version) {
            return Ok(conflict(head));
        }
        let Some(next) = self.commit_at(stream, Some(version.next())).await? else {
            return Ok(conflict(head));
        };
        if next.first == version.next() && holds(&next, ids) {
            return Ok(AppendOutcome::Committed(next));
        }
        let mut commits = self.commits_from(stream, next.head().version.next()).await?;
        commits.insert(0, next);
        Ok(unseen(commits, version))
    }
}

fn ids(events: &[NewEvent]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

/// Whether a commit consists of exactly these events.
fn holds(commit: &Commit, ids: &[EventId]) -> bool {
    commit.events.iter().map(|event| event.id).eq(ids.iter().copied())
}

fn conflict(head: Option<StreamHead>) -> AppendOutcome {
    AppendOutcome::Conflict(Conflict {
        head,
        unseen: Vec::new(),
    })
}

fn unseen(commits: Vec<Commit>, version: Version) -> AppendOutcome {
    AppendOutcome::Conflict(Conflict {
        head: commits.last().map(Commit::head),
        unseen: commits
            .into_iter()
            .flat_map(|commit| commit.events)
            .filter(|event| event.version > version)
            .collect(),
    })
}
