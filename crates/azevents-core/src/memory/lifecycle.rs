//! How streams in memory end. The feed goes on showing what was removed.

use async_trait::async_trait;

use super::{MemoryStore, lock};
use crate::error::Result;
use crate::lifecycle::{Closing, StreamLifecycle};
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, Version};

#[async_trait]
impl StreamLifecycle for MemoryStore {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64> {
        let mut state = lock(&self.state);
        let closed = state.closed.contains_key(stream);
        let Some(commits) = state.streams.get_mut(stream) else {
            return Ok(0);
        };
        let mut gone = 0;
        while let Some(first) = commits.first()
            && first.head().version < before
            && (closed || commits.len() > 1)
        {
            gone += commits.remove(0).events.len() as u64;
        }
        Ok(gone)
    }

    async fn close(&self, stream: &StreamId, expected: ExpectedVersion) -> Result<Closing> {
        let mut state = lock(&self.state);
        let head = state.head(stream);
        if state.closed.contains_key(stream) {
            return Ok(Closing::Closed(head));
        }
        if !expected.accepts(head.map_or(Version::NONE, |head| head.version)) {
            return Ok(Closing::Conflict(head));
        }
        state.closed.insert(stream.clone(), head);
        Ok(Closing::Closed(head))
    }

    async fn delete(&self, stream: &StreamId) -> Result<()> {
        let mut state = lock(&self.state);
        let head = state.head(stream);
        state.closed.entry(stream.clone()).or_insert(head);
        state.streams.remove(stream);
        state.snapshots.retain(|(of, _), _| of != stream);
        Ok(())
    }
}
