//! What is remembered about each container beside its items.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use azure_core::http::Method;
use serde_json::Value;
use tokio::sync::RwLock;
use tracing::debug;

use super::{
    changes::{ChangeLog, ItemKey, Lineage},
    charge::IndexingPolicy,
    engine::Answer,
    expiry::{DefaultTtl, Expiry},
    kept::Pending,
    target::ContainerName,
};
use crate::clock::Timestamp;

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
    /// When its items expire.
    pub(super) expiry: Expiry,
    /// Its changes; `None` once something was written that could not be noted. Then the change
    /// feed comes from the emulator, which is slower and has the same positions.
    pub(super) changes: Option<ChangeLog>,
    /// What its physical partitions come from.
    pub(super) lineage: Lineage,
    /// What was written and has to be written down.
    pub(super) pending: Pending,
}

/// A write of one item, for [`ContainerState::note`].
pub(super) struct Write<'a> {
    pub(super) method: Method,
    /// `None` if it isn't known.
    pub(super) item: Option<ItemKey>,
    /// The item as it was written, in JSON.
    pub(super) text: &'a [u8],
    pub(super) at: Timestamp,
}

impl ContainerState {
    /// What a new container starts with.
    pub(super) fn empty(rid: String, partition_key_paths: Vec<String>, definition: &Value) -> Self {
        Self {
            rid,
            partition_key_paths,
            indexing: IndexingPolicy::of_container(definition),
            expiry: Expiry::new(DefaultTtl::of_container(definition)),
            changes: Some(ChangeLog::default()),
            lineage: Lineage::default(),
            pending: Pending::default(),
        }
    }

    /// Notes a successful write of one item: the change feed has it, and its time begins anew.
    pub(super) fn note(&mut self, write: Write<'_>, answer: &Answer) {
        if !answer.status.is_success() {
            return;
        }
        self.pending.write(&write, answer);
        if let Some(item) = &write.item {
            match write.method {
                Method::Delete => self.expiry.deleted(item),
                _ => self.expiry.written(item, write.text, write.at),
            }
        }
        let Some(log) = &mut self.changes else { return };
        let noted = match (write.item, write.method) {
            (Some(item), Method::Delete) => {
                note_deletion(log, &item, answer);
                true
            }
            (Some(item), _) => {
                let partition = answer.header("x-ms-documentdb-partitionkeyrangeid");
                let lsn = answer.header("x-ms-item-lsn").and_then(|lsn| lsn.parse().ok());
                let session = answer.header("x-ms-session-token").unwrap_or_default();
                match (partition, lsn) {
                    (Some(partition), Some(lsn)) => {
                        log.written(partition, lsn, item, session);
                        true
                    }
                    _ => false,
                }
            }
            (None, _) => false,
        };
        if !noted {
            debug!("a write could not be noted; the change feed comes from the emulator from now on");
            self.changes = None;
        }
    }

    /// Notes that an item has expired.
    pub(super) fn note_gone(&mut self, item: &ItemKey, answer: &Answer) {
        self.pending.expired(item, answer);
        self.expiry.deleted(item);
        if let Some(log) = &mut self.changes {
            note_deletion(log, item, answer);
        }
    }
}

/// The latest-version feed doesn't show deletions, but counts them.
fn note_deletion(log: &mut ChangeLog, item: &ItemKey, answer: &Answer) {
    log.deleted(item);
    let partition = answer.header("x-ms-documentdb-partitionkeyrangeid");
    let lsn = answer.header("lsn").and_then(|lsn| lsn.parse().ok());
    let session = answer.header("x-ms-session-token").unwrap_or_default();
    if let (Some(partition), Some(lsn)) = (partition, lsn) {
        log.reached(partition, lsn, session);
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

    pub(super) fn all(&self) -> Vec<Arc<Container>> {
        self.by_name().values().cloned().collect()
    }

    /// The names of a database's containers, in one order.
    pub(super) fn of_database(&self, database: &str) -> Vec<ContainerName> {
        let by_name = self.by_name();
        let names = by_name.keys().filter(|name| name.database == database);
        let mut names: Vec<_> = names.cloned().collect();
        names.sort_by(|a, b| a.container.cmp(&b.container));
        names
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<ContainerName, Arc<Container>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
