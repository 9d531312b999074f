//! Which pages of a range are wholly published: the checkpoint follows the last of those that have no
//! unfinished page before them.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::feed::{Checkpoint, Continuation};

/// The pages that were read and not yet checkpointed.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pages: VecDeque<Page>,
    /// Number of the page at the front.
    first: u64,
    /// Events in all pages before the front.
    events: u64,
}

#[derive(Debug)]
struct Page {
    continuation: Continuation,
    events: u64,
    unfinished: u64,
}

impl Progress {
    /// Progress that goes on after `events` events.
    pub(super) fn after(events: u64) -> Self {
        Self {
            state: Mutex::new(State {
                pages: VecDeque::new(),
                first: 0,
                events,
            }),
        }
    }

    /// Adds a page of `events` events and returns its number.
    pub(super) fn open(&self, continuation: Continuation, events: u64) -> u64 {
        let mut state = self.lock();
        state.pages.push_back(Page {
            continuation,
            events,
            unfinished: events,
        });
        state.first + state.pages.len() as u64 - 1
    }

    /// One event of a page is acknowledged.
    pub(super) fn finish(&self, page: u64) {
        let mut state = self.lock();
        let index = page
            .checked_sub(state.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(page) = index.and_then(|index| state.pages.get_mut(index)) {
            page.unfinished -= 1;
        }
    }

    /// Takes the finished pages from the front; `None` when nothing has moved.
    pub(super) fn advance(&self) -> Option<Checkpoint> {
        let mut state = self.lock();
        let mut reached = None;
        while state.pages.front().is_some_and(|page| page.unfinished == 0) {
            let Some(page) = state.pages.pop_front() else { break };
            state.first += 1;
            state.events += page.events;
            reached = Some(Checkpoint {
                continuation: page.continuation,
                events: state.events,
            });
        }
        reached
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn continuation(n: usize) -> Continuation {
        Continuation(n.to_string())
    }

    proptest! {
        #[test]
        fn a_checkpoint_never_passes_an_unfinished_event(
            sizes in prop::collection::vec(0u64..5, 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
        ) {
            let progress = Progress::after(0);
            let mut left: Vec<u64> = sizes.clone();
            for (n, events) in sizes.iter().enumerate() {
                prop_assert_eq!(progress.open(continuation(n), *events), n as u64);
            }
            let mut reached = 0;
            for pick in order {
                let page = pick.index(sizes.len());
                if left[page] > 0 {
                    left[page] -= 1;
                    progress.finish(page as u64);
                }
                if let Some(checkpoint) = progress.advance() {
                    let page: usize = checkpoint.continuation.0.parse().unwrap();
                    prop_assert!(left[..=page].iter().all(|unfinished| *unfinished == 0));
                    prop_assert_eq!(checkpoint.events, sizes[..=page].iter().sum::<u64>());
                    reached = page + 1;
                }
                let finished = left.iter().take_while(|unfinished| **unfinished == 0).count();
                prop_assert_eq!(finished.max(reached), finished, "nothing finished is left behind");
            }
        }
    }
}
