//! The partitions that are ours: taken, read side by side, given back.

use std::collections::BTreeMap;
use std::sync::Arc;

use azevents_core::{FeedRange, Pipeline, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::partition::Partition;

/// The partitions this consumer reads, and how to have each given back. Dropping it ends them where they
/// stand, as a crash would.
#[derive(Default)]
pub(super) struct Held {
    partitions: BTreeMap<String, CancellationToken>,
    tasks: JoinSet<(String, Result<()>)>,
}

impl Held {
    pub(super) fn contains(&self, partition: &str) -> bool {
        self.partitions.contains_key(partition)
    }

    /// How many there are, those that are being given back included.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Begins to give back what is more than `quota`.
    pub(super) fn give_back_beyond(&self, quota: usize) {
        let kept = self.partitions.values().filter(|give_back| !give_back.is_cancelled());
        for surplus in kept.skip(quota) {
            surplus.cancel();
        }
    }

    /// Takes a partition's lease, if nobody has it, and begins to read.
    pub(super) async fn take(
        &mut self,
        shared: &Arc<Shared>,
        id: &str,
        pipeline: &Arc<Pipeline>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let asked = Instant::now();
        let (reader, range) = (shared.reader(), FeedRange(id.to_owned()));
        let asking = shared
            .leases
            .acquire(&reader, &range, &shared.owner, shared.options.lease_duration);
        let lease = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            lease = asking => lease?,
        };
        if let Some(lease) = lease {
            tracing::info!(hub = %shared.hub, group = %shared.group, partition = id, owner = shared.owner, "partition taken");
            let partition = Partition::new(shared.clone(), id.to_owned(), lease, asked, pipeline.clone());
            let (id, give_back) = (id.to_owned(), stop.child_token());
            self.partitions.insert(id.clone(), give_back.clone());
            self.tasks.spawn(async move { (id, partition.run(give_back).await) });
        }
        Ok(())
    }

    /// The next partition to end, because it was given back or lost (`Ok`) or for good. `None` holds nothing.
    pub(super) async fn next_ended(&mut self) -> Option<Result<()>> {
        match self.tasks.join_next().await? {
            Ok((id, result)) => {
                self.partitions.remove(&id);
                Some(result)
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    pub(super) async fn drain(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.next_ended().await {
            result = result.and(ended);
        }
        result
    }
}
