//! One partition: gives events their place, has them written, and shows them to readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    event::Event,
    log::{End, Log, Properties, Stored},
    position::Position,
    readers::Readers,
    records,
};
use crate::{
    EventHub,
    clock::Clock,
    state::{Journal, NotWritten},
};

#[derive(Debug)]
pub(super) struct Partition {
    /// Of the hub, in lower case.
    hub: Arc<str>,
    id: usize,
    opaque_offsets: bool,
    clock: Clock,
    journal: Journal,
    /// What the next event gets. Ahead of the log by what is being written.
    tail: Mutex<End>,
    log: Mutex<Log>,
    pub(super) readers: Arc<Readers>,
    /// The sequence number that the next visible event has; readers wait on it.
    next: watch::Sender<i64>,
}

impl Partition {
    pub(super) fn new(config: &EventHub, id: usize, clock: Clock, journal: Journal) -> Self {
        Self {
            hub: Arc::from(config.name.to_lowercase()),
            id,
            opaque_offsets: config.opaque_offsets,
            clock,
            journal,
            tail: Mutex::default(),
            log: Mutex::new(Log::new(config.max_partition_bytes, config.retention)),
            readers: Arc::default(),
            next: watch::Sender::new(0),
        }
    }

    /// Appends all of them, next to each other, and then calls `done`. Nobody sees them before they
    /// are written: a reader that saw an event which a crash then took back would skip the one that
    /// gets its number afterwards.
    pub(super) fn append(
        self: &Arc<Self>,
        events: Vec<Event>,
        done: impl FnOnce(Result<(), NotWritten>) + Send + 'static,
    ) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        // Time goes on in a log even where the clock goes back.
        let now = self.clock.now().as_millis();
        let millis = tail.last.map_or(now, |(_, last)| now.max(last));
        let events: Vec<Stored> = events
            .into_iter()
            .map(|event| {
                let (sequence, offset) = (tail.next_sequence, tail.next_offset);
                let stored = Stored {
                    sequence,
                    message: event.place(sequence, &self.offset_text(offset), millis),
                    offset,
                    enqueued_millis: millis,
                };
                *tail = End {
                    next_sequence: sequence + 1,
                    next_offset: offset + stored.size() as u64,
                    last: Some((offset, millis)),
                };
                stored
            })
            .collect();
        let this = Arc::clone(self);
        // Under the lock, so that they are written in the order of their numbers.
        records::append(&self.journal, &self.hub, self.id, events, move |written| {
            done(written.map(|events| this.show(events)));
        });
    }

    fn show(&self, events: Vec<Stored>) {
        let next = {
            let mut log = self.log();
            for event in events {
                log.push(event);
            }
            log.trim(self.clock.now());
            log.end().next_sequence
        };
        self.next.send_modify(|value| *value = next.max(*value));
    }

    /// Puts back what was kept, in order. What is there already is left out.
    pub(super) fn restore(&self, events: Vec<Stored>) {
        let known = self.log().end().next_sequence;
        self.show(events.into_iter().filter(|event| event.sequence >= known).collect());
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = self.log().end();
    }

    /// Goes on where an earlier life ended, if no event of it is left to tell.
    pub(super) fn continue_at(&self, end: End) {
        self.log().continue_at(end);
        let end = self.log().end();
        *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = end;
        self.next.send_modify(|value| *value = end.next_sequence);
    }

    /// All that is visible, and the end.
    pub(super) fn contents(&self) -> (Vec<Stored>, End) {
        let log = self.log();
        (log.read(0, usize::MAX), log.end())
    }

    /// Up to `limit` events from this sequence number on; from the oldest one where that is gone.
    pub(super) fn read(&self, from: i64, limit: usize) -> Vec<Stored> {
        self.current_log().read(from, limit)
    }

    /// Waits until there is an event with this number.
    pub(super) async fn wait_for(&self, sequence: i64) {
        // Fails only when the sender is gone, and that is `self`.
        let _ = self.next.subscribe().wait_for(|next| *next > sequence).await;
    }

    /// The sequence number to start reading at.
    pub(super) fn find(&self, position: Position) -> i64 {
        self.current_log().find(position)
    }

    pub(super) fn properties(&self) -> Properties {
        self.current_log().properties()
    }

    /// An offset as clients see it.
    pub(super) fn offset_text(&self, offset: u64) -> String {
        if self.opaque_offsets {
            format!("{}{offset}", Position::OPAQUE)
        } else {
            offset.to_string()
        }
    }

    /// Without what is too old by now.
    fn current_log(&self) -> MutexGuard<'_, Log> {
        let mut log = self.log();
        log.trim(self.clock.now());
        log
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
