//! What can be set on a consumer.

use std::time::Duration;

use azevents_core::RetryPolicy;
use time::OffsetDateTime;

/// Where a partition without a checkpoint is read from. All but [`Latest`](Self::Latest) are the same place however often
/// it is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// The oldest event that is still kept.
    #[default]
    Earliest,
    /// What is published after the partition was first taken; that point is checkpointed at once.
    Latest,
    /// The event with this sequence number, in every partition; of use with one of them.
    SequenceNumber(i64),
    /// The first event that the service took in at this time or later.
    Time(OffsetDateTime),
}

/// How an [`EventHubConsumer`](super::EventHubConsumer) works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// This consumer's name in the leases; `None` makes one up for each consumer. One that keeps its name
    /// over a restart goes on at once, without waiting for its own leases to expire. Two running consumers
    /// must never share a name: they would take the partitions from each other for ever.
    pub owner: Option<String>,
    /// Where to begin without a checkpoint.
    pub start: StartFrom,
    /// Events handled at once within one partition.
    pub concurrency: usize,
    /// Received events that may wait behind each running one; a batch of them at least, where the handler takes batches.
    pub queued: usize,
    /// Events the service may send ahead of what was asked for, per partition.
    pub prefetch: u32,
    /// How long a lease lasts without being renewed: how long a crashed consumer's partitions stand still.
    pub lease_duration: Duration,
    /// How often to look who else takes part and which partitions are free; at least three times within
    /// the duration of a lease.
    pub acquire_interval: Duration,
    /// A checkpoint is written after this many finished events...
    pub checkpoint_events: usize,
    /// ...or this long after the last one, whichever comes first.
    pub checkpoint_interval: Duration,
    /// Delays between tries of an event that the pipeline gave back, and of parking one.
    pub redelivery: RetryPolicy,
    /// How long one request to the service may take.
    pub operation_timeout: Duration,
}

impl Default for ConsumerOptions {
    /// A name made up, from the earliest event, 16 at once with 4 waiting behind each, prefetch 300,
    /// leases of 30 s looked at every 5 s, a checkpoint every 500 events or 5 s.
    fn default() -> Self {
        Self {
            owner: None,
            start: StartFrom::default(),
            concurrency: 16,
            queued: 4,
            prefetch: 300,
            lease_duration: Duration::from_secs(30),
            acquire_interval: Duration::from_secs(5),
            checkpoint_events: 500,
            checkpoint_interval: Duration::from_secs(5),
            redelivery: RetryPolicy::forever().with_immediate(0),
            operation_timeout: Duration::from_secs(30),
        }
    }
}

impl ConsumerOptions {
    /// Names this consumer.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sets where a partition without a checkpoint is read from.
    #[must_use]
    pub fn with_start(mut self, start: StartFrom) -> Self {
        self.start = start;
        self
    }

    /// Sets how many events of one partition are handled at once; at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Sets how many received events may wait behind each running one.
    #[must_use]
    pub fn with_queued(mut self, queued: usize) -> Self {
        self.queued = queued;
        self
    }

    /// Sets how many events the service may send ahead.
    #[must_use]
    pub fn with_prefetch(mut self, prefetch: u32) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets how long a lease lasts; it is renewed three times in that time.
    #[must_use]
    pub fn with_lease_duration(mut self, duration: Duration) -> Self {
        self.lease_duration = duration;
        self
    }

    /// Sets how often to look who else takes part and which partitions are free.
    #[must_use]
    pub fn with_acquire_interval(mut self, interval: Duration) -> Self {
        self.acquire_interval = interval;
        self
    }

    /// Writes a checkpoint every `events` finished events or every `interval`.
    #[must_use]
    pub fn with_checkpoints(mut self, events: usize, interval: Duration) -> Self {
        (self.checkpoint_events, self.checkpoint_interval) = (events.max(1), interval);
        self
    }

    /// Sets the delays before an event that was given back is tried again. Its number of retries is
    /// ignored: the pipeline decides when to give up.
    #[must_use]
    pub fn with_redelivery(mut self, redelivery: RetryPolicy) -> Self {
        self.redelivery = redelivery;
        self.redelivery.retries = None;
        self
    }
}
