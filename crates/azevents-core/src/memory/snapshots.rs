//! Snapshots in a map.

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::error::Result;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::stream::StreamId;

#[async_trait]
impl SnapshotStore for MemoryStore {
    async fn load_snapshot(&self, stream: &StreamId, schema: &str) -> Result<Option<Snapshot>> {
        let key = (stream.clone(), schema.to_owned());
        Ok(lock(&self.state).snapshots.get(&key).cloned())
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let key = (snapshot.stream.clone(), snapshot.schema.clone());
        lock(&self.state).snapshots.insert(key, snapshot.clone());
        Ok(())
    }

    async fn delete_snapshot(&self, stream: &StreamId, schema: &str) -> Result<()> {
        let key = (stream.clone(), schema.to_owned());
        lock(&self.state).snapshots.remove(&key);
        Ok(())
    }
}
