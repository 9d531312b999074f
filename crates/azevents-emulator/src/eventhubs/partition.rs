//! One partition: gives events their place, has them written, and shows them to readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{
    event::Event,
    log::{End, Log, Properties, Stored},
    position::Position,
    producers::{Admitted, Identity, Numbers, Producer, Producers, Wanted},
    readers::Readers,
    records, refusal,
};
use crate::{
    EventHub,
    amqp::error::{self, Error},
    clock::{Clock, Timestamp},
    state::Journal,
};

/// Ahead of what readers see by what is being written.
#[derive(Debug, Default)]
struct Tail {
    /// What the next event gets.
    end: End,
    producers: Producers,
}

/// What is written.
#[derive(Debug)]
struct Shown {
    log: Log,
    /// Of these a log is written anew; the tail's may know of events that are not in it.
    producers: Producers,
}

#[derive(Debug)]
pub(super) struct Partition {
    /// Of the hub, in lower case.
    hub: Arc<str>,
    id: usize,
    opaque_offsets: bool,
    clock: Clock,
    journal: Journal,
    tail: Mutex<Tail>,
    shown: Mutex<Shown>,
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
            shown: Mutex::new(Shown {
                log: Log::new(config.max_partition_bytes, config.retention),
                producers: Producers::default(),
            }),
            readers: Arc::default(),
            next: watch::Sender::new(0),
        }
    }

    /// Appends all of them, next to each other, and then calls `done`. Nobody sees them before they
    /// are written: a reader that saw an event which a crash then took back would skip the one that
    /// gets its number afterwards. What an idempotent publisher sends again is not stored again.
    pub(super) fn append(
        self: &Arc<Self>,
        events: Vec<Event>,
        from: Option<(Identity, Numbers)>,
        done: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let failed = |error: crate::state::NotWritten| error::internal(error.to_string());
        let mut tail = self.tail();
        if let Some((identity, numbers)) = &from {
            match tail.producers.admit(identity, *numbers) {
                Ok(Admitted::New) => tail.producers.note(identity, *numbers),
                Ok(Admitted::Again) => {
                    // The first time may still be on its way to the disk.
                    return self.journal.when_written(move |written| done(written.map_err(failed)));
                }
                Err(refused) => {
                    drop(tail);
                    return done(Err(refused));
                }
            }
        }
        let end = &mut tail.end;
        // Time goes on in a log even where the clock goes back.
        let now = self.clock.now().as_millis();
        let millis = end.last.map_or(now, |(_, last)| now.max(last));
        let events: Vec<Stored> = events
            .into_iter()
            .map(|event| {
                let (sequence, offset) = (end.next_sequence, end.next_offset);
                let stored = Stored {
                    sequence,
                    message: event.place(sequence, &self.offset_text(offset), millis),
                    offset,
                    enqueued_millis: millis,
                };
                *end = End {
                    next_sequence: sequence + 1,
                    next_offset: offset + stored.size() as u64,
                    last: Some((offset, millis)),
                };
                stored
            })
            .collect();
        let this = Arc::clone(self);
        // Under the lock, so that they are written in the order of their numbers.
        records::append(&self.journal, &self.hub, self.id, events, from, move |written| {
            done(written.map(|events| this.show(events, from)).map_err(failed));
        });
    }

    /// Lets an idempotent publisher in, and keeps older ones of its id out; returns once that is written.
    pub(super) async fn begin(&self, wanted: Wanted) -> Result<Identity, Error> {
        let identity = {
            let mut tail = self.tail();
            let identity = tail.producers.begin(wanted)?;
            if tail.producers.is_newer(&identity) {
                tail.producers.fence(&identity);
                records::fenced(&self.journal, &self.hub, self.id, identity);
                self.shown().producers.fence(&identity);
            }
            identity
        };
        // Also of what somebody else has begun just now.
        let written = self.journal.written().await;
        written.map_err(|error| error::internal(error.to_string()))?;
        Ok(identity)
    }

    fn show(&self, events: Vec<Stored>, from: Option<(Identity, Numbers)>) {
        let next = {
            let mut shown = self.shown();
            if let Some((identity, numbers)) = &from {
                shown.producers.note(identity, *numbers);
            }
            for event in events {
                shown.log.push(event);
            }
            shown.log.trim(self.clock.now());
            shown.log.end().next_sequence
        };
        self.next.send_modify(|value| *value = next.max(*value));
    }

    /// Puts back what was kept, in order. What is there already is left out.
    pub(super) fn restore(&self, events: Vec<Stored>, from: Option<(Identity, Numbers)>) {
        let known = self.shown().log.end().next_sequence;
        let events = events.into_iter().filter(|event| event.sequence >= known);
        self.show(events.collect(), from);
        let mut tail = self.tail();
        tail.end = self.shown().log.end();
        if let Some((identity, numbers)) = &from {
            tail.producers.note(identity, *numbers);
        }
    }

    /// Puts an idempotent publisher back.
    pub(super) fn restore_producer(&self, producer: Producer) {
        self.tail().producers.put(producer.clone());
        self.shown().producers.put(producer);
    }

    /// Puts back that older epochs of a publisher are out.
    pub(super) fn restore_fence(&self, identity: &Identity) {
        self.tail().producers.fence(identity);
        self.shown().producers.fence(identity);
    }

    /// Goes on where an earlier life ended, if no event of it is left to tell.
    pub(super) fn continue_at(&self, end: End) {
        self.shown().log.continue_at(end);
        let end = self.shown().log.end();
        self.tail().end = end;
        self.next.send_modify(|value| *value = end.next_sequence);
    }

    /// All that is visible, the end, and the idempotent publishers of it.
    pub(super) fn contents(&self) -> (Vec<Stored>, End, Vec<Producer>) {
        let shown = self.shown();
        (shown.log.read(0, usize::MAX), shown.log.end(), shown.producers.all())
    }

    /// Up to `limit` events from this sequence number on; from the oldest one where that is gone.
    pub(super) fn read(&self, from: i64, limit: usize) -> Vec<Stored> {
        self.current().log.read(from, limit)
    }

    /// Waits until there is an event with this number.
    pub(super) async fn wait_for(&self, sequence: i64) {
        // Fails only when the sender is gone, and that is `self`.
        let _ = self.next.subscribe().wait_for(|next| *next > sequence).await;
    }

    /// The sequence number to start reading at.
    pub(super) fn find(&self, position: Position) -> Result<i64, Error> {
        let current = self.current();
        let of = current.log.properties();
        match position {
            // Whoever has read beyond the end has read another partition of this name, or an earlier life of it.
            Position::Offset { offset, .. } if of.last_offset.is_none_or(|last| offset > last) => Err(
                refusal::offset_beyond_end(&self.offset_text(offset), &self.last_offset_text(&of)),
            ),
            // The next number may be waited for.
            Position::Sequence { number, .. } if number > of.last_sequence + 1 => {
                Err(refusal::number_beyond_end(number, &of))
            }
            _ => Ok(current.log.find(position)),
        }
    }

    pub(super) fn properties(&self) -> Properties {
        self.current().log.properties()
    }

    /// An offset as clients see it.
    pub(super) fn offset_text(&self, offset: u64) -> String {
        if self.opaque_offsets {
            format!("{}{offset}", Position::OPAQUE)
        } else {
            offset.to_string()
        }
    }

    /// The offset of the last event as clients see it; `-1` before the first one.
    pub(super) fn last_offset_text(&self, of: &Properties) -> String {
        of.last_offset
            .map_or_else(|| "-1".to_owned(), |offset| self.offset_text(offset))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Without what is too old by now.
    fn current(&self) -> MutexGuard<'_, Shown> {
        let mut shown = self.shown();
        shown.log.trim(self.clock.now());
        shown
    }

    /// Taken before `shown` where both are.
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
