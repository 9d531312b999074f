//! How far everything of a partition is finished, in offsets.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use azevents_core::Continuation;
use azevents_core::leasing::{self, Position, Ticket};

/// What to commit behind a record: the next offset.
#[derive(Debug)]
struct Next(i64);

impl Position for Next {
    fn continuation(&self) -> Continuation {
        Continuation(self.0.to_string())
    }
}

/// The records in hand of one partition. One thread receives them, workers finish them in any order.
#[derive(Debug)]
pub(super) struct Completion {
    done: leasing::Completion<Next>,
    /// What follows the last record that was received; at first any may.
    next: AtomicI64,
    /// Records that were finished since the last commit.
    finished: AtomicUsize,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            // When a commit is due, the poller asks.
            done: leasing::Completion::after(0, u64::MAX),
            next: AtomicI64::new(i64::MIN),
            finished: AtomicUsize::new(0),
        }
    }
}

impl Completion {
    /// Takes a record in hand, in the partition's order. `None` for one that is already in hand or done,
    /// which a broker may deliver again after a fetch that failed.
    pub(super) fn received(&self, offset: i64) -> Option<Ticket> {
        let next = self.next.fetch_max(offset + 1, Ordering::Relaxed);
        (offset >= next).then(|| self.done.begin(Next(offset + 1), 1))
    }

    /// Marks a record as handled or parked.
    pub(super) fn finished(&self, record: Ticket) {
        self.done.finish(record);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// How many offsets there are from the oldest unfinished record to the newest; where a topic has gaps, more
    /// than records.
    pub(super) fn in_hand(&self) -> usize {
        let oldest = self.done.oldest(|next| next.0);
        oldest.map_or(0, |oldest| {
            (self.next.load(Ordering::Relaxed) - oldest + 1).max(0) as usize
        })
    }

    /// What to commit, if it is more than last time and at least `least` records were finished since.
    pub(super) fn take(&self, least: usize) -> Option<i64> {
        if self.finished.load(Ordering::Relaxed) < least {
            return None;
        }
        let next = self.done.take()?.continuation.0.parse().ok();
        self.finished.store(0, Ordering::Relaxed);
        next
    }

    /// Undoes a [`take`](Self::take) whose commit failed.
    pub(super) fn put_back(&self) {
        self.done.put_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_comes_again_is_not_taken_twice() {
        let completion = Completion::default();
        let three = completion.received(3).expect("new");
        let seven = completion
            .received(7)
            .expect("offsets have gaps where a topic is compacted");
        assert!(completion.received(7).is_none());
        assert_eq!(completion.in_hand(), 5);
        completion.finished(seven);
        assert_eq!(completion.take(0), None, "the one before is unfinished");
        completion.finished(three);
        assert_eq!((completion.received(7), completion.in_hand()), (None, 0));
        assert_eq!(completion.take(0), Some(8));
        assert_eq!(completion.take(0), None, "the same offset is not committed twice");
        completion.put_back();
        assert_eq!(completion.take(0), Some(8), "but again when its commit failed");
    }

    #[test]
    fn a_commit_waits_for_as_many_records_as_it_is_to() {
        let completion = Completion::default();
        for offset in 0..3 {
            assert_eq!(completion.take(3), None);
            let record = completion.received(offset).expect("new");
            completion.finished(record);
        }
        assert_eq!(completion.take(3), Some(3));
    }
}
