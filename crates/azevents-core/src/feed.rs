//! Every commit of a store, as the relay reads it, and the leases that say who reads which part.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::event::Commit;
use crate::version::Version;

/// A part of the feed that is read in order by one reader at a time: a partition, a range of key
/// hashes. A stream lies in exactly one range.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeedRange(pub String);

impl FeedRange {
    /// The range from which all others descend: the whole feed, before it is divided. Nobody reads it; its
    /// lease records that a reader has begun, and with which ranges.
    pub fn whole() -> Self {
        Self("*".to_owned())
    }
}

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
    /// How many events that is, since this lease began. The sum over all leases of a reader, retired ones
    /// included, is what the reader has done in all.
    pub events: u64,
    /// Streams that are set aside, by their key in messages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parked: BTreeMap<String, ParkedStream>,
}

impl Checkpoint {
    /// Everything before `continuation` is done, `events` events, and no stream is set aside.
    pub fn new(continuation: Continuation, events: u64) -> Self {
        Self {
            continuation,
            events,
            parked: BTreeMap::new(),
        }
    }
}

/// The events of one stream that were set aside: one that could not be published, and all behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStream {
    /// The event that could not be published.
    pub first: Version,
    /// The last one that was set aside.
    pub last: Version,
}

/// Where a new reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// With the first commit.
    #[default]
    Beginning,
    /// With what is committed from now on.
    Now,
    /// With what was committed at this time or later, as the store's own clock has it.
    Time(time::OffsetDateTime),
}

/// Some commits, and where to go on after them.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// In order per stream; empty when there is nothing new.
    pub commits: Vec<Commit>,
    /// Ask with this for what follows. `None` only where the range has never held anything.
    pub continuation: Option<Continuation>,
    /// How many commits of the range come after this page, where the feed can tell.
    pub behind: Option<u64>,
}

/// All commits of a store.
///
/// # Contract
/// - Every commit is returned at least once to whoever reads all ranges from the beginning.
/// - Within a stream, commits come in the order of their versions, none left out.
/// - Reading is repeatable: the same continuation gives the same commits again, and then newer ones.
/// - A continuation of a range is accepted for each of its [`parts`](Self::parts), and gives there what it
///   would have given of that part.
/// - Dropping a call has no effect.
#[async_trait]
pub trait CommitFeed: Send + Sync {
    /// The ranges that together cover the feed now.
    async fn ranges(&self) -> Result<Vec<FeedRange>>;

    /// The next commits of `range` after `after`, or from the beginning. Returns at once, also with an
    /// empty page.
    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage>;

    /// What `range` consists of now: itself, or its parts where it has been split since. A range that was
    /// merged with others can still be read alone and stays itself.
    async fn parts(&self, range: &FeedRange) -> Result<Vec<FeedRange>> {
        Ok(vec![range.clone()])
    }

    /// Where reading begins in `range` from `start` on; `None` is the beginning.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for what this feed cannot find.
    async fn position(&self, range: &FeedRange, start: StartFrom) -> Result<Option<Continuation>> {
        match start {
            StartFrom::Beginning => Ok(None),
            StartFrom::Now | StartFrom::Time(_) => Err(Error::new(ErrorKind::Unsupported, "find position", range)
                .with_message("this feed can only be read from its beginning")),
        }
    }
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
    /// The ranges that go on from the checkpoint of this one. Empty for a lease that is in use; a lease
    /// with successors is retired: nobody can take it again, and its checkpoint stays as it is.
    pub successors: Vec<FeedRange>,
}

/// Leases by compare-and-swap.
///
/// # Contract
/// - At any time at most one owner's writes for a (reader, range) succeed; a lease that was taken over
///   answers [`ErrorKind::Conflict`] from then on.
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

    /// All leases of a reader, to look at its progress and at who reads what. A lease that was given back or
    /// has expired has no owner (an empty name).
    async fn list(&self, reader: &str) -> Result<Vec<Lease>>;

    /// Makes the lease of a range that goes on from `checkpoint`, free to be taken. Where that range has a
    /// lease already, in use or retired, nothing happens.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] by stores for ranges that are never split.
    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        let _ = (range, checkpoint);
        Err(Error::new(ErrorKind::Unsupported, "create lease", reader)
            .with_message("these leases are for ranges that are never split"))
    }

    /// Ends a held lease for good in favour of `successors`, which are made by [`create`](Self::create)
    /// afterwards, from this lease's checkpoint.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another has taken it over, [`ErrorKind::Unsupported`] as for `create`.
    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        let _ = successors;
        Err(Error::new(ErrorKind::Unsupported, "retire lease", &lease.range)
            .with_message("these leases are for ranges that are never split"))
    }
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

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.as_ref().create(reader, range, checkpoint).await
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        self.as_ref().retire(lease, successors).await
    }
}
