//! Every commit of a container, from its change feed.
//!
//! The change feed's latest-version mode shows an item's newest version in the order in which items of
//! one physical partition were changed. Commits never change, so each shows up once, and the commits
//! of a stream, which all lie in one partition, in the order in which they were made. Between streams
//! the order is that of the partition's log, and between ranges there is none.

use std::fmt;
use std::num::NonZeroU32;

use async_trait::async_trait;
use azevents_core::{Commit, CommitFeed, Continuation, Error, ErrorKind, FeedPage, FeedRange, Result, StartFrom};
use azure_data_cosmos::feed::{ContinuationToken, FeedRange as KeyRange};
use azure_data_cosmos::models::ChangeFeedMetadata;
use azure_data_cosmos::options::{ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint};
use azure_data_cosmos::{ContainerClient, CosmosError, FeedScope};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connection::Cosmos;
use crate::continuation;
use crate::doc::{CommitDocument, OutboxDocument, is_commit, is_outbox};
use crate::error::{Access, from_sdk, status_code};
use crate::wire;

/// Documents per page unless set otherwise. The service also ends a page at 4 MB.
const PAGE: NonZeroU32 = NonZeroU32::new(1000).unwrap();

/// A [`CommitFeed`] on a container of streams. Clones share the connection.
///
/// Snapshots and other documents that lie beside the commits are left out. One call is one request,
/// also when there is nothing new; on a range that lies in several physical partitions, or once did, at most
/// one for each of them.
#[derive(Clone)]
pub struct CosmosCommitFeed {
    container: ContainerClient,
    page: NonZeroU32,
}

impl CosmosCommitFeed {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// A feed on a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        Self { container, page: PAGE }
    }

    /// Sets how many documents a page has at most. A larger page costs fewer requests, and more memory
    /// in whoever reads it.
    #[must_use]
    pub fn with_page_size(mut self, documents: NonZeroU32) -> Self {
        self.page = documents;
        self
    }

    /// The parts of a range by physical partition: itself, until the service splits it.
    async fn physical_parts(&self, range: &KeyRange) -> Result<Vec<KeyRange>, CosmosError> {
        let all = self.container.read_feed_ranges(None).await?;
        all.iter()
            .filter(|partition| partition.overlaps(range))
            .map(|partition| {
                let begin = partition.min_inclusive().max(range.min_inclusive());
                let end = partition.max_exclusive().min(range.max_exclusive());
                KeyRange::new(begin.clone(), end.clone())
            })
            .collect()
    }
}

/// The keys of a range.
fn keys(range: &FeedRange) -> Result<KeyRange> {
    if *range == FeedRange::whole() {
        return Ok(KeyRange::full());
    }
    range.0.parse().map_err(|error: CosmosError| {
        Error::new(ErrorKind::InvalidInput, "read feed", range)
            .with_message("not a range of a Cosmos DB container")
            .with_source(error)
    })
}

