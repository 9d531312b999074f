//! What to do when receiving fails: wait and go on, or give up.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::retry::{Pauses, RetryOptions};

/// Pauses between failures in a row; a success starts over.
pub(super) struct Backoff {
    retry: RetryOptions,
    delays: Pauses,
}

impl Backoff {
    pub(super) fn new(retry: RetryOptions) -> Self {
        // A consumer runs until it is stopped, however long the broker is away.
        let mut policy = retry.policy;
        policy.retries = None;
        let retry = retry.with_policy(policy);
        Self {
            delays: retry.delays(),
            retry,
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.delays = self.retry.delays();
    }

    /// Waits after a failure that may pass.
    ///
    /// # Errors
    /// Gives the failure back where only an operator can help.
    pub(super) async fn failed(&mut self, error: Error, stop: &CancellationToken) -> Result<()> {
        if !passes(&error) {
            return Err(error);
        }
        let delay = self
            .retry
            .pause(&error, self.delays.next().unwrap_or(self.retry.policy.cap));
        tracing::debug!(%error, ?delay, "receiving failed, trying again");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

/// Losing a lock, or a race for one, is part of sharing an entity. So is a quota: connections and links
/// are given back by others.
fn passes(error: &Error) -> bool {
    error.is_transient()
        || matches!(
            error.kind(),
            ErrorKind::MessageLockLost
                | ErrorKind::SessionLockLost
                | ErrorKind::SessionCannotBeLocked
                | ErrorKind::QuotaExceeded
        )
}
