//! An aggregate as it is now, and what is known about how it was loaded.

use time::OffsetDateTime;

use super::{Aggregate, decode};
use crate::error::{Error, ErrorKind, Result};
use crate::event::RecordedEvent;
use crate::snapshot::Restored;
use crate::version::{StreamHead, Version};

/// An aggregate as it is now.
#[derive(Debug, Clone, Default)]
pub struct Loaded<A> {
    /// The state folded from all events.
    pub state: A,
    /// The stream's end; `None` where it has no events.
    pub head: Option<StreamHead>,
    /// Commits since the last snapshot, or since the beginning.
    pub(crate) commits: u32,
    /// When the last snapshot was taken, or without one the first event was stored.
    pub(crate) since: Option<OffsetDateTime>,
}

impl<A: Aggregate> Loaded<A> {
    /// Goes on from a snapshot.
    pub(super) fn restored(snapshot: Restored<A>) -> Self {
        Self {
            state: snapshot.state,
            head: Some(snapshot.head),
            commits: 0,
            since: Some(snapshot.taken_at),
        }
    }

    /// Whether this is the event that comes next.
    pub(super) fn is_followed_by(&self, event: &RecordedEvent) -> bool {
        event.version == self.head.map_or(Version::NONE, |head| head.version).next()
    }

    /// Folds the next event.
    pub(super) fn absorb(&mut self, event: &RecordedEvent) -> Result<()> {
        if !self.is_followed_by(event) {
            return Err(gap(self.head, event));
        }
        self.state.evolve(&decode(event)?);
        if self.head.is_none_or(|head| head.last_commit != event.commit) {
            self.commits += 1;
        }
        self.since = self.since.or(Some(event.committed_at));
        self.head = Some(StreamHead {
            version: event.version,
            last_commit: event.commit,
        });
        Ok(())
    }
}

fn gap(head: Option<StreamHead>, event: &RecordedEvent) -> Error {
    let version = head.map_or(Version::NONE, |head| head.version);
    Error::new(ErrorKind::NotFound, "load aggregate", &event.stream).with_message(format!(
        "the events from {} to {} are gone (truncated, or past their time to live), \
         and no snapshot covers them: take snapshots before truncating",
        version.next(),
        event.version.get() - 1
    ))
}
