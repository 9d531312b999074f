//! Physical partitions that split and merge on request, as the service does by itself when they grow.

use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::containers::ContainerState;
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
        self.changed(database, container, async |store| {
            let middle = store.midpoint_split_epk(database, container, partition)?;
            store
                .split_partition_and_wait(database, container, partition, middle, Duration::ZERO)
                .await
        })
        .await
    }

    /// Merges two partitions that stand next to each other, and returns the id of the whole.
    ///
    /// # Errors
    /// A sentence: there are no such partitions, or they are not neighbours. Nothing has changed then.
    pub async fn merge(&self, database: &str, container: &str, partitions: [u32; 2]) -> Result<u32, String> {
        let [first, second] = partitions;
        self.changed(database, container, async |store| {
            store
                .merge_partitions_and_wait(database, container, first, second, Duration::ZERO)
                .await
        })
        .await
    }

    /// Changes a container's partitions while nobody reads or writes it.
    async fn changed<T>(
        &self,
        database: &str,
        container: &str,
        change: impl AsyncFnOnce(Arc<super::engine::Store>) -> azure_data_cosmos_driver::error::Result<T>,
    ) -> Result<T, String> {
        let name = ContainerName {
            database: database.to_owned(),
            container: container.to_owned(),
        };
        let Some(mut state) = self.0.alone(&name).await else {
            return Err(format!("There is no container {container} in a database {database}."));
        };
        let changed = change(self.0.engine.store()).await.map_err(|error| error.to_string())?;
        forget_log(&mut state);
        Ok(changed)
    }
}

/// Our log of changes knows items by the partition they were written to. Microsoft's emulator knows where
/// they are now, so from here on it answers for the container's change feed: more slowly, and right.
fn forget_log(state: &mut ContainerState) {
    state.changes = None;
}
