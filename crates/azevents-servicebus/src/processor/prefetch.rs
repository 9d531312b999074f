//! How much to fetch ahead: what is handled within half a lock, so that few locks need renewal in the
//! buffer and yet the handlers never wait for the network.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::options::Prefetch;

/// Weight of the newest measurement in the moving average.
const NEWEST: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Sizing {
    prefetch: Prefetch,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// Mean seconds of a handler's call.
    handling: Option<f64>,
    /// Seconds of a fresh lock.
    lock: Option<f64>,
}

impl Sizing {
    pub(super) fn new(prefetch: Prefetch) -> Self {
        Self {
            prefetch,
            measured: Mutex::default(),
        }
    }

    /// Takes a call of the handler into account.
    pub(super) fn handled(&self, took: Duration) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let took = took.as_secs_f64();
        measured.handling = Some(match measured.handling {
            None => took,
            Some(mean) => mean + NEWEST * (took - mean),
        });
    }

    /// Takes a lock of a message that has just arrived into account.
    pub(super) fn locked(&self, remaining: Duration) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = measured.lock.unwrap_or_default().max(remaining.as_secs_f64());
        measured.lock = Some(longest);
    }

    /// How many messages to fetch ahead for `concurrency` handlers.
    pub(super) fn size(&self, concurrency: usize) -> usize {
        let most = match self.prefetch {
            Prefetch::Fixed(count) => return count as usize,
            Prefetch::Sized(most) => most as usize,
        };
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let size = match (measured.handling, measured.lock) {
            (Some(handling), Some(lock)) => {
                // A handler too quick to measure sets no bound of its own.
                let ahead = concurrency as f64 * lock / 2.0 / handling.max(1e-6);
                ahead as usize
            }
            _ => concurrency,
        };
        size.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_ahead_is_handled_within_half_a_lock() {
        let sizing = Sizing::new(Prefetch::Sized(1000));
        assert_eq!(sizing.size(4), 4, "before anything was measured");
        sizing.locked(Duration::from_secs(30));
        sizing.handled(Duration::from_secs(1));
        assert_eq!(sizing.size(4), 60);
        for _ in 0..100 {
            sizing.handled(Duration::from_secs(60));
        }
        assert_eq!(sizing.size(4), 1);
        let quick = Sizing::new(Prefetch::Sized(1000));
        quick.locked(Duration::from_secs(30));
        quick.handled(Duration::ZERO);
        assert_eq!(quick.size(4), 1000, "never more than allowed");
    }

    #[test]
    fn a_fixed_number_stays() {
        assert_eq!(Sizing::new(Prefetch::Fixed(7)).size(4), 7);
    }
}
