//! How far everything is finished, while items finish in any order: the one rule behind every checkpoint.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::feed::{Checkpoint, Continuation};

/// A place in a range that reading can go on from.
pub trait Position: Send {
    /// The place as a checkpoint keeps it. Asked only when a checkpoint is written.
    fn continuation(&self) -> Continuation;

    /// The checkpoint at this place, after `events` events.
    fn checkpoint(&self, events: u64) -> Checkpoint {
        Checkpoint::new(self.continuation(), events)
    }
}

impl Position for Continuation {
    fn continuation(&self) -> Continuation {
        self.clone()
    }
}

/// Stands for one item in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// The items in hand of one range: a reader adds them in order, workers finish their events in any order,
/// a [`Keeper`](super::Keeper) writes down the last position before which nothing is unfinished.
///
/// An item is whatever has a position of its own: an event, or a page of a feed with all its events.
///
/// ```
/// use azevents_core::Continuation;
/// use azevents_core::leasing::Completion;
///
/// let done = Completion::after(0, 100);
/// let first = done.begin(Continuation("1".into()), 1);
/// let second = done.begin(Continuation("2".into()), 1);
/// done.finish(second);
/// assert_eq!(done.take(), None, "the first is unfinished");
/// done.finish(first);
/// assert_eq!(done.take().unwrap().continuation.0, "2");
/// ```
#[derive(Debug)]
pub struct Completion<P> {
    state: Mutex<State<P>>,
    /// Rung when a checkpoint is due by the number of events.
    due: Notify,
    due_after: u64,
}

#[derive(Debug)]
struct State<P> {
    in_hand: VecDeque<Item<P>>,
    /// Ticket of the front of `in_hand`.
    front: u64,
    /// Everything up to here is finished; `None` as long as nothing was.
    reached: Option<P>,
    /// Events that `reached` has passed since the range was first read, in all processes.
    events: u64,
    /// Events that `reached` has passed since it was last taken.
    passed: u64,
    /// Whether `reached` moved since it was last taken.
    moved: bool,
    /// Events in hand that are unfinished.
    unfinished: u64,
}

#[derive(Debug)]
struct Item<P> {
    position: P,
    events: u64,
    unfinished: u64,
}

impl<P: Position> Completion<P> {
    /// Goes on after `events` events. A checkpoint is [`due`](Self::due) after every `due_after` of them.
    pub fn after(events: u64, due_after: u64) -> Self {
        Self {
            state: Mutex::new(State {
                in_hand: VecDeque::new(),
                front: 0,
                reached: None,
                events,
                passed: 0,
                moved: false,
                unfinished: 0,
            }),
            due: Notify::new(),
            due_after: due_after.max(1),
        }
    }

    /// Takes an item of `events` events in hand, whose end is `position`. Call in the range's order. An
    /// item without events is finished as soon as everything before it is.
    pub fn begin(&self, position: P, events: u64) -> Ticket {
        let mut state = self.lock();
        state.in_hand.push_back(Item {
            position,
            events,
            unfinished: events,
        });
        state.unfinished += events;
        let ticket = Ticket(state.front + state.in_hand.len() as u64 - 1);
        if events == 0 {
            self.advance(&mut state);
        }
        ticket
    }

    /// One event of an item is finished.
    pub fn finish(&self, ticket: Ticket) {
        let mut state = self.lock();
        let place = ticket.0.checked_sub(state.front).map(|place| place as usize);
        let Some(item) = place.and_then(|place| state.in_hand.get_mut(place)) else {
            return;
        };
        if item.unfinished > 0 {
            item.unfinished -= 1;
            state.unfinished -= 1;
            self.advance(&mut state);
        }
    }

    /// Sets where reading begins, so that it is written down before the first item.
    pub fn begin_at(&self, position: P) {
        let mut state = self.lock();
        state.reached = Some(position);
        state.moved = true;
        self.due.notify_one();
    }

    /// What to write down, if it is more than last time.
    pub fn take(&self) -> Option<Checkpoint> {
        let mut state = self.lock();
        state.passed = 0;
        if !std::mem::take(&mut state.moved) {
            return None;
        }
        Some(state.reached.as_ref()?.checkpoint(state.events))
    }

    /// Undoes a [`take`](Self::take) that could not be written down.
    pub fn put_back(&self) {
        self.lock().moved = true;
    }

    /// Waits until enough events are finished for a checkpoint. Dropping it loses no ring.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Events in hand that are unfinished.
    pub fn unfinished(&self) -> u64 {
        self.lock().unfinished
    }

    /// Looks at the oldest item that is unfinished.
    pub fn oldest<T>(&self, look: impl FnOnce(&P) -> T) -> Option<T> {
        self.lock().in_hand.front().map(|item| look(&item.position))
    }

    fn advance(&self, state: &mut State<P>) {
        while state.in_hand.front().is_some_and(|item| item.unfinished == 0) {
            let Some(item) = state.in_hand.pop_front() else { break };
            state.front += 1;
            state.events += item.events;
            state.passed += item.events;
            state.reached = Some(item.position);
            state.moved = true;
        }
        if state.passed >= self.due_after {
            self.due.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        // A panic while it was held cannot leave it half changed in a way that passes an event.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(n: usize) -> Continuation {
        Continuation(n.to_string())
    }

    fn taken(completion: &Completion<Continuation>) -> Option<usize> {
        Some(completion.take()?.continuation.0.parse().unwrap())
    }

    proptest! {
        /// Whatever the order of finishing, the checkpoint never passes an unfinished event and is never behind.
        #[test]
        fn a_checkpoint_stands_right_before_the_oldest_unfinished_event(
            sizes in prop::collection::vec(0u64..5, 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
        ) {
            let completion = Completion::after(7, 3);
            let mut left: Vec<u64> = sizes.clone();
            let tickets: Vec<_> = sizes.iter().enumerate().map(|(n, events)| completion.begin(at(n), *events)).collect();
            let mut reached = 0;
            for pick in order {
                let item = pick.index(sizes.len());
                if left[item] > 0 {
                    left[item] -= 1;
                    completion.finish(tickets[item]);
                }
                let finished = left.iter().take_while(|unfinished| **unfinished == 0).count();
                if let Some(checkpoint) = completion.take() {
                    reached = checkpoint.continuation.0.parse::<usize>().unwrap() + 1;
                    prop_assert_eq!(checkpoint.events, 7 + sizes[..reached].iter().sum::<u64>());
                }
                prop_assert_eq!(reached, finished);
                prop_assert_eq!(completion.unfinished(), left.iter().sum::<u64>());
            }
        }
    }

    #[test]
    fn the_same_checkpoint_is_not_written_twice_unless_writing_failed() {
        let completion = Completion::after(0, 100);
        let ticket = completion.begin(at(5), 1);
        completion.finish(ticket);
        completion.finish(ticket);
        assert_eq!(taken(&completion), Some(5));
        assert_eq!(taken(&completion), None);
        completion.put_back();
        assert_eq!(taken(&completion), Some(5));
    }

    #[tokio::test]
    async fn a_checkpoint_is_due_after_so_many_events() {
        let completion = Completion::after(0, 2);
        let ticket = completion.begin(at(1), 2);
        completion.finish(ticket);
        assert!(futures::FutureExt::now_or_never(completion.due()).is_none());
        completion.finish(ticket);
        completion.due().await;
    }

    #[test]
    fn a_beginning_is_written_down_before_the_first_event() {
        let completion = Completion::after(0, 100);
        completion.begin_at(at(9));
        assert_eq!(taken(&completion), Some(9));
    }
}
