//! Who reads a partition, in each consumer group: up to five at a time, or one with an epoch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::refusal;
use crate::amqp::{LinkControl, error::Error};

/// Readers without an epoch per consumer group and partition, as in the service's quotas.
const MAX_READERS: usize = 5;

/// What the service calls a reader that has not said its name.
const NAMELESS: &str = "nil";

/// Characters of a reader's name that others are told, as many as the clients' identifiers may have.
const LONGEST_NAME: usize = 64;

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
    name: String,
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
        name: Option<&str>,
        control: LinkControl,
    ) -> Result<Registration, Error> {
        let name: String = name.unwrap_or(NAMELESS).chars().take(LONGEST_NAME).collect();
        let mut stolen = Vec::new();
        let registration = {
            let mut readers = self.lock();
            readers.last_id += 1;
            let id = readers.last_id;
            let group_readers = readers.by_group.entry(group.to_owned()).or_default();
            let with_epoch = group_readers.iter().filter_map(|r| Some((r.epoch?, r.name.as_str())));
            match (epoch, with_epoch.max()) {
                (Some(mine), Some((highest, holder))) if mine < highest => {
                    return Err(refusal::lower_epoch(&name, mine, holder, highest));
                }
                (None, Some((highest, _))) => return Err(refusal::epoch_needed(highest)),
                (None, None) if group_readers.len() >= MAX_READERS => {
                    let names: Vec<&str> = group_readers.iter().map(|reader| reader.name.as_str()).collect();
                    return Err(refusal::too_many_readers(MAX_READERS, &names));
                }
                (Some(_), _) => stolen = std::mem::take(group_readers),
                (None, None) => {}
            }
            group_readers.push(Reader {
                id,
                epoch,
                name: name.clone(),
                control,
            });
            Registration {
                readers: Arc::clone(self),
                group: group.to_owned(),
                id,
            }
        };
        for reader in stolen {
            let why = refusal::taken_over(&name, epoch.unwrap_or_default(), &reader.name, reader.epoch);
            reader.control.detach(why);
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
