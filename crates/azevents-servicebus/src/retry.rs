//! Trying again: which failures are worth it, how often, and how long one try may take.

use std::future::Future;
use std::time::Duration;

use azevents_core::RetryPolicy;
use azevents_core::retry::Delays;

use crate::error::{Error, ErrorKind, Result};

/// Shortest pause after the service said that it is busy: what the other Azure SDKs wait too.
const SERVER_BUSY_PAUSE: Duration = Duration::from_secs(10);

/// How the pauses between tries grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RetryMode {
    /// Twice as long each time, from [`RetryPolicy::base`] up to [`RetryPolicy::cap`], and of that a random
    /// part, so that clients that failed together do not come again together.
    #[default]
    Exponential,
    /// Always [`RetryPolicy::base`].
    Fixed,
}

/// How the client repeats operations that failed for a transient reason.
///
/// The other Azure SDKs' options are here: *mode* is [`mode`](Self::mode), *delay* and *maximum delay* are
/// [`base`](RetryPolicy::base) and [`cap`](RetryPolicy::cap) of the [`policy`](Self::policy), *maximum
/// retries* its [`retries`](RetryPolicy::retries), *try timeout* is [`try_timeout`](Self::try_timeout).
///
/// An operation so takes at most `(retries + 1) * try_timeout` and the pauses between them. What has a
/// timeout of its own, as waiting for messages and accepting a session, is not shortened by
/// `try_timeout`.
///
/// ```
/// use std::time::Duration;
/// use azevents_core::RetryPolicy;
/// use azevents_servicebus::{ClientOptions, RetryMode, RetryOptions};
///
/// // Four tries of 20 s at most, 2 s apart.
/// let every_two_seconds = RetryPolicy::default()
///     .with_immediate(0)
///     .with_base(Duration::from_secs(2))
///     .with_retries(3);
/// let retry = RetryOptions::default()
///     .with_mode(RetryMode::Fixed)
///     .with_policy(every_two_seconds)
///     .with_try_timeout(Duration::from_secs(20));
/// let options = ClientOptions::default().with_retry(retry);
/// # assert_eq!(options.retry.mode, RetryMode::Fixed);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// How the pauses grow. Default: exponentially.
    pub mode: RetryMode,
    /// Number of retries and the delays between them.
    pub policy: RetryPolicy,
    /// How long one try may take before it counts as failed with [`ErrorKind::Timeout`], and another one may
    /// begin. It covers all that the try needs, connecting included. What was asked for in a try that was
    /// given up may still have happened. Default: 60 s, as in the other Azure SDKs.
    pub try_timeout: Duration,
    /// Shortest pause after the service answered `server-busy`. Default: 10 s.
    pub busy_pause: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            mode: RetryMode::default(),
            policy: RetryPolicy::default(),
            try_timeout: Duration::from_secs(60),
            busy_pause: SERVER_BUSY_PAUSE,
        }
    }
}

