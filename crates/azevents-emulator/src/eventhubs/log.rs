//! The events of one partition that readers can see: a log that grows at one end and is cut off at
//! the other, by age and by size.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::position::Position;
use crate::clock::Timestamp;

/// A stored event, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) message: [Bytes; 2],
    pub(super) offset: u64,
    pub(super) enqueued_millis: i64,
}

impl Stored {
    /// Bytes it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        const AROUND: usize = size_of::<Stored>();
        AROUND + self.message[0].len() + self.message[1].len()
    }
}

/// Where a log ends: what the next event gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    pub(super) next_sequence: i64,
    pub(super) next_offset: u64,
    /// Offset and time of the last event there was, even if it is gone.
    pub(super) last: Option<(u64, i64)>,
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
pub(super) struct Log {
    events: VecDeque<Stored>,
    end: End,
    bytes: usize,
    /// Oldest events go when there are more bytes than this.
    max_bytes: usize,
    max_age: Duration,
}

impl Log {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            events: VecDeque::new(),
            end: End::default(),
            bytes: 0,
            max_bytes,
            max_age,
        }
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    /// Moves the end of an empty log.
    pub(super) fn continue_at(&mut self, end: End) {
        if self.events.is_empty() && end.next_sequence > self.end.next_sequence {
            self.end = end;
        }
    }

    /// Adds an event. Numbers go up by one; one that went on without events leaves none behind.
    pub(super) fn push(&mut self, event: Stored) {
        if event.sequence != self.end.next_sequence {
            self.events.clear();
            self.bytes = 0;
        }
        let size = event.size();
        self.end = End {
            next_sequence: event.sequence + 1,
            next_offset: event.offset + size as u64,
            last: Some((event.offset, event.enqueued_millis)),
        };
        self.bytes += size;
        self.events.push_back(event);
    }

    /// Drops what is too old or too much.
    pub(super) fn trim(&mut self, now: Timestamp) {
        let too_old = |event: &Stored| Timestamp::from_millis(event.enqueued_millis) + self.max_age <= now;
        while let Some(oldest) = self.events.front() {
            if self.bytes <= self.max_bytes && !too_old(oldest) {
                break;
            }
            self.bytes -= oldest.size();
            self.events.pop_front();
        }
        // A burst must not hold on to its memory for ever.
        if self.events.capacity() > 1024 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    fn first_sequence(&self) -> i64 {
        self.end.next_sequence - self.events.len() as i64
    }

    /// Up to `limit` events from this sequence number on; from the oldest one where that is gone.
    pub(super) fn read(&self, from: i64, limit: usize) -> Vec<Stored> {
        let skip = usize::try_from(from - self.first_sequence()).unwrap_or(0);
        self.events
            .range(skip.min(self.events.len())..)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The sequence number to start reading at.
    pub(super) fn find(&self, position: Position) -> i64 {
        let events = &self.events;
        let at = match position {
            Position::Earliest => 0,
            Position::Latest => events.len(),
            Position::Offset { offset, inclusive } => {
                events.partition_point(|e| e.offset < offset || (!inclusive && e.offset == offset))
            }
            Position::Sequence { number, inclusive } => {
                events.partition_point(|e| e.sequence < number || (!inclusive && e.sequence == number))
            }
            Position::Time { millis, inclusive } => {
                events.partition_point(|e| e.enqueued_millis < millis || (!inclusive && e.enqueued_millis == millis))
            }
        };
        self.first_sequence() + at as i64
    }

    pub(super) fn properties(&self) -> Properties {
        Properties {
            begin_sequence: self.first_sequence(),
            last_sequence: self.end.next_sequence - 1,
            last_offset: self.end.last.map(|(offset, _)| offset),
            last_enqueued_millis: self.end.last.map_or(0, |(_, millis)| millis),
            is_empty: self.events.is_empty(),
        }
    }
}
