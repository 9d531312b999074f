//! Snapshots beside the commits they were folded from: one document per schema, replaced by each.

use async_trait::async_trait;
use azevents_core::{Error, ErrorKind, Result, Snapshot, SnapshotStore, StreamId};

use super::CosmosEventStore;
use crate::doc::{SnapshotDocument, snapshot_id};
use crate::{ids, wire};

#[async_trait]
impl SnapshotStore for CosmosEventStore {
    async fn load_snapshot(&self, stream: &StreamId, schema: &str) -> Result<Option<Snapshot>> {
        let id = snapshot_id(schema);
        ids::check(&id, "load snapshot")?;
        let Some(found) = self.on("load snapshot", stream).read(&id).await? else {
            return Ok(None);
        };
        match SnapshotDocument::parse(&found.body, stream.as_str()) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) => {
                tracing::warn!(%stream, schema, %error, "unreadable snapshot ignored");
                Ok(None)
            }
        }
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let what = "save snapshot";
        let stream = &snapshot.stream;
        let ttl = self.extra(stream).ttl;
        let document = SnapshotDocument::new(snapshot, self.tenant(), ttl);
        ids::check(&document.id, what)?;
        let bytes = wire::json_len(&document)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, what, stream).with_source(error))?;
        if bytes > wire::MAX_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, what, stream).with_message(format!(
                "a document of {bytes} bytes, but Cosmos DB takes at most {}: keep less in the state",
                wire::MAX_BYTES
            )));
        }
        let on = self.on(what, stream);
        wire::settled(what, || on.upsert(&document.id, &document, bytes)).await
    }

    async fn delete_snapshot(&self, stream: &StreamId, schema: &str) -> Result<()> {
        let on = self.on("delete snapshot", stream);
        let id = snapshot_id(schema);
        wire::settled("delete snapshot", || on.delete(&id)).await?;
        Ok(())
    }
}
