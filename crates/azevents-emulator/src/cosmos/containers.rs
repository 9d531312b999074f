//! What is remembered about each container beside its items.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::RwLock;

use super::{changes::ChangeLog, charge::IndexingPolicy, target::ContainerName};

/// A container. Whoever reads its items holds the lock shared, whoever writes holds it alone: so
/// nobody sees half a batch, and changes are noted in the order they were made.
pub(super) type Container = RwLock<ContainerState>;

/// What a container's lock guards.
#[derive(Debug, Default)]
pub(super) struct ContainerState {
    /// The container's resource id.
    pub(super) rid: String,
    /// Where its items have their partition key, such as `/stream`.
    pub(super) partition_key_paths: Vec<String>,
    /// What of its items is indexed, which writes are charged for.
    pub(super) indexing: IndexingPolicy,
    /// Its changes; `None` once something was written that could not be noted. Then the change
    /// feed comes from the emulator, which is slower and has the same positions.
    pub(super) changes: Option<ChangeLog>,
}

impl ContainerState {
    /// What a new container starts with.
    pub(super) fn empty(rid: String, partition_key_paths: Vec<String>, indexing: IndexingPolicy) -> Self {
        Self {
            rid,
            partition_key_paths,
            indexing,
            changes: Some(ChangeLog::default()),
        }
    }
}

/// The containers of the account by name.
#[derive(Debug, Default)]
pub(super) struct Containers {
    by_name: Mutex<HashMap<ContainerName, Arc<Container>>>,
}

impl Containers {
    /// The container of this name, if there is one.
    pub(super) fn get(&self, name: &ContainerName) -> Option<Arc<Container>> {
        self.by_name().get(name).cloned()
    }

    /// The container of this name; a new one has no changes and no resource id yet.
    pub(super) fn get_or_insert(&self, name: ContainerName) -> Arc<Container> {
        Arc::clone(self.by_name().entry(name).or_default())
    }

    pub(super) fn remove(&self, name: &ContainerName) {
        self.by_name().remove(name);
    }

    pub(super) fn remove_database(&self, database: &str) {
        self.by_name().retain(|name, _| name.database != database);
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<ContainerName, Arc<Container>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
