//! Appending to streams and reading them back.

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use time::OffsetDateTime;

use crate::error::Result;
use crate::event::{Commit, NewEvent, RecordedEvent};
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead, Version};

/// A store of event streams.
///
/// # Contract
/// - **Atomic.** The events of one `append` become visible together, as one [`Commit`], or not at all.
/// - **Ordered.** Versions of a stream have no gaps and no repeats: 1, 2, 3, … in the order of commits.
/// - **Conflicts are values.** When the stream isn't where the caller expects it, nothing is written and
///   [`AppendOutcome::Conflict`] carries the events the caller has not seen.
/// - **Idempotent by event id.** Appending events whose ids already stand where they would go reports
///   the commit that holds them, so an append whose answer was lost can simply be repeated.
///   `ExpectedVersion::Any` recognises a repetition only of the stream's last commit.
/// - **Closed streams** take nothing any more: see [`StreamLifecycle`](crate::StreamLifecycle).
/// - **Cancellation.** A dropped `append` may or may not have happened; repeat it to find out. Dropping
///   a read has no effect.
/// - **Errors** leave nothing half done. [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown)
///   means what it says: repeat the append with the same ids.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends `events`, in order, as one commit, or as several where one can't hold them, which become
    /// visible together all the same.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for no events at all,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) when they are more than the store can write at once,
    /// [`Closed`](crate::ErrorKind::Closed) for a stream that was closed, or what the store itself reports.
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome>;

    /// Reads a stream. A stream that doesn't exist yields nothing. An error ends the sequence.
    fn read(&self, stream: &StreamId, options: ReadOptions) -> BoxStream<'static, Result<RecordedEvent>>;

    /// The end of a stream, or `None` where it has no events.
    async fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>>;

    /// The commit that follows `head`, or the first one; `None` where the stream ends there. The cheapest
    /// way to find out that a state is current.
    async fn next_commit(&self, stream: &StreamId, head: Option<StreamHead>) -> Result<Option<Commit>> {
        let mut events = self.read(stream, ReadOptions::default().after(head));
        let Some(first) = events.try_next().await? else {
            return Ok(None);
        };
        let mut commit = Commit {
            tenant: None,
            stream: stream.clone(),
            first: first.version,
            committed_at: first.committed_at,
            outbox: Vec::new(),
            events: vec![first],
        };
        while let Some(event) = events.try_next().await? {
            if event.commit != commit.events[0].commit {
                break;
            }
            commit.events.push(event);
        }
        Ok(Some(commit))
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a conflict is not an error, so it has to be looked at"]
pub enum AppendOutcome {
    /// Stored, now or by an earlier attempt with the same ids.
    Committed(Commit),
    /// Not stored: the stream isn't where the caller expected it.
    Conflict(Conflict),
}

/// Why nothing was appended, with what is needed to decide again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The stream's end now; `None` where it has no events.
    pub head: Option<StreamHead>,
    /// The events after the version the caller expected, in order. Empty when the caller expected none
    /// in particular ([`ExpectedVersion::StreamExists`]) or was ahead of the stream.
    pub unseen: Vec<RecordedEvent>,
}

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// From old to new.
    #[default]
    Forwards,
    /// From new to old.
    Backwards,
}

/// Which part of a stream to read. The default is all of it, from the first event that it still has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Where to begin, this version included; `None` is the stream's first event, or its last when
    /// reading backwards.
    pub from: Option<Version>,
    /// Which way.
    pub direction: Direction,
    /// At most so many events.
    pub limit: Option<usize>,
    /// Begin after the commit that ends here, when reading forwards. As `from` with the version that
    /// follows, but a store that knows a commit begins there need not look for its beginning.
    pub after: Option<StreamHead>,
    /// Read the stream as it was at this time: as if everything from the first commit made later on,
    /// by its appender's clock, had not happened yet.
    pub until: Option<OffsetDateTime>,
}

impl ReadOptions {
    /// Begins at `version`, included.
    #[must_use]
    pub fn from(mut self, version: Version) -> Self {
        self.from = Some(version);
        self
    }

    /// Begins after `head`, as a load or an append returned it; with `None`, at the beginning.
    #[must_use]
    pub fn after(mut self, head: Option<StreamHead>) -> Self {
        self.after = head;
        self
    }

    /// Reads the stream as it was at `time`.
    #[must_use]
    pub fn until(mut self, time: OffsetDateTime) -> Self {
        self.until = Some(time);
        self
    }

    /// Where reading forwards begins, by `from` and `after`.
    pub fn first(&self) -> Version {
        let after = self.after.map_or(Version::FIRST, |head| head.version.next());
        self.from.unwrap_or(Version::FIRST).max(after)
    }

    /// Reads from new to old.
    #[must_use]
    pub fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }

    /// Stops after `limit` events.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }
}
