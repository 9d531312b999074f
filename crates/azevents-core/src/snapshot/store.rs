//! Where snapshots are kept.

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;

use crate::error::Result;
use crate::stream::StreamId;
use crate::version::StreamHead;

/// A state, and the end of the stream it was folded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream.
    pub stream: StreamId,
    /// The aggregate and the version of its state: `order.v3`. One snapshot is kept per schema.
    pub schema: String,
    /// The end of the stream when the state was folded: loading goes on after it.
    pub head: StreamHead,
    /// When it was taken, by the writer's clock.
    pub taken_at: OffsetDateTime,
    /// Media type of `state`.
    pub content_type: String,
    /// The encoded state.
    pub state: Bytes,
}

/// Keeps the latest snapshot per stream and schema.
///
/// # Contract
/// - What was saved last is what is loaded, whole or not at all.
/// - A snapshot that can't be decoded is `None`, not an error: it can always be taken again.
/// - Cancellation: a dropped `save` may or may not have happened.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// The snapshot of a stream under `schema`, if there is one.
    async fn load_snapshot(&self, stream: &StreamId, schema: &str) -> Result<Option<Snapshot>>;

    /// Keeps a snapshot in place of the one before.
    ///
    /// # Errors
    /// [`TooLarge`](crate::ErrorKind::TooLarge) for a state that the store can't hold.
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()>;

    /// Forgets a snapshot; one that isn't there is no error.
    async fn delete_snapshot(&self, stream: &StreamId, schema: &str) -> Result<()>;
}
