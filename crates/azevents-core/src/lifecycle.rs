//! How streams end: forgetting their beginning, closing them, removing them.

use async_trait::async_trait;

use crate::error::Result;
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead, Version};

/// What a store can do to whole streams.
///
/// # Contract
/// - Versions are never given twice: what is truncated leaves a stream that begins later, and appends go
///   on where they were. Not even deleting a stream frees its versions, for somebody may still hold a
///   state of it, and append to what it takes for the same stream.
/// - Readers and appenders honour all of it without a request of their own: a truncated stream simply
///   begins later, and where a closed stream's next commit would be stands the mark that closes it.
/// - What is removed is gone for whoever reads the feed and has not come that far, too: let relays catch
///   up first.
/// - Cancellation and failure: each may be done in part; repeating it finishes the rest.
#[async_trait]
pub trait StreamLifecycle: Send + Sync {
    /// Forgets the events before `before`, as far as they lie in commits of which nothing else is left to
    /// keep: a commit stays whole. The last commit of a stream stays, because it says where the stream
    /// ends, unless the stream is closed. Returns how many events are gone.
    ///
    /// An aggregate can be loaded from a truncated stream only with a snapshot that covers the rest.
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64>;

    /// Closes a stream for ever: every later append fails with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed). Its events stay readable. Closing a closed stream
    /// changes nothing.
    async fn close(&self, stream: &StreamId, expected: ExpectedVersion) -> Result<Closing>;

    /// Removes a stream with all that was kept for it: events, snapshots, documents. The name stays
    /// taken: the stream is closed first, and of the mark that closes it nothing is removed.
    async fn delete(&self, stream: &StreamId) -> Result<()>;
}

/// What became of [`close`](StreamLifecycle::close).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a stream that has moved on is not closed"]
pub enum Closing {
    /// Closed, now or before, at this end; `None` for a stream without events.
    Closed(Option<StreamHead>),
    /// Not closed: the stream isn't where the caller expected it, but ends here.
    Conflict(Option<StreamHead>),
}
