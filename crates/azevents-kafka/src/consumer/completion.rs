//! How far everything of a partition is finished, while its records finish in any order.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The records in hand, oldest first, and the offset before which nothing is unfinished.
#[derive(Debug, Default)]
pub(super) struct Completion(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    in_hand: VecDeque<(i64, bool)>,
    /// What to commit: one more than the last finished offset.
    next: Option<i64>,
    /// Records that were finished since the last commit.
    passed: usize,
    /// Whether `next` moved since it was last taken.
    moved: bool,
}

impl Completion {
    /// Takes a record in hand, in the partition's order. `false` for one that is already in hand or done,
    /// which a broker may deliver again after a fetch that failed.
    pub(super) fn received(&self, offset: i64) -> bool {
        let mut state = self.lock();
        let last = state.in_hand.back().map(|(offset, _)| offset + 1).or(state.next);
        if last.is_some_and(|next| offset < next) {
            return false;
        }
        state.in_hand.push_back((offset, false));
        true
    }

    /// Marks a record as handled or parked.
    pub(super) fn finished(&self, offset: i64) {
        let mut state = self.lock();
        if let Ok(place) = state.in_hand.binary_search_by_key(&offset, |(offset, _)| *offset) {
            state.in_hand[place].1 = true;
        }
        while let Some((offset, true)) = state.in_hand.front().copied() {
            state.in_hand.pop_front();
            state.next = Some(offset + 1);
            state.passed += 1;
            state.moved = true;
        }
    }

    /// How many records are in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.lock().in_hand.len()
    }

    /// What to commit, if it is more than last time and at least `least` records further.
    pub(super) fn take(&self, least: usize) -> Option<i64> {
        let mut state = self.lock();
        if !state.moved || state.passed < least {
            return None;
        }
        state.moved = false;
        state.passed = 0;
        state.next
    }

    /// Undoes a [`take`](Self::take) whose commit failed.
    pub(super) fn put_back(&self) {
        let mut state = self.lock();
        state.moved = state.next.is_some();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change is left half done where something can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_that_comes_again_is_not_taken_twice() {
        let completion = Completion::default();
        assert!(completion.received(3));
        assert!(completion.received(7), "offsets have gaps where a topic is compacted");
        assert!(!completion.received(7));
        completion.finished(3);
        completion.finished(7);
        assert!(!completion.received(7));
        assert_eq!(completion.take(0), Some(8));
        assert_eq!(completion.take(0), None, "the same offset is not committed twice");
        completion.put_back();
        assert_eq!(completion.take(0), Some(8), "but again when its commit failed");
    }

    proptest! {
        #[test]
        fn no_order_of_finishing_passes_an_unfinished_record(order in Just((0..20i64).collect::<Vec<_>>()).prop_shuffle()) {
            let completion = Completion::default();
            for offset in 0..20 {
                prop_assert!(completion.received(offset));
            }
            let mut done = [false; 20];
            let mut committed = 0;
            for offset in order {
                completion.finished(offset);
                done[offset as usize] = true;
                committed = completion.take(0).unwrap_or(committed);
                let expected = done.iter().take_while(|done| **done).count() as i64;
                prop_assert_eq!(committed, expected);
            }
            prop_assert_eq!(completion.in_hand(), 0);
        }
    }
}
