//! One partition: a log that only grows at one end, and the readers of each consumer group.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{event::Event, position::Position};
use crate::{
    amqp::{
        LinkControl,
        error::{self, Error},
    },
    clock::Clock,
};

/// Readers without an epoch per consumer group and partition, as in the service's quotas.
const MAX_READERS: usize = 5;

/// A stored event, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) message: [Bytes; 2],
    offset: u64,
    enqueued_millis: i64,
    size: usize,
}

/// What `$management` tells of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) begin_sequence: i64,
    /// -1 before the first event.
    pub(super) last_sequence: i64,
    /// `None` before the first event.
    pub(super) last_offset: Option<u64>,
    pub(super) last_enqueued_millis: i64,
    pub(super) is_empty: bool,
}

#[derive(Debug)]
pub(super) struct Partition {
    clock: Clock,
    log: Mutex<Log>,
    readers: Mutex<Readers>,
    /// The sequence number that the next event gets; readers wait on it.
    next: watch::Sender<i64>,
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Stored>,
    next_sequence: i64,
    next_offset: u64,
    last: Option<(u64, i64)>,
    bytes: usize,
    /// Oldest events go when there are more bytes than this.
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Readers {
    last_id: u64,
    by_group: HashMap<String, Vec<Registered>>,
}

#[derive(Debug)]
struct Registered {
    id: u64,
    epoch: Option<i64>,
    control: LinkControl,
}

/// A reader's place among the readers of its group; given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    partition: Arc<Partition>,
    group: String,
    id: u64,
}

impl Partition {
    pub(super) fn new(max_bytes: usize, clock: Clock) -> Self {
        Self {
            clock,
            log: Mutex::new(Log {
                events: VecDeque::new(),
                next_sequence: 0,
                next_offset: 0,
                last: None,
                bytes: 0,
                max_bytes,
            }),
            readers: Mutex::default(),
            next: watch::Sender::new(0),
        }
    }

    /// Appends all of them, next to each other.
    pub(super) fn append(&self, events: Vec<Event>) {
        let millis = self.clock.now().as_millis();
        let next = {
            let mut log = self.log();
            // Time goes on in a log even where the clock goes back.
            let millis = log.last.map_or(millis, |(_, last)| millis.max(last));
            for event in events {
                log.push(event, millis);
            }
            log.trim();
            log.next_sequence
        };
        self.next.send_modify(|value| *value = next.max(*value));
    }

    /// Up to `limit` events from this sequence number on; from the oldest one where that is gone.
    pub(super) fn read(&self, from: i64, limit: usize) -> Vec<Stored> {
        let log = self.log();
        let first = log.first_sequence();
        let skip = usize::try_from(from - first).unwrap_or(0);
        log.events.iter().skip(skip).take(limit).cloned().collect()
    }

    /// Waits until there is an event with this number.
    pub(super) async fn wait_for(&self, sequence: i64) {
        // Fails only when the sender is gone, and that is `self`.
        let _ = self.next.subscribe().wait_for(|next| *next > sequence).await;
    }

    /// The sequence number to start reading at.
    pub(super) fn find(&self, position: Position) -> i64 {
        let log = self.log();
        let at = match position {
            Position::Earliest => 0,
            Position::Latest => log.events.len(),
            Position::Offset { offset, inclusive } => log
                .events
                .partition_point(|e| e.offset < offset || (!inclusive && e.offset == offset)),
            Position::Sequence { number, inclusive } => log
                .events
                .partition_point(|e| e.sequence < number || (!inclusive && e.sequence == number)),
            Position::Time { millis, inclusive } => log
                .events
                .partition_point(|e| e.enqueued_millis < millis || (!inclusive && e.enqueued_millis == millis)),
        };
        log.first_sequence() + at as i64
    }

    pub(super) fn properties(&self) -> Properties {
        let log = self.log();
        Properties {
            begin_sequence: log.first_sequence(),
            last_sequence: log.next_sequence - 1,
            last_offset: log.last.map(|(offset, _)| offset),
            last_enqueued_millis: log.last.map_or(0, |(_, millis)| millis),
            is_empty: log.events.is_empty(),
        }
    }

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
            let mut readers = self.readers();
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
            group_readers.push(Registered { id, epoch, control });
            Registration {
                partition: Arc::clone(self),
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

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn first_sequence(&self) -> i64 {
        self.next_sequence - self.events.len() as i64
    }

    fn push(&mut self, event: Event, enqueued_millis: i64) {
        let (sequence, offset, size) = (self.next_sequence, self.next_offset, event.size());
        self.events.push_back(Stored {
            sequence,
            message: event.place(sequence, offset, enqueued_millis),
            offset,
            enqueued_millis,
            size,
        });
        self.next_sequence += 1;
        self.next_offset += size as u64;
        self.bytes += size;
        self.last = Some((offset, enqueued_millis));
    }

    fn trim(&mut self) {
        while self.bytes > self.max_bytes {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.size;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut readers = self.partition.readers();
        if let Some(group) = readers.by_group.get_mut(&self.group) {
            group.retain(|reader| reader.id != self.id);
        }
    }
}
