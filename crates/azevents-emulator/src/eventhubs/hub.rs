//! One event hub: its partitions and consumer groups.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use time::OffsetDateTime;

use super::{partition::Partition, partition_key::partition_of};
use crate::{
    EventHub,
    amqp::error::{self, Error},
    clock::Clock,
};

/// The group every hub has.
const DEFAULT_GROUP: &str = "$Default";

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) name: String,
    pub(super) created_at: OffsetDateTime,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Names as given, for messages.
    groups: Vec<String>,
    /// The same in lower case, for looking up.
    known_groups: HashSet<String>,
    next_partition: AtomicUsize,
}

impl Hub {
    pub(super) fn new(config: &EventHub, max_partition_bytes: usize, clock: &Clock) -> Self {
        let mut groups = vec![DEFAULT_GROUP.to_owned()];
        let mut known_groups = HashSet::from([DEFAULT_GROUP.to_lowercase()]);
        for group in &config.consumer_groups {
            if known_groups.insert(group.to_lowercase()) {
                groups.push(group.clone());
            }
        }
        Self {
            name: config.name.clone(),
            created_at: clock.now_utc(),
            partitions: (0..config.partition_count.max(1))
                .map(|_| Arc::new(Partition::new(max_partition_bytes, clock.clone())))
                .collect(),
            groups,
            known_groups,
            next_partition: AtomicUsize::new(0),
        }
    }

    /// Where an event goes whose publisher did not name a partition: by key, else in turn.
    pub(super) fn partition_for(&self, key: Option<&str>) -> &Arc<Partition> {
        let count = self.partitions.len();
        let index = match key {
            Some(key) => partition_of(key, count),
            None => self.next_partition.fetch_add(1, Ordering::Relaxed) % count,
        };
        &self.partitions[index]
    }

    pub(super) fn partition(&self, id: &str) -> Result<&Arc<Partition>, Error> {
        id.parse()
            .ok()
            .and_then(|index: usize| self.partitions.get(index))
            .ok_or_else(|| {
                error::not_found(format!(
                    "The event hub '{}' has no partition '{id}'; it has 0 to {}.",
                    self.name,
                    self.partitions.len() - 1
                ))
            })
    }

    /// The group's name in one spelling.
    pub(super) fn group(&self, name: &str) -> Result<String, Error> {
        let lower = name.to_lowercase();
        if self.known_groups.contains(&lower) {
            return Ok(lower);
        }
        Err(error::not_found(format!(
            "The event hub '{}' has no consumer group '{name}'; it has {}.",
            self.name,
            self.groups.join(", ")
        )))
    }
}
