//! How far everything is finished, while events finish in any order.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use azevents_core::Checkpoint;
use tokio::sync::Notify;

use super::position::Position;

/// Stands for one received event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The events in hand, oldest first, and the last one before which nothing is unfinished.
#[derive(Debug)]
struct Watermark {
    in_hand: VecDeque<(Position, bool)>,
    /// Ticket of the front of `in_hand`.
    front: u64,
    /// Everything up to here is finished.
    reached: Option<Position>,
    /// Events that `reached` has passed since the partition was first read, in all processes.
    events: u64,
    /// Events that `reached` has passed since it was last taken.
    passed: usize,
    /// Whether `reached` moved since it was last taken.
    moved: bool,
}

impl Watermark {
    fn received(&mut self, position: Position) -> Ticket {
        self.in_hand.push_back((position, false));
        Ticket(self.front + self.in_hand.len() as u64 - 1)
    }

    fn finished(&mut self, ticket: Ticket) {
        let place = ticket
            .0
            .checked_sub(self.front)
            .and_then(|place| self.in_hand.get_mut(place as usize));
        if let Some((_, finished)) = place {
            *finished = true;
        }
        while self.in_hand.front().is_some_and(|(_, finished)| *finished) {
            let Some((position, _)) = self.in_hand.pop_front() else {
                break;
            };
            self.front += 1;
            self.events += 1;
            self.passed += 1;
            self.reached = Some(position);
            self.moved = true;
        }
    }
}

/// A watermark shared by the receiver, which adds events, the workers, which finish them, and the keeper,
/// which writes down how far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    watermark: Mutex<Watermark>,
    /// Rung when a checkpoint is due by the number of events.
    due: Notify,
    checkpoint_events: usize,
}

impl Progress {
    /// Goes on from `reached`, before which there were `events` events.
    pub(super) fn new(reached: Option<Position>, events: u64, checkpoint_events: usize) -> Self {
        let watermark = Watermark {
            in_hand: VecDeque::new(),
            front: 0,
            reached,
            events,
            passed: 0,
            moved: false,
        };
        Self {
            watermark: Mutex::new(watermark),
            due: Notify::new(),
            checkpoint_events,
        }
    }

    /// Takes an event in hand. Call in the partition's order.
    pub(super) fn received(&self, position: Position) -> Ticket {
        self.lock().received(position)
    }

    /// Marks an event as handled or parked.
    pub(super) fn finished(&self, ticket: Ticket) {
        let mut watermark = self.lock();
        watermark.finished(ticket);
        if watermark.passed >= self.checkpoint_events {
            self.due.notify_one();
        }
    }

    /// Sets where reading begins, so that it is written down before the first event.
    pub(super) fn begin_at(&self, position: Position) {
        let mut watermark = self.lock();
        watermark.reached = Some(position);
        watermark.moved = true;
        self.due.notify_one();
    }

    /// What to write down, if it is more than last time.
    pub(super) fn take(&self) -> Option<Checkpoint> {
        let mut watermark = self.lock();
        watermark.passed = 0;
        if !std::mem::take(&mut watermark.moved) {
            return None;
        }
        let continuation = watermark.reached.as_ref()?.to_continuation();
        Some(Checkpoint {
            continuation,
            events: watermark.events,
        })
    }

    /// Undoes a [`take`](Self::take) that could not be written down.
    pub(super) fn put_back(&self) {
        self.lock().moved = true;
    }

    /// Waits until enough events are finished for a checkpoint. Dropping it loses no ring.
    pub(super) async fn due(&self) {
        self.due.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watermark> {
        // A panic while it was held cannot leave it half changed in a way that passes an event.
        self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence_number: i64) -> Position {
        Position {
            sequence_number,
            offset: sequence_number.to_string(),
        }
    }

    fn take(progress: &Progress) -> Option<i64> {
        Some(
            Position::parse(&progress.take()?.continuation, "0")
                .unwrap()
                .sequence_number,
        )
    }

    #[test]
    fn the_watermark_waits_for_the_oldest_unfinished_event() {
        let progress = Progress::new(None, 0, 100);
        let tickets: Vec<_> = (0..4).map(|n| progress.received(at(n))).collect();
        progress.finished(tickets[1]);
        progress.finished(tickets[3]);
        assert_eq!(take(&progress), None);
        progress.finished(tickets[0]);
        assert_eq!(take(&progress), Some(1));
        assert_eq!(take(&progress), None, "the same checkpoint is not written twice");
        progress.finished(tickets[2]);
        assert_eq!(take(&progress), Some(3));
    }

    #[test]
    fn the_count_of_events_goes_on_over_a_restart() {
        let progress = Progress::new(Some(at(9)), 10, 100);
        progress.finished(progress.received(at(10)));
        assert_eq!(progress.take().unwrap().events, 11);
    }

    #[test]
    fn a_checkpoint_that_failed_is_written_again() {
        let progress = Progress::new(None, 0, 100);
        progress.finished(progress.received(at(5)));
        assert_eq!(take(&progress), Some(5));
        progress.put_back();
        assert_eq!(take(&progress), Some(5));
    }

    /// Whatever the order of finishing, the checkpoint never passes an unfinished event and ends at the last.
    #[test]
    fn no_order_of_finishing_passes_an_unfinished_event() {
        // Every permutation of 6 events, by Heap's algorithm.
        fn permutations(order: &mut [usize], length: usize, check: &mut dyn FnMut(&[usize])) {
            if length <= 1 {
                return check(order);
            }
            for n in 0..length {
                permutations(order, length - 1, check);
                order.swap(if length.is_multiple_of(2) { n } else { 0 }, length - 1);
            }
        }
        let mut order: Vec<usize> = (0..6).collect();
        permutations(&mut order, 6, &mut |order| {
            let progress = Progress::new(None, 0, 100);
            let tickets: Vec<_> = (0..6).map(|n| progress.received(at(n))).collect();
            let mut finished = [false; 6];
            let mut reached = -1;
            for &n in order {
                progress.finished(tickets[n]);
                finished[n] = true;
                reached = take(&progress).unwrap_or(reached);
                let expected = finished.iter().take_while(|done| **done).count() as i64 - 1;
                assert_eq!(reached, expected, "{order:?}");
            }
        });
    }
}
