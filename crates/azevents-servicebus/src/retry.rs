//! Trying again: which failures are worth it, how often, and how long one try may take.

use std::future::Future;
use std::time::Duration;

use azevents_core::RetryPolicy;

use crate::error::{Error, ErrorKind, Result};

/// Shortest pause after the service said that it is busy: what the other Azure SDKs wait too.
const SERVER_BUSY_PAUSE: Duration = Duration::from_secs(10);

/// How the client repeats operations that failed for a transient reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// Number of retries and the delays between them.
    pub policy: RetryPolicy,
    /// How long one try may take before it counts as failed. Default: 60 s, as in the other Azure SDKs.
    pub try_timeout: Duration,
    /// Shortest pause after the service answered `server-busy`. Default: 10 s.
    pub busy_pause: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            policy: RetryPolicy::default(),
            try_timeout: Duration::from_secs(60),
            busy_pause: SERVER_BUSY_PAUSE,
        }
    }
}

impl RetryOptions {
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
        let mut delays = self.policy.delays();
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
