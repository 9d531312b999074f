//! The feed of a store in memory: the log of all commits, in ranges of stream hashes that can be split.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Commit;
use crate::feed::{CommitFeed, Continuation, FeedPage, FeedRange, StartFrom};

/// Commits per page.
const PAGE: usize = 100;
/// Hashes lie below this.
const HASHES: u32 = 1 << 16;

impl MemoryStore {
    /// Splits the range in the middle, as a service does with one that has grown.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for what is no range of this feed, or one too narrow to split.
    pub fn split(&self, range: &FeedRange) -> Result<()> {
        let hashes = hashes(range)?;
        let middle = hashes.start.midpoint(hashes.end);
        if middle == hashes.start {
            return Err(Error::new(ErrorKind::InvalidInput, "split", range).with_message("one hash can't be split"));
        }
        lock(&self.state).bounds.insert(middle);
        Ok(())
    }

    /// Merges all ranges into one.
    pub fn merge(&self) {
        lock(&self.state).bounds.clear();
    }
}

/// The parts of `whole` between these bounds.
fn parts(whole: Range<u32>, bounds: &BTreeSet<u32>) -> Vec<FeedRange> {
    let inner = bounds.range(whole.start + 1..whole.end).copied();
    let begins = std::iter::once(whole.start).chain(inner.clone());
    let ends = inner.chain([whole.end]);
    begins.zip(ends).map(|(begin, end)| named(begin..end)).collect()
}

fn named(hashes: Range<u32>) -> FeedRange {
    FeedRange(format!("{:05x}-{:05x}", hashes.start, hashes.end))
}

fn hashes(range: &FeedRange) -> Result<Range<u32>> {
    if *range == FeedRange::whole() {
        return Ok(0..HASHES);
    }
    let number = |text| u32::from_str_radix(text, 16).ok().filter(|number| *number <= HASHES);
    range
        .0
        .split_once('-')
        .and_then(|(begin, end)| Some(number(begin)?..number(end)?))
        .filter(|hashes| hashes.start < hashes.end)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "read feed", range).with_message("not a range of this feed"))
}

/// FNV-1a, folded to 16 bits: every process must agree on it.
fn hash(commit: &Commit) -> u32 {
    let tenant = commit.tenant.as_deref().unwrap_or_default();
    let bytes = tenant.bytes().chain(commit.stream.as_str().bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash >> 16) ^ (hash & 0xffff)
}

#[async_trait]
impl CommitFeed for MemoryStore {
    async fn ranges(&self) -> Result<Vec<FeedRange>> {
        Ok(parts(0..HASHES, &lock(&self.state).bounds))
    }

    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage> {
        let hashes = hashes(range)?;
        let position = after
            .map_or(Ok(0), |continuation| continuation.0.parse::<usize>())
            .map_err(|e| {
                Error::new(ErrorKind::InvalidInput, "read feed", range)
                    .with_message("the continuation was given by another feed")
                    .with_source(e)
            })?;
        let state = lock(&self.state);
        let mut rest = state
            .log
            .iter()
            .enumerate()
            .skip(position)
            .filter(|(_, commit)| hashes.contains(&hash(commit)));
        let page: Vec<_> = rest.by_ref().take(PAGE).collect();
        let end = match page.last() {
            Some((last, _)) if page.len() == PAGE => last + 1,
            _ => state.log.len().max(position),
        };
        Ok(FeedPage {
            commits: page.into_iter().map(|(_, commit)| commit.as_ref().clone()).collect(),
            continuation: Some(Continuation(end.to_string())),
            behind: Some(rest.count() as u64),
        })
    }

    async fn parts(&self, range: &FeedRange) -> Result<Vec<FeedRange>> {
        Ok(parts(hashes(range)?, &lock(&self.state).bounds))
    }

    async fn position(&self, _: &FeedRange, start: StartFrom) -> Result<Option<Continuation>> {
        let state = lock(&self.state);
        let position = match start {
            StartFrom::Beginning => return Ok(None),
            StartFrom::Now => state.log.len(),
            StartFrom::Time(time) => state.log.partition_point(|commit| committed_before(commit, time)),
        };
        Ok(Some(Continuation(position.to_string())))
    }
}

fn committed_before(commit: &Commit, time: time::OffsetDateTime) -> bool {
    commit.committed_at < time
}
