//! How a relay reads, publishes and records its progress.

use std::time::Duration;

use uuid::Uuid;

use super::selection::Selection;
use crate::feed::StartFrom;
use crate::retry::RetryPolicy;

/// Options of a [`Relay`](super::Relay).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Who holds the leases. A process that comes back under the same name goes on at once; under a new
    /// one it waits for the old leases to expire. Default: a random name.
    pub owner: String,
    /// How long a lease lasts without renewal, and so how long a crashed relay's ranges stay unread.
    /// Default: 15 s.
    pub lease_duration: Duration,
    /// How often progress is recorded while there is any. Default: 1 s.
    pub checkpoint_interval: Duration,
    /// Progress is also recorded after so many events. Default: 10,000.
    pub checkpoint_events: u64,
    /// Where a relay of this name begins that never ran before. Default: the first commit.
    pub start: StartFrom,
    /// Another reader of the same leases, where a relay of this name that never ran before begins at that
    /// one's checkpoints instead of at `start`. Default: none.
    pub start_beside: Option<String>,
    /// Which events to publish. Default: all.
    pub selection: Selection,
    /// The longest pause between looks at an idle feed; it starts at a hundredth. Default: 1 s.
    pub poll_interval: Duration,
    /// Publish calls in flight per feed range; each carries one or more streams. Default: 8.
    pub lanes: usize,
    /// Messages waiting per lane. Default: 256.
    pub lane_capacity: usize,
    /// Bytes of messages in hand per feed range: those waiting and those being published. A larger message
    /// goes alone. Default: 16 MiB.
    pub bytes_in_flight: u32,
    /// Messages per publish call at most. Default: 128.
    pub batch: usize,
    /// Delays between tries of a publish that failed; relays never give up on transient failures.
    pub retry: RetryPolicy,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            owner: format!("relay-{}", Uuid::new_v4()),
            lease_duration: Duration::from_secs(15),
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_events: 10_000,
            start: StartFrom::Beginning,
            start_beside: None,
            selection: Selection::all(),
            poll_interval: Duration::from_secs(1),
            lanes: 8,
            lane_capacity: 256,
            bytes_in_flight: 16 << 20,
            batch: 128,
            retry: RetryPolicy::forever(),
        }
    }
}

impl RelayOptions {
    /// Sets who holds the leases.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Sets how long a lease lasts without renewal.
    #[must_use]
    pub fn with_lease_duration(mut self, duration: Duration) -> Self {
        self.lease_duration = duration;
        self
    }

    /// Sets how often progress is recorded.
    #[must_use]
    pub fn with_checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// Sets after how many events progress is recorded, however little time has passed.
    #[must_use]
    pub fn with_checkpoint_events(mut self, events: u64) -> Self {
        self.checkpoint_events = events;
        self
    }

    /// Sets where a relay of this name begins that never ran before.
    #[must_use]
    pub fn with_start(mut self, start: StartFrom) -> Self {
        self.start = start;
        self
    }

    /// Begins at the checkpoints of another reader of the same feed and leases: a new version of a
    /// projection that goes on where the old one is, say. A stream that the other has set aside is set aside
    /// here too, from the same event on, until [`Relay::resume`](super::Relay::resume) lets it go on.
    #[must_use]
    pub fn with_start_beside(mut self, reader: impl Into<String>) -> Self {
        self.start_beside = Some(reader.into());
        self
    }

    /// Sets which events to publish.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets how many bytes of messages may be in hand per feed range; at least 1.
    #[must_use]
    pub fn with_bytes_in_flight(mut self, bytes: u32) -> Self {
        self.bytes_in_flight = bytes.max(1);
        self
    }

    /// Sets the longest pause between looks at an idle feed.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets the number of publish calls in flight per feed range.
    #[must_use]
    pub fn with_lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Sets the number of messages per publish call at most.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }
}
