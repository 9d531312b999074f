//! How streams end: forgetting their beginning, closing them, removing them.

use async_trait::async_trait;

use crate::error::Result;
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead, Version};

/// What a store can do to whole streams.
///
/// # Contract
/// - Versions are never given twice while a stream exists: what is truncated leaves a stream that begins
///   later, and appends go on where they were.
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

    /// Removes a stream with all that was kept for it. Nobody can append meanwhile; afterwards the name
    /// is free, and a stream of that name begins at version 1 again. To keep the name from being used
    /// again, [`close`](Self::close) the stream and [`truncate`](Self::truncate) all of it instead.
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
