//! Who reads a partition, in each consumer group: up to five at a time, or one with an epoch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::amqp::{
    LinkControl,
    error::{self, Error},
};

/// Readers without an epoch per consumer group and partition, as in the service's quotas.
const MAX_READERS: usize = 5;

/// The readers of one partition.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Registered>);

#[derive(Debug, Default)]
struct Registered {
    last_id: u64,
    by_group: HashMap<String, Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    id: u64,
    epoch: Option<i64>,
    control: LinkControl,
}

/// A reader's place among the readers of its group; given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    readers: Arc<Readers>,
    group: String,
    id: u64,
}

impl Readers {
    /// Adds a reader to a group. With an epoch it is the only one: readers with a lower or the
    /// same epoch, or with none, are detached; behind a higher one it is refused.
    pub(super) fn register(
        self: &Arc<Self>,
        group: &str,
        epoch: Option<i64>,
        control: LinkControl,
    ) -> Result<Registration, Error> {
        let mut stolen = Vec::new();
        let registration = {
            let mut readers = self.lock();
            readers.last_id += 1;
            let id = readers.last_id;
            let group_readers = readers.by_group.entry(group.to_owned()).or_default();
            let highest = group_readers.iter().filter_map(|r| r.epoch).max();
            match (epoch, highest) {
                (Some(mine), Some(highest)) if mine < highest => {
                    return Err(error::stolen(format!(
                        "A receiver with epoch {highest} reads this partition of consumer group \
                         '{group}'; epoch {mine} is lower."
                    )));
                }
                (None, Some(highest)) => {
                    return Err(error::stolen(format!(
                        "A receiver with epoch {highest} reads this partition of consumer group \
                         '{group}'; a receiver without an epoch is not allowed beside it."
                    )));
                }
                (None, None) if group_readers.len() >= MAX_READERS => {
                    return Err(error::custom(
                        "amqp:resource-limit-exceeded",
                        format!(
                            "Consumer group '{group}' has {MAX_READERS} receivers on this \
                             partition already, the most there can be."
                        ),
                    ));
                }
                (Some(_), _) => stolen = std::mem::take(group_readers),
                (None, None) => {}
            }
            group_readers.push(Reader { id, epoch, control });
            Registration {
                readers: Arc::clone(self),
                group: group.to_owned(),
                id,
            }
        };
        for reader in stolen {
            reader.control.detach(error::stolen(format!(
                "New receiver with epoch {} of consumer group '{group}' took this partition over.",
                epoch.unwrap_or_default()
            )));
        }
        Ok(registration)
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        if let Some(group) = readers.by_group.get_mut(&self.group) {
            group.retain(|reader| reader.id != self.id);
        }
    }
}
