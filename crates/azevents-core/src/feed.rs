//! Every commit of a store, as the relay reads it, and the leases that say who reads which part.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event::Commit;

/// A part of the feed that is read in order by one reader at a time: a partition, a range of key
/// hashes. A stream lies in exactly one range.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeedRange(pub String);

impl fmt::Display for FeedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where reading goes on. Opaque: only the feed that gave it can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Continuation(pub String);

/// How far a reader has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Everything before this is done.
    pub continuation: Continuation,
    /// How many events that is, since the beginning of the range.
    pub events: u64,
}

/// Some commits, and where to go on after them.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// In order per stream; empty when there is nothing new.
    pub commits: Vec<Commit>,
    /// Ask with this for what follows. `None` only where the range has never held anything.
    pub continuation: Option<Continuation>,
}

/// All commits of a store.
///
/// # Contract
/// - Every commit is returned at least once to whoever reads all ranges from the beginning.
/// - Within a stream, commits come in the order of their versions, none left out.
/// - Reading is repeatable: the same continuation gives the same commits again, and then newer ones.
/// - Dropping a call has no effect.
#[async_trait]
pub trait CommitFeed: Send + Sync {
    /// The ranges that together cover the feed now.
    async fn ranges(&self) -> Result<Vec<FeedRange>>;

    /// The next commits of `range` after `after`, or from the beginning. Returns at once, also with an
    /// empty page.
    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage>;
}

/// The right to read a range for a while, and how far reading has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose progress this is: one relay, one projection.
    pub reader: String,
    /// The part of the feed.
    pub range: FeedRange,
    /// Who holds it.
    pub owner: String,
    /// Changes with every write: the compare of compare-and-swap.
    pub token: String,
    /// Everything up to here is done; `None` at the beginning.
    pub checkpoint: Option<Checkpoint>,
}

/// Leases by compare-and-swap.
///
/// # Contract
/// - At any time at most one owner's writes for a (reader, range) succeed; a lease that was taken over
///   answers [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) from then on.
/// - A checkpoint that was acknowledged is what the next owner starts from.
/// - A lease not renewed for its duration can be taken by anyone; its own owner (same name) can take it
///   at any time, so that a restarted process goes on at once.
/// - Cancellation: a dropped call may or may not have happened; the token tells.
#[async_trait]
pub trait LeaseStore: Send + Sync {
    /// Takes the lease if it is free, expired or already `owner`'s; `None` when another holds it.
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>>;

    /// Extends a held lease and, with `checkpoint`, records progress. Returns the lease with its new token.
    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease>;

    /// Gives a lease back; its checkpoint stays. Releasing one that was taken over is no error.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// All leases of a reader, held or not, to look at its progress. A released lease has no owner
    /// (an empty name).
    async fn list(&self, reader: &str) -> Result<Vec<Lease>>;
}

#[async_trait]
impl<L: LeaseStore + ?Sized> LeaseStore for Arc<L> {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        self.as_ref().acquire(reader, range, owner, duration).await
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        self.as_ref().renew(lease, checkpoint, duration).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.as_ref().release(lease).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.as_ref().list(reader).await
    }
}
