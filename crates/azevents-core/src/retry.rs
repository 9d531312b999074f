//! How often and how long to try again: immediately, then exponentially with full jitter and a cap.

use std::time::Duration;

use backon::BackoffBuilder;

/// A retry policy. Delays are drawn evenly between zero and `base * 2^n`, at most `cap` ("full jitter"):
/// of all the jitters this one spreads a crowd of failing clients best.
///
/// It builds a [`backon`] backoff, so that any future can be retried with it:
///
/// ```
/// use azevents_core::RetryPolicy;
/// use backon::Retryable;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut tries = 0;
/// let answer = (|| { tries += 1; let now = tries; async move { if now < 3 { Err("busy") } else { Ok(now) } } })
///     .retry(RetryPolicy::default())
///     .await;
/// assert_eq!(answer, Ok(3));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Retries without any delay, before the first backoff.
    pub immediate: u32,
    /// The first delay is at most this.
    pub base: Duration,
    /// No delay is longer than this.
    pub cap: Duration,
    /// Retries in all, the immediate ones included; `None` never gives up.
    pub retries: Option<u32>,
}

impl Default for RetryPolicy {
    /// One immediate retry, then from 100 ms up to 30 s, 5 retries in all.
    fn default() -> Self {
        Self {
            immediate: 1,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            retries: Some(5),
        }
    }
}

impl RetryPolicy {
    /// Tries once.
    pub fn none() -> Self {
        Self {
            retries: Some(0),
            ..Self::default()
        }
    }

    /// Tries until it works or the caller stops.
    pub fn forever() -> Self {
        Self {
            retries: None,
            ..Self::default()
        }
    }

    /// Sets the number of retries without delay.
    #[must_use]
    pub fn with_immediate(mut self, immediate: u32) -> Self {
        self.immediate = immediate;
        self
    }

    /// Sets the bound of the first delay.
    #[must_use]
    pub fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the bound of every delay.
    #[must_use]
    pub fn with_cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Sets the number of retries.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The bound of the delay before retry `n`, counted from 0.
    pub fn ceiling(&self, n: u32) -> Duration {
        let Some(doublings) = n.checked_sub(self.immediate) else {
            return Duration::ZERO;
        };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The delays, one per retry.
    pub fn delays(&self) -> Delays {
        Delays { policy: *self, next: 0 }
    }
}

impl BackoffBuilder for RetryPolicy {
    type Backoff = Delays;

    fn build(self) -> Delays {
        self.delays()
    }
}

/// The delays of a [`RetryPolicy`]; it ends when there is nothing left to try.
#[derive(Debug, Clone)]
pub struct Delays {
    policy: RetryPolicy,
    next: u32,
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.policy.retries.is_some_and(|retries| self.next >= retries) {
            return None;
        }
        let ceiling = self.policy.ceiling(self.next);
        self.next = self.next.saturating_add(1);
        Some(ceiling.mul_f64(rand::random::<f64>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn immediate_retries_come_first_and_delays_double_up_to_the_cap() {
        let policy = RetryPolicy::default()
            .with_immediate(2)
            .with_base(Duration::from_millis(100))
            .with_cap(Duration::from_millis(500));
        let ceilings: Vec<_> = (0..6).map(|n| policy.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [0, 0, 100, 200, 400, 500]);
    }

    #[test]
    fn a_policy_ends_after_its_retries() {
        assert_eq!(RetryPolicy::default().with_retries(3).delays().count(), 3);
        assert_eq!(RetryPolicy::none().delays().count(), 0);
    }

    proptest! {
        #[test]
        fn no_delay_exceeds_its_ceiling(n in 0u32..200, base in 0u64..10_000, cap in 0u64..60_000) {
            let policy = RetryPolicy::forever()
                .with_base(Duration::from_millis(base))
                .with_cap(Duration::from_millis(cap));
            let delay = policy.delays().nth(n as usize).unwrap();
            prop_assert!(delay <= policy.ceiling(n));
            prop_assert!(delay <= Duration::from_millis(cap));
        }
    }
}
