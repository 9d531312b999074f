//! Event hubs.

use std::{ops::RangeInclusive, time::Duration};

/// An event hub. The consumer group `$Default` is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHub {
    /// Its address.
    pub name: String,
    /// Number of partitions, fixed for the hub's life. 4 by default.
    pub partition_count: u32,
    /// Consumer groups beside `$Default`.
    pub consumer_groups: Vec<String>,
    /// How long an event is kept. 7 days by default, the most the Standard tier has.
    pub retention: Duration,
    /// How many bytes of events a partition keeps; beyond that the oldest go, whatever their age.
    /// 256 MiB by default. The service has no such limit; memory has.
    pub max_partition_bytes: usize,
    /// Whether offsets are texts that aren't numbers, as in geo-replicated namespaces: clients must
    /// hand them back as they came. Off by default.
    pub opaque_offsets: bool,
}

impl EventHub {
    /// How many partitions a hub can have; the upper end is Azure's for dedicated clusters.
    pub(crate) const PARTITIONS: RangeInclusive<u32> = 1..=1024;

    /// A hub with 4 partitions.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partition_count: 4,
            consumer_groups: Vec::new(),
            retention: Duration::from_secs(7 * 24 * 3600),
            max_partition_bytes: 256 * 1024 * 1024,
            opaque_offsets: false,
        }
    }

    /// Sets how long an event is kept.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how many bytes of events a partition keeps.
    #[must_use]
    pub fn with_max_partition_bytes(mut self, bytes: usize) -> Self {
        self.max_partition_bytes = bytes;
        self
    }

    /// Makes offsets texts that aren't numbers.
    #[must_use]
    pub fn with_opaque_offsets(mut self) -> Self {
        self.opaque_offsets = true;
        self
    }

    /// Sets the number of partitions, 1 to 1024.
    #[must_use]
    pub fn with_partition_count(mut self, partition_count: u32) -> Self {
        self.partition_count = partition_count;
        self
    }

    /// Adds a consumer group.
    #[must_use]
    pub fn with_consumer_group(mut self, name: impl Into<String>) -> Self {
        self.consumer_groups.push(name.into());
        self
    }
}

impl From<&str> for EventHub {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
