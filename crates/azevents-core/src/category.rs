//! Reading all streams of a category.

use async_trait::async_trait;

use crate::error::Result;
use crate::event::Commit;
use crate::feed::Continuation;

/// Some commits of a category, and where to go on.
#[derive(Debug, Clone)]
pub struct CategoryPage {
    /// In order per stream. May be empty although more follows.
    pub commits: Vec<Commit>,
    /// Ask with this for what follows; `None` at the end.
    pub next: Option<Continuation>,
}

/// Reads a category by query: to look at, to export, to rebuild something once. To follow what is
/// appended, read the [feed](crate::CommitFeed).
///
/// # Contract
/// - A commit that was there when reading began is returned exactly once.
/// - The commits of a stream come in the order of their versions. The order between streams is the
///   store's own.
/// - Commits made while reading may or may not be returned, but never one without those before it.
/// - A continuation can be kept for later and used in another process.
/// - Dropping a call has no effect.
#[async_trait]
pub trait CategoryReader: Send + Sync {
    /// The commits of `category` after `after`, or from the beginning; about `limit` of them at most.
    async fn read_category(&self, category: &str, after: Option<&Continuation>, limit: u32) -> Result<CategoryPage>;
}