impl RetryOptions {
    /// Sets how the pauses grow.
    #[must_use]
    pub fn with_mode(mut self, mode: RetryMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of retries and the delays between them.
    #[must_use]
    pub fn with_policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how long one try may take.
    #[must_use]
    pub fn with_try_timeout(mut self, timeout: Duration) -> Self {
        self.try_timeout = timeout;
        self
    }

    /// Sets the shortest pause after the service answered `server-busy`.
    #[must_use]
    pub fn with_busy_pause(mut self, pause: Duration) -> Self {
        self.busy_pause = pause;
        self
    }

    /// The pauses between tries, one per retry. Immediate retries come first in either mode.
    pub(crate) fn delays(&self) -> Pauses {
        Pauses {
            options: *self,
            retry: 0,
            delays: self.policy.delays(),
        }
    }

    /// How long to wait after `error` when the policy says `delay`: what the service asks for wins.
    pub(crate) fn pause(&self, error: &Error, delay: Duration) -> Duration {
        if error.kind() == ErrorKind::ServerBusy {
            delay.max(self.busy_pause)
        } else {
            delay
        }
    }

    /// Runs `attempt` until it succeeds, fails permanently, or the retries are used up; each try is
    /// ended after [`try_timeout`](Self::try_timeout).
    pub(crate) async fn run<T, F, Fut>(&self, operation: &'static str, entity: &str, mut attempt: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut delays = self.delays();
        loop {
            let error = match tokio::time::timeout(self.try_timeout, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => Error::timeout(format!("no answer within {:?}", self.try_timeout)),
            };
            let error = error.during(operation, entity);
            if !error.is_transient() {
                return Err(error);
            }
            let Some(delay) = delays.next() else {
                return Err(error);
            };
            let pause = self.pause(&error, delay);
            tracing::debug!(%error, ?pause, "retrying");
            tokio::time::sleep(pause).await;
        }
    }
}

/// See [`RetryOptions::delays`].
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    options: RetryOptions,
    retry: u32,
    delays: Delays,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let random = self.delays.next()?;
        let policy = &self.options.policy;
        let immediate = self.retry < policy.immediate;
        self.retry = self.retry.saturating_add(1);
        Some(match self.options.mode {
            RetryMode::Fixed if !immediate => policy.base,
            RetryMode::Fixed | RetryMode::Exponential => random,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn transient_failures_are_repeated_and_permanent_ones_are_not() {
        let tries = Cell::new(0);
        let answer = RetryOptions::default()
            .run("send", "q", || {
                tries.set(tries.get() + 1);
                let try_number = tries.get();
                async move {
                    match try_number {
                        1 => Err(Error::new(ErrorKind::Connection, "cut")),
                        2 => Err(Error::new(ErrorKind::EntityNotFound, "gone")),
                        _ => Ok(()),
                    }
                }
            })
            .await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::EntityNotFound);
        assert_eq!(tries.get(), 2);
    }

    #[test]
    fn pauses_are_fixed_or_grow() {
        let second = Duration::from_secs(1);
        let policy = RetryPolicy::default()
            .with_base(second)
            .with_cap(5 * second)
            .with_retries(6);
        let options = RetryOptions::default().with_policy(policy);
        let fixed: Vec<_> = options.with_mode(RetryMode::Fixed).delays().collect();
        assert_eq!(fixed, [Duration::ZERO, second, second, second, second, second]);
        let growing: Vec<_> = options.delays().collect();
        assert_eq!(growing.len(), 6);
        for (pause, at_most) in growing.iter().zip([0, 1, 2, 4, 5, 5]) {
            assert!(*pause <= at_most * second, "{growing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_pause_lies_between_two_tries() {
        let pause = Duration::from_secs(2);
        let policy = RetryPolicy::default()
            .with_immediate(0)
            .with_base(pause)
            .with_retries(3);
        let options = RetryOptions::default().with_mode(RetryMode::Fixed).with_policy(policy);
        let started = tokio::time::Instant::now();
        let cut = || async { Err::<(), _>(Error::new(ErrorKind::Connection, "cut")) };
        options.run("send", "q", cut).await.unwrap_err();
        // The clock is paused: nothing else takes time.
        assert_eq!(started.elapsed(), 3 * pause);
    }

    #[tokio::test(start_paused = true)]
    async fn server_busy_waits_at_least_its_own_pause() {
        let started = tokio::time::Instant::now();
        let mut first = true;
        RetryOptions::default()
            .run("send", "q", || {
                let fail = std::mem::take(&mut first);
                async move {
                    if fail {
                        Err(Error::new(ErrorKind::ServerBusy, "busy"))
                    } else {
                        Ok(())
                    }
                }
            })
            .await
            .unwrap();
        assert!(started.elapsed() >= SERVER_BUSY_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_never_answers_ends_with_a_timeout() {
        let options = RetryOptions::default().with_policy(RetryPolicy::none());
        let error = options
            .run("send", "q", std::future::pending::<Result<()>>)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
}
