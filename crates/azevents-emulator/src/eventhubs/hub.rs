//! One event hub: its partitions and consumer groups.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use time::OffsetDateTime;

use super::{partition::Partition, partition_key::partition_of, refusal};
use crate::{EventHub, amqp::error::Error, clock::Clock, state::Journal};

/// The group every hub has.
const DEFAULT_GROUP: &str = "$Default";

/// The names of consumer groups.
#[derive(Debug, Default)]
struct Groups {
    /// As given, for messages.
    names: Vec<String>,
    /// In lower case, for looking up.
    known: HashSet<String>,
}

impl Groups {
    /// `false` if it is there already.
    fn add(&mut self, name: &str) -> bool {
        let added = self.known.insert(name.to_lowercase());
        if added {
            self.names.push(name.to_owned());
        }
        added
    }
}

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) name: String,
    pub(super) created_at: OffsetDateTime,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// As it was created.
    config: EventHub,
    groups: RwLock<Groups>,
    next_partition: AtomicUsize,
}

impl Hub {
    pub(super) fn new(config: &EventHub, created_at: OffsetDateTime, clock: &Clock, journal: &Journal) -> Self {
        let mut groups = Groups::default();
        groups.add(DEFAULT_GROUP);
        for group in &config.consumer_groups {
            groups.add(group);
        }
        Self {
            name: config.name.clone(),
            created_at,
            partitions: (0..config.partition_count.max(1) as usize)
                .map(|id| Arc::new(Partition::new(config, id, clock.clone(), journal.clone())))
                .collect(),
            config: config.clone(),
            groups: RwLock::new(groups),
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
            .ok_or_else(|| refusal::no_partition(&self.name, id, self.partitions.len()))
    }

    /// Adds the consumer groups that are missing; `false` if none is.
    pub(super) fn add_groups(&self, names: &[String]) -> bool {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter(|name| groups.add(name)).count() > 0
    }

    /// The settings it would be created with as it is now.
    pub(super) fn config(&self) -> EventHub {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        EventHub {
            consumer_groups: groups.names[1..].to_vec(),
            ..self.config.clone()
        }
    }

    /// The group's name in one spelling.
    pub(super) fn group(&self, name: &str) -> Result<String, Error> {
        let lower = name.to_lowercase();
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        if groups.known.contains(&lower) {
            return Ok(lower);
        }
        Err(refusal::no_group(&self.name, name, &groups.names))
    }
}
