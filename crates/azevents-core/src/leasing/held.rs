//! The ranges that are ours: begun, worked on side by side, given back.

use std::collections::BTreeMap;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::feed::FeedRange;

/// The ranges this process works on, and how to have each given back. Dropping it ends them where they stand, as a crash
/// would.
#[derive(Debug)]
pub struct Held<T> {
    ranges: BTreeMap<FeedRange, CancellationToken>,
    tasks: JoinSet<(FeedRange, T)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self {
            ranges: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }
}

impl<T: Send + 'static> Held<T> {
    /// Whether a range is among them.
    pub fn contains(&self, range: &FeedRange) -> bool {
        self.ranges.contains_key(range)
    }

    /// How many there are, those that are being given back included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Those that aren't being given back, each with the token that does it.
    pub fn kept(&self) -> impl Iterator<Item = (&FeedRange, &CancellationToken)> {
        self.ranges.iter().filter(|(_, give_back)| !give_back.is_cancelled())
    }

    /// Begins to give back what is more than `quota`.
    pub fn give_back_beyond(&self, quota: usize) {
        for (_, surplus) in self.kept().skip(quota) {
            surplus.cancel();
        }
    }

    /// Begins to work on a range, until the token it is given is cancelled, at the latest with `stop`.
    pub fn begin<F>(&mut self, range: FeedRange, stop: &CancellationToken, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let give_back = stop.child_token();
        self.ranges.insert(range.clone(), give_back.clone());
        let work = work(give_back);
        self.tasks.spawn(async move { (range, work.await) });
    }

    /// The next range whose work ends, and with what; an error where it panicked. `None` holds nothing.
    pub async fn next_ended(&mut self) -> Option<Result<(FeedRange, T), JoinError>> {
        let ended = self.tasks.join_next().await?;
        if let Ok((range, _)) = &ended {
            self.ranges.remove(range);
        }
        Some(ended)
    }
}
