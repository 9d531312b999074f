//! Which events are read again.

use std::time::Duration;

use time::OffsetDateTime;

/// Where a replay begins in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplayFrom {
    /// At the oldest event that is kept.
    #[default]
    Earliest,
    /// At the event with this sequence number.
    SequenceNumber(i64),
    /// At the first event that the service took in at this time or later.
    Time(OffsetDateTime),
}

/// Where a replay ends in each partition; never after the newest event there is when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplayUntil {
    /// With the newest event.
    #[default]
    Now,
    /// With the event with this sequence number.
    SequenceNumber(i64),
    /// Before the first event that the service took in at this time or later.
    Time(OffsetDateTime),
}

/// Which part of a hub a [`Replay`](super::Replay) reads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReplayOptions {
    /// Where it begins.
    pub from: ReplayFrom,
    /// Where it ends.
    pub until: ReplayUntil,
    /// The ids of the partitions; `None` for all.
    pub partitions: Option<Vec<String>>,
    /// Keys of one partition that can be handled at once.
    pub concurrency: usize,
    /// How long the service may take to answer.
    pub operation_timeout: Duration,
}

impl Default for ReplayOptions {
    /// Everything there is, 16 keys of a partition at once, 30 s for an answer.
    fn default() -> Self {
        Self {
            from: ReplayFrom::default(),
            until: ReplayUntil::default(),
            partitions: None,
            concurrency: 16,
            operation_timeout: Duration::from_secs(30),
        }
    }
}

impl ReplayOptions {
    /// Sets where it begins.
    #[must_use]
    pub fn with_from(mut self, from: ReplayFrom) -> Self {
        self.from = from;
        self
    }

    /// Sets where it ends.
    #[must_use]
    pub fn with_until(mut self, until: ReplayUntil) -> Self {
        self.until = until;
        self
    }

    /// Sets which partitions are read.
    #[must_use]
    pub fn with_partitions(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partitions = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how many keys of a partition can be handled at once; at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }
}