impl fmt::Debug for CosmosCommitFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosCommitFeed")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CommitFeed for CosmosCommitFeed {
    async fn ranges(&self) -> Result<Vec<FeedRange>> {
        let ranges = self
            .container
            .read_feed_ranges(None)
            .await
            .map_err(|error| from_sdk(error, Access::Read, "list feed ranges", "events"))?;
        Ok(ranges.iter().map(|range| FeedRange(range.to_string())).collect())
    }

    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage> {
        let keys = keys(range)?;
        let failed = |error| read_failed(error, range, after.is_some());
        let mut options = ChangeFeedOptions::default()
            .with_operation_options(wire::operation())
            .with_max_item_count(MaxItemCountHint::Limit(self.page));
        if let Some(after) = after {
            options = options.with_continuation_token(ContinuationToken::from_string(after.0.clone()));
        }
        let parts = self.physical_parts(&keys).await.map_err(failed)?;
        let requests = continuation::requests(&parts, after);
        let mut pages = self
            .container
            .query_change_feed::<Box<RawValue>>(FeedScope::range(keys), ChangeFeedStartFrom::Beginning, Some(options))
            .await
            .map_err(failed)?;
        // They take turns: only when each of them had nothing is there nothing.
        let mut commits = Vec::new();
        let mut behind = Some(0);
        for _ in 0..requests {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(failed)?;
            // The service numbers the writes of a physical partition: what lies between the last one here
            // and the partition's last is yet to come.
            if let Some(last) = page.items().last() {
                let seen = last.metadata().and_then(ChangeFeedMetadata::lsn);
                let seen = seen.and_then(|lsn| u64::try_from(i64::from(lsn)).ok());
                behind = page
                    .headers()
                    .lsn()
                    .zip(seen)
                    .map(|(end, seen)| end.saturating_sub(seen));
            }
            for change in page.items() {
                commits.extend(
                    change
                        .current()
                        .map(|document| parse(document.get()))
                        .transpose()?
                        .flatten(),
                );
            }
            if !commits.is_empty() {
                break;
            }
        }
        let token = pages.to_continuation_token().map_err(failed)?;
        Ok(FeedPage {
            commits,
            continuation: Some(Continuation(token.as_str().to_owned())),
            behind: behind.filter(|_| requests <= 1),
        })
    }

    async fn parts(&self, range: &FeedRange) -> Result<Vec<FeedRange>> {
        let parts = self
            .physical_parts(&keys(range)?)
            .await
            .map_err(|error| from_sdk(error, Access::Read, "list feed ranges", "events"))?;
        // A range within one partition stays what it is, also where that is wider since a merge.
        if parts.len() <= 1 {
            return Ok(vec![range.clone()]);
        }
        Ok(parts.iter().map(|part| FeedRange(part.to_string())).collect())
    }

    async fn position(&self, range: &FeedRange, start: StartFrom) -> Result<Option<Continuation>> {
        let from = match start {
            StartFrom::Beginning => return Ok(None),
            StartFrom::Now => ChangeFeedStartFrom::Now,
            StartFrom::Time(time) => ChangeFeedStartFrom::PointInTime(time),
        };
        let failed = |error| read_failed(error, range, false);
        let keys = keys(range)?;
        let parts = self.physical_parts(&keys).await.map_err(failed)?.len();
        let options = ChangeFeedOptions::default().with_operation_options(wire::operation());
        let mut pages = self
            .container
            .query_change_feed::<Box<RawValue>>(FeedScope::range(keys), from, Some(options))
            .await
            .map_err(failed)?;
        // "Now" is when each part was first asked; the place is in the token only then. A point in time is
        // in the token as it is.
        if start == StartFrom::Now {
            for _ in 0..parts {
                if let Some(page) = pages.next().await {
                    page.map_err(failed)?;
                }
            }
        }
        let token = pages.to_continuation_token().map_err(failed)?;
        Ok(Some(Continuation(token.as_str().to_owned())))
    }
}

/// The commit in a document, or `None` where it is a document of another kind.
fn parse(json: &str) -> Result<Option<Commit>> {
    #[derive(Deserialize)]
    struct Any {
        id: String,
        stream: Option<String>,
    }
    let any: Any = serde_json::from_str(json)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "read feed", "a document without id").with_source(error))?;
    if is_outbox(&any.id) {
        return OutboxDocument::parse(json).map(Some);
    }
    if !is_commit(&any.id) {
        return Ok(None);
    }
    let subject = format!("{}/{}", any.stream.as_deref().unwrap_or("?"), any.id);
    CommitDocument::parse(json, &subject)?.into_commit()
}

fn read_failed(error: CosmosError, range: &FeedRange, resumed: bool) -> Error {
    match status_code(&error) {
        // Partitions that split keep their continuations; one that is refused can't be read on from.
        400 | 410 if resumed => Error::new(ErrorKind::InvalidInput, "read feed", range)
            .with_message(
                "the continuation is not accepted: it is of another container or mode, \
                 or its range is gone; list the ranges again",
            )
            .with_source(error),
        _ => from_sdk(error, Access::Read, "read feed", range),
    }
}
