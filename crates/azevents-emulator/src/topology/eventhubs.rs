//! Event hubs.

use std::ops::RangeInclusive;

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
        }
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
