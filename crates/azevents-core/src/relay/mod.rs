//! The outbox relay: reads every commit from the feed and hands its events to a publisher.
//!
//! The commit log is the outbox. A commit is published because it was committed; the relay only has to
//! remember how far it has come, and that it does in a lease per feed range:
//!
//! ```text
//! feed range -> pages -> lanes (by stream) -> publisher -> completion -> checkpoint in the lease
//! ```
//!
//! A checkpoint never passes an event that has not been acknowledged or set aside. After a crash the events
//! since the last checkpoint are published again: consumers see copies, never gaps.
//!
//! | module | what it does |
//! | --- | --- |
//! | `division` | which ranges are ours: the first division, splits, shares |
//! | `range` | one range that is ours, from taking its lease to giving it back |
//! | `reader` | its pages, into lanes |
//! | `lane` | publishing, and setting aside what cannot be published |
//! | `parked` | the streams that were set aside |
//! | `resume` | letting such a stream go on |
//! | `lag` | how far behind it is |
//! | `selection`, `options` | what can be set |

mod division;
mod lag;
mod lane;
mod options;
mod parked;
mod range;
mod reader;
mod resume;
mod selection;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

pub use lag::RangeLag;
pub use lane::{BEHIND_PARKED_EVENT, UNPUBLISHABLE};
pub use options::RelayOptions;
pub use resume::ParkedKey;
pub use selection::Selection;

use crate::dead_letter::DeadLetterSink;
use crate::error::{Error, Result, chain};
use crate::feed::{CommitFeed, LeaseStore};
use crate::nudge::Nudge;
use crate::publisher::Publisher;
use division::Division;
use lag::Watched;

/// Publishes every committed event to one destination, in order per stream, at least once.
///
/// Run one relay per destination, so that a slow broker holds up only itself. Any number of processes
/// may run the same relay. They divide the feed's ranges evenly: each process has a seat in the lease store,
/// works out its share from the seats taken, and gives back what it has above that once its work is
/// acknowledged and written down. The ranges of a process that died are free when its leases expire.
///
/// A range that the store has split is handed over to its parts, which begin where it ended: no part begins
/// before the range's events in flight were acknowledged or given up. A range that was merged with others
/// goes on being read by itself.
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
    watched: Watched,
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
                watched: Watched::default(),
            }),
        }
    }

    /// Listens to appends in the same process, instead of only polling.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.shared_mut().nudge = nudge;
        self
    }

    /// Sets aside an event that can never be published (too large), and behind it all later events of its
    /// stream, in order; other streams go on. Without this the relay stops with an error that names the
    /// event.
    ///
    /// [`resume`](Self::resume) lets such a stream go on. Which streams are set aside is kept with the checkpoints, in
    /// [`Checkpoint::parked`](crate::Checkpoint::parked), so that it holds over restarts and wherever a range
    /// goes. What is in hand when a range changes owners may be set aside again: keep copies once, by id.
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

    /// How far behind this relay is in each range that it has now. Costs no request.
    pub fn lag(&self) -> Vec<RangeLag> {
        self.shared.watched.lag()
    }

    /// Relays until `stop` is cancelled.
    ///
    /// # Errors
    /// What waiting cannot mend: the feed or the leases refuse the credential or don't exist, an event
    /// can't be published and there is no parking. Transient failures are retried for ever, with backoff.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        Division::new(self.shared.clone(), &stop).run().await
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
