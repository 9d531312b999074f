//! Physical partitions that split and merge on request, as the service does by itself when they grow.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedRwLockWriteGuard;

use super::account::Account;
use super::changes::{self, ItemKey, Place};
use super::containers::ContainerState;
use super::item::upsert_request;
use super::target::ContainerName;

/// The physical partitions of all containers. Clones reach the same account.
///
/// A split gives a partition's items, and their places in the change feed, to two new ones. Clients that
/// ask for the old one are told that it is gone and find the new ones by themselves.
#[derive(Debug, Clone)]
pub struct Partitions(Arc<Account>);

impl Partitions {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self(account)
    }

    /// The ids of a container's partitions. Empty where there is no such container.
    pub fn list(&self, database: &str, container: &str) -> Vec<u32> {
        self.0.engine.store().child_partition_ids(database, container, &[])
    }

    /// Splits a partition in the middle of its keys, and returns the ids of its halves.
    ///
    /// # Errors
    /// A sentence: there is no such partition, or it holds one key only. Nothing has changed then.
    pub async fn split(&self, database: &str, container: &str, partition: u32) -> Result<Vec<u32>, String> {
        let (_, mut state) = self.alone(database, container).await?;
        let store = self.0.engine.store();
        let middle = store.midpoint_split_epk(database, container, partition).map_err(told)?;
        let halves = store
            .split_partition_and_wait(database, container, partition, middle, Duration::ZERO)
            .await
            .map_err(told)?;
        forget_log(&mut state);
        state.lineage.split(partition, &halves);
        self.0.keeper.split(database, container, partition);
        Ok(halves)
    }

    /// Merges two partitions that stand next to each other, and returns the id of the whole.
    ///
    /// # Errors
    /// A sentence: there are no such partitions, or they are not neighbours. Nothing has changed then.
    pub async fn merge(&self, database: &str, container: &str, partitions: [u32; 2]) -> Result<u32, String> {
        self.merge_in_order(database, container, partitions, &[]).await
    }

    /// The same, after which the items are numbered in this order; in an order of its own if it is empty.
    pub(super) async fn merge_in_order(
        &self,
        database: &str,
        container: &str,
        partitions: [u32; 2],
        order: &[ItemKey],
    ) -> Result<u32, String> {
        let (name, mut state) = self.alone(database, container).await?;
        let [first, second] = partitions;
        let before = [
            (first, self.feed(&name, &state, first).await?),
            (second, self.feed(&name, &state, second).await?),
        ];
        self.write_in_order(&name, order).await?;
        let store = self.0.engine.store();
        let whole = store
            .merge_partitions_and_wait(database, container, first, second, Duration::ZERO)
            .await
            .map_err(told)?;
        forget_log(&mut state);
        let after = self.feed(&name, &state, whole).await?;
        state.lineage.merged(before, whole, &after);
        self.0.keeper.merged(database, container, partitions, &after);
        Ok(whole)
    }

    /// Writes items again, so that of any two the later one has the greater number, whatever partition they are in.
    /// Microsoft's emulator numbers the items of a merged partition by the second of their last write, and
    /// then by the number they had.
    async fn write_in_order(&self, name: &ContainerName, order: &[ItemKey]) -> Result<(), String> {
        let items = self.0.items(name);
        let mut last = 0_u64;
        for item in order {
            let text = self.0.text_of(name, item).await;
            if text.is_empty() {
                return Err(format!("Item {} of a merged partition is missing.", item.id));
            }
            loop {
                let request = upsert_request(&items, item, text.clone());
                let answer = self.0.engine.execute(&request).await;
                let number = answer.header("x-ms-item-lsn").and_then(|number| number.parse().ok());
                let number: u64 = number.ok_or_else(|| format!("Item {} can't be written again.", item.id))?;
                if number > last {
                    last = number;
                    break;
                }
            }
        }
        Ok(())
    }

    /// A container that nobody else reads or writes meanwhile.
    async fn alone(
        &self,
        database: &str,
        container: &str,
    ) -> Result<(ContainerName, OwnedRwLockWriteGuard<ContainerState>), String> {
        let name = ContainerName {
            database: database.to_owned(),
            container: container.to_owned(),
        };
        match self.0.alone(&name).await {
            Some(state) => Ok((name, state)),
            None => Err(format!("There is no container {container} in a database {database}.")),
        }
    }

    async fn feed(&self, name: &ContainerName, state: &ContainerState, partition: u32) -> Result<Vec<Place>, String> {
        let feed = changes::all(
            &self.0.items(name),
            &state.partition_key_paths,
            partition,
            &self.0.engine,
        )
        .await;
        feed.ok_or_else(|| format!("There is no partition {partition} in container {}.", name.container))
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Our log of changes knows items by the partition they were written to. Microsoft's emulator knows where
/// they are now, so from here on it answers for the container's change feed: more slowly, and right.
fn forget_log(state: &mut ContainerState) {
    state.changes = None;
}
