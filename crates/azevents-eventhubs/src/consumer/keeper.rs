//! A partition's lease while it is ours: renewed, with the checkpoint, until it is given back or lost.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::error::chain;
use azevents_core::{Error, ErrorKind, Lease, Result, RetryPolicy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::watermark::Progress;

/// How long stopping waits for the last checkpoint. Without it some events come again, no more.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    lease: Lease,
    /// By our own clock, from before the request that extended it: never later than the store's.
    expires: Instant,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, progress: Arc<Progress>, lease: Lease, asked: Instant) -> Self {
        let expires = asked + shared.options.lease_duration;
        Self {
            shared,
            progress,
            lease,
            expires,
        }
    }

    /// Keeps the lease until `done`, then writes the last checkpoint and gives it back. Cancels `lost`
    /// and ends early when another owner has it, or may have.
    pub(super) async fn run(mut self, lost: CancellationToken, done: CancellationToken) {
        let options = &self.shared.options;
        let interval = options.checkpoint_interval.min(options.lease_duration / 3);
        let backoff = RetryPolicy::forever().with_cap(interval);
        let mut delays = backoff.delays();
        let mut wait = interval;
        loop {
            tokio::select! {
                () = done.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = self.progress.due() => {}
            }
            match self.renew().await {
                Ok(()) => {
                    delays = backoff.delays();
                    wait = interval;
                }
                Err(error) if error.kind() != ErrorKind::Conflict && Instant::now() < self.expires => {
                    tracing::warn!(partition = %self.lease.range, error = chain(&error), "lease not renewed, trying again");
                    wait = delays.next().unwrap_or(interval);
                }
                Err(error) => {
                    tracing::warn!(partition = %self.lease.range, error = chain(&error), "partition lost");
                    lost.cancel();
                    return;
                }
            }
        }
        if let Err(error) = tokio::time::timeout(LAST_WORDS, self.give_back())
            .await
            .unwrap_or(Ok(()))
        {
            tracing::warn!(partition = %self.lease.range, error = chain(&error), "last checkpoint not written");
        }
    }

    /// Extends the lease, with the checkpoint if there is progress.
    async fn renew(&mut self) -> Result<()> {
        let begun = Instant::now();
        let checkpoint = self.progress.take();
        let duration = self.shared.options.lease_duration;
        let renewing = self.shared.leases.renew(&self.lease, checkpoint.as_ref(), duration);
        let renewed = tokio::time::timeout_at(self.expires, renewing)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::OutcomeUnknown, "renew lease", &self.lease.range)
                    .with_message("no answer before the lease expired"))
            });
        match renewed {
            Ok(lease) => {
                self.lease = lease;
                self.expires = begun + duration;
                Ok(())
            }
            Err(error) => {
                if checkpoint.is_some() {
                    self.progress.put_back();
                }
                Err(error)
            }
        }
    }

    async fn give_back(&mut self) -> Result<()> {
        self.renew().await?;
        self.shared.leases.release(&self.lease).await
    }
}
