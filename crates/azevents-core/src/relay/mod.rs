//! The outbox relay: reads every commit from the feed and hands its events to a publisher.
//!
//! The commit log is the outbox. A commit is published because it was committed; the relay only has to
//! remember how far it has come, and that it does in a lease per feed range:
//!
//! ```text
//! feed range -> pages -> lanes (by stream) -> publisher -> progress -> checkpoint in the lease
//! ```
//!
//! A checkpoint never passes an event that has not been acknowledged. After a crash the events since the
//! last checkpoint are published again: consumers see copies, never gaps.

mod options;
mod progress;
mod range;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use options::RelayOptions;

use crate::dead_letter::DeadLetterSink;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::feed::{CommitFeed, FeedRange, LeaseStore};
use crate::nudge::Nudge;
use crate::publisher::Publisher;

/// Publishes every committed event to one destination, in order per stream, at least once.
///
/// Run one relay per destination, so that a slow broker holds up only itself. Any number of processes
/// may run the same relay: they divide the feed ranges among them by lease.
///
/// # Cancellation
/// Cancelling the token given to [`run`](Self::run) finishes what is being published, records the
/// checkpoint and gives the leases back. Dropping the future is a crash: nothing is lost, some events
/// are published again.
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    feed: Arc<dyn CommitFeed>,
    leases: Arc<dyn LeaseStore>,
    publisher: Arc<dyn Publisher>,
    parking: Option<Arc<dyn DeadLetterSink>>,
    nudge: Nudge,
    options: RelayOptions,
    published: AtomicU64,
}

impl Relay {
    /// A relay called `name` (its progress is kept under that name) from a feed to a publisher.
    pub fn new(
        name: impl Into<String>,
        feed: Arc<dyn CommitFeed>,
        leases: Arc<dyn LeaseStore>,
        publisher: Arc<dyn Publisher>,
        options: RelayOptions,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                feed,
                leases,
                publisher,
                parking: None,
                nudge: Nudge::new(),
                options,
                published: AtomicU64::new(0),
            }),
        }
    }

    /// Listens to appends in the same process, instead of only polling.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.shared_mut().nudge = nudge;
        self
    }

    /// Sets aside an event that can never be published (too large) and goes on. Without this the relay
    /// stops with an error that names the event.
    #[must_use]
    pub fn with_parking(mut self, parking: Arc<dyn DeadLetterSink>) -> Self {
        self.shared_mut().parking = Some(parking);
        self
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::get_mut(&mut self.shared).expect("a relay is configured before it runs")
    }

    /// Events that this relay has published since it was made, copies included.
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// Relays until `stop` is cancelled.
    ///
    /// # Errors
    /// What waiting cannot mend: the feed or the leases refuse the credential or don't exist, an event
    /// can't be published and there is no parking. Transient failures are retried for ever, with backoff.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        let mut running: BTreeMap<FeedRange, tokio::task::AbortHandle> = BTreeMap::new();
        // Dropping the set aborts its tasks, so a dropped `run` leaves nothing behind.
        let mut tasks: JoinSet<(FeedRange, Result<()>)> = JoinSet::new();
        let mut look_again = tokio::time::interval(self.shared.options.lease_duration / 3);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = look_again.tick() => self.take_free_ranges(&mut running, &mut tasks, &stop).await?,
                Some(ended) = tasks.join_next() => self.ended(ended, &mut running)?,
            }
        }
        while let Some(ended) = tasks.join_next().await {
            self.ended(ended, &mut running)?;
        }
        Ok(())
    }

    /// Starts reading every range whose lease can be had.
    async fn take_free_ranges(
        &self,
        running: &mut BTreeMap<FeedRange, tokio::task::AbortHandle>,
        tasks: &mut JoinSet<(FeedRange, Result<()>)>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let shared = &self.shared;
        let ranges = match shared.feed.ranges().await {
            Ok(ranges) => ranges,
            Err(error) => return shared.tolerate(error),
        };
        for range in ranges
            .into_iter()
            .filter(|range| !running.contains_key(range))
            .collect::<Vec<_>>()
        {
            let options = &shared.options;
            match shared
                .leases
                .acquire(&shared.name, &range, &options.owner, options.lease_duration)
                .await
            {
                Ok(Some(lease)) => {
                    tracing::info!(relay = shared.name, %range, "feed range taken");
                    let reader = range::RangeRelay::new(shared.clone(), lease);
                    let stop = stop.clone();
                    let name = range.clone();
                    let task = tasks.spawn(async move { (name, reader.run(stop).await) });
                    running.insert(range, task);
                }
                Ok(None) => tracing::debug!(relay = shared.name, %range, "feed range is held by another relay"),
                Err(error) => shared.tolerate(error)?,
            }
        }
        Ok(())
    }

    /// A range whose lease was lost may be taken again later; any other failure ends the relay.
    fn ended(
        &self,
        ended: std::result::Result<(FeedRange, Result<()>), tokio::task::JoinError>,
        running: &mut BTreeMap<FeedRange, tokio::task::AbortHandle>,
    ) -> Result<()> {
        let (range, result) = ended.map_err(|panic| {
            Error::new(ErrorKind::Other, "relay", &self.shared.name)
                .with_message("a task panicked")
                .with_source(panic)
        })?;
        running.remove(&range);
        match result {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::warn!(relay = self.shared.name, %range, "feed range was taken over by another relay");
                Ok(())
            }
            Err(error) => self.shared.tolerate(error),
            Ok(()) => Ok(()),
        }
    }
}

impl Shared {
    /// Logs a failure that passes; returns one that doesn't.
    fn tolerate(&self, error: Error) -> Result<()> {
        if error.is_transient() {
            tracing::warn!(relay = self.name, error = chain(&error), "trying again");
            return Ok(());
        }
        Err(error)
    }
}

#[cfg(test)]
mod tests;
