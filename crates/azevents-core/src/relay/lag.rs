//! How far behind a relay is, from what it has in hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::parked::ParkedStreams;
use crate::feed::{Checkpoint, Continuation, FeedRange};
use crate::leasing::{Completion, Position};

/// The feed doesn't say how many commits follow.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// How far behind a relay is in one range.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeLag {
    /// The range.
    pub range: FeedRange,
    /// Events that were read and are not acknowledged yet.
    pub events: u64,
    /// Commits that come after what was read, where the feed can tell.
    pub commits_behind: Option<u64>,
    /// How long ago the oldest commit was made that was read and is not wholly acknowledged, by the
    /// appender's clock and ours; zero when everything read is acknowledged.
    pub age: Duration,
}

/// The end of a page, as the relay keeps it until the page is acknowledged.
#[derive(Debug)]
pub(super) struct Page {
    continuation: Continuation,
    oldest: Option<OffsetDateTime>,
    parked: Arc<ParkedStreams>,
}

impl Page {
    pub(super) fn new(continuation: Continuation, oldest: Option<OffsetDateTime>, parked: Arc<ParkedStreams>) -> Self {
        Self {
            continuation,
            oldest,
            parked,
        }
    }
}

impl Position for Page {
    fn continuation(&self) -> Continuation {
        self.continuation.clone()
    }

    fn checkpoint(&self, events: u64) -> Checkpoint {
        Checkpoint {
            continuation: self.continuation(),
            events,
            parked: self.parked.all(),
        }
    }
}

/// The ranges a relay has now.
#[derive(Default)]
pub(super) struct Watched(Arc<Mutex<Ranges>>);

type Ranges = BTreeMap<FeedRange, (Arc<Completion<Page>>, Arc<AtomicU64>)>;

/// One range, watched as long as this lives.
pub(super) struct Watch {
    ranges: Arc<Mutex<Ranges>>,
    range: FeedRange,
    behind: Arc<AtomicU64>,
}

impl Watch {
    /// Where the reader notes how many commits follow.
    pub(super) fn behind(&self) -> Arc<AtomicU64> {
        self.behind.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.remove(&self.range);
    }
}

impl Watched {
    pub(super) fn watch(&self, range: &FeedRange, completion: Arc<Completion<Page>>) -> Watch {
        let behind = Arc::new(AtomicU64::new(UNKNOWN));
        let mut ranges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.insert(range.clone(), (completion, behind.clone()));
        Watch {
            ranges: self.0.clone(),
            range: range.clone(),
            behind,
        }
    }

    pub(super) fn lag(&self) -> Vec<RangeLag> {
        let now = OffsetDateTime::now_utc();
        let ranges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = |(range, (completion, behind)): (&FeedRange, &(Arc<Completion<Page>>, Arc<AtomicU64>))| {
            let oldest = completion.oldest(|page| page.oldest).flatten();
            let behind = behind.load(Ordering::Relaxed);
            RangeLag {
                range: range.clone(),
                events: completion.unfinished(),
                commits_behind: (behind != UNKNOWN).then_some(behind),
                age: oldest
                    .and_then(|oldest| Duration::try_from(now - oldest).ok())
                    .unwrap_or_default(),
            }
        };
        ranges.iter().map(lag).collect()
    }
}
