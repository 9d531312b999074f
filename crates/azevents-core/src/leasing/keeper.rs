//! A lease while it is ours: renewed with the checkpoint until the work is done, or lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::completion::{Completion, Position};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::feed::{Lease, LeaseStore};
use crate::retry::RetryPolicy;

/// How long the last checkpoint may take. Without it some events come again, no more.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Keeps one lease and writes down how far its range is finished.
pub struct Keeper<P> {
    leases: Arc<dyn LeaseStore>,
    completion: Arc<Completion<P>>,
    lease: Lease,
    duration: Duration,
    interval: Duration,
    /// By our own clock, from before the request that extended it: never later than the store's.
    expires: Instant,
}

impl<P: Position> Keeper<P> {
    /// Keeps `lease`, which was asked for at `asked` and lasts `duration` without renewal. A checkpoint is
    /// written every `interval` while there is progress.
    pub fn new(
        leases: Arc<dyn LeaseStore>,
        completion: Arc<Completion<P>>,
        lease: Lease,
        asked: Instant,
        (duration, interval): (Duration, Duration),
    ) -> Self {
        Self {
            leases,
            completion,
            lease,
            duration,
            interval,
            expires: asked + duration,
        }
    }

    /// Keeps the lease until `done`, writes the last checkpoint and returns the lease, to be given back.
    /// `None` when another owner has it, or may have: then `lost` is cancelled at once.
    ///
    /// Dropping it is a crash: the lease runs out, what was finished since the last checkpoint comes again.
    pub async fn run(mut self, lost: CancellationToken, done: CancellationToken) -> Option<Lease> {
        let backoff = RetryPolicy::forever().with_cap(self.pause());
        let mut delays = backoff.delays();
        let mut wait = self.pause();
        let mut renewed = Instant::now();
        loop {
            let woken = tokio::select! {
                () = done.cancelled() => break,
                () = tokio::time::sleep(wait) => false,
                () = self.completion.due() => true,
            };
            let in_time = renewed.elapsed() < self.duration / 3;
            match self.renew(woken || in_time).await {
                Ok(written) => {
                    if written {
                        renewed = Instant::now();
                    }
                    delays = backoff.delays();
                    wait = self.pause();
                }
                Err(error) if error.kind() != ErrorKind::Conflict && Instant::now() < self.expires => {
                    tracing::warn!(reader = self.lease.reader, range = %self.lease.range, error = chain(&error), "lease not renewed, trying again");
                    wait = delays.next().unwrap_or(self.interval);
                }
                Err(error) => {
                    tracing::warn!(reader = self.lease.reader, range = %self.lease.range, error = chain(&error), "lease lost");
                    lost.cancel();
                    return None;
                }
            }
        }
        match tokio::time::timeout(LAST_WORDS, self.renew(true)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == ErrorKind::Conflict => {
                lost.cancel();
                return None;
            }
            Ok(Err(error)) => {
                tracing::warn!(reader = self.lease.reader, range = %self.lease.range, error = chain(&error), "last checkpoint not written");
            }
            Err(_) => {
                tracing::warn!(reader = self.lease.reader, range = %self.lease.range, "last checkpoint not written in time");
                return None;
            }
        }
        Some(self.lease)
    }

    /// Between two looks: often enough for both the checkpoints and the lease.
    fn pause(&self) -> Duration {
        self.interval.min(self.duration / 3)
    }

    /// Extends the lease, with the checkpoint where there is progress. Where there is none,
    /// `only_progress` leaves it for later and answers `false`.
    async fn renew(&mut self, only_progress: bool) -> Result<bool> {
        let begun = Instant::now();
        let checkpoint = self.completion.take();
        if checkpoint.is_none() && only_progress {
            return Ok(false);
        }
        let renewing = self.leases.renew(&self.lease, checkpoint.as_ref(), self.duration);
        let renewed = tokio::time::timeout_at(self.expires, renewing)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::OutcomeUnknown, "renew lease", &self.lease.range)
                    .with_message("no answer before the lease expired"))
            });
        match renewed {
            Ok(lease) => {
                self.lease = lease;
                self.expires = begun + self.duration;
                Ok(true)
            }
            Err(error) => {
                if checkpoint.is_some() {
                    self.completion.put_back();
                }
                Err(error)
            }
        }
    }
}
