//! How a topic's consumer works.

use std::time::Duration;

use azevents_core::RetryPolicy;

/// Where a group begins in a partition of which it has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// After the newest record there is when the partition is first assigned; that place is committed at once.
    Latest,
}

/// How a [`KafkaConsumer`](super::KafkaConsumer) works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Where to begin.
    pub start: StartFrom,
    /// Keys of one partition that can be handled at once.
    pub concurrency: usize,
    /// Records of one partition that may be in hand, by their offsets: from the oldest unfinished to the newest. A
    /// partition with as many is paused until half of them are done.
    pub max_in_hand: usize,
    /// Finished records after which an offset is committed.
    pub commit_events: usize,
    /// Time after which an offset is committed.
    pub commit_interval: Duration,
    /// The pauses before a record is handed to the pipeline again that gave it back.
    pub redelivery: RetryPolicy,
    /// How long a consumer may be silent before the group goes on without it.
    pub session_timeout: Duration,
}

impl Default for ConsumerOptions {
    /// From the earliest record, 16 keys and 1,000 records in hand per partition, commits every 1,000
    /// records and every 5 s, a session of 30 s.
    fn default() -> Self {
        Self {
            start: StartFrom::default(),
            concurrency: 16,
            max_in_hand: 1_000,
            commit_events: 1_000,
            commit_interval: Duration::from_secs(5),
            redelivery: RetryPolicy::forever(),
            session_timeout: Duration::from_secs(30),
        }
    }
}

impl ConsumerOptions {
    /// Sets where a new group begins.
    #[must_use]
    pub fn with_start(mut self, start: StartFrom) -> Self {
        self.start = start;
        self
    }

    /// Sets how many keys of a partition can be handled at once; at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Sets how many records of a partition may be in hand; at least 1.
    #[must_use]
    pub fn with_max_in_hand(mut self, records: usize) -> Self {
        self.max_in_hand = records.max(1);
        self
    }

    /// Sets how often offsets are committed, by records and by time.
    #[must_use]
    pub fn with_commits(mut self, events: usize, interval: Duration) -> Self {
        self.commit_events = events.max(1);
        self.commit_interval = interval;
        self
    }

    /// Sets the pauses before a record is tried again. It is tried until it is handled or set aside.
    #[must_use]
    pub fn with_redelivery(mut self, redelivery: RetryPolicy) -> Self {
        self.redelivery = redelivery;
        self.redelivery.retries = None;
        self
    }

    /// Sets how long a consumer may be silent; the broker has bounds of its own.
    #[must_use]
    pub fn with_session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }
}
