//! Finding a stream's end, and the commit that holds a version.

use azevents_core::{Commit, Result, StreamId, Version};
use azure_data_cosmos::{CosmosError, FeedScope, Query};
use futures::TryStreamExt;
use serde_json::value::RawValue;

use super::CosmosEventStore;
use crate::doc::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, Tail, commit_id};
use crate::error::{Access, from_sdk};
use crate::{pages, wire};

impl CosmosEventStore {
    /// The last commit's place in the stream, or `None` where the stream has no events.
    pub(super) async fn tail(&self, stream: &StreamId) -> Result<Option<Tail>> {
        let query = "SELECT TOP 1 c.first, c.count FROM c \
                     WHERE c.id >= @from AND c.id < @to ORDER BY c.id DESC";
        let found = self
            .first(stream, bounded(query, COMMIT_PREFIX, END_OF_COMMITS))
            .await?;
        found
            .map(|json| serde_json::from_str(json.get()).map_err(|error| corrupt(stream, error)))
            .transpose()
    }

    /// The last commit that begins at or before `version`; of the whole stream where there is none
    /// given.
    pub(super) async fn commit_at(&self, stream: &StreamId, version: Option<Version>) -> Result<Option<Commit>> {
        let query = "SELECT TOP 1 * FROM c WHERE c.id >= @from AND c.id <= @to ORDER BY c.id DESC";
        let to = version.map_or_else(|| END_OF_COMMITS.to_owned(), commit_id);
        let found = self.first(stream, bounded(query, COMMIT_PREFIX, &to)).await?;
        found
            .map(|json| CommitDocument::parse(json.get(), stream.as_str())?.into_commit())
            .transpose()
    }

    /// All commits that begin at or after `version`.
    pub(super) async fn commits_from(&self, stream: &StreamId, version: Version) -> Result<Vec<Commit>> {
        self.commit_pages(stream, version, None)
            .try_fold(Vec::new(), |mut all, page| async move {
                all.extend(page);
                Ok(all)
            })
            .await
    }

    async fn first(&self, stream: &StreamId, query: Result<Query, CosmosError>) -> Result<Option<Box<RawValue>>> {
        let query = query.map_err(|error| from_sdk(error, Access::Read, "find end", stream))?;
        let scope = FeedScope::partition(stream.as_str().to_owned());
        let mut pages = pages::query(
            self.container.clone(),
            query,
            scope,
            wire::one(),
            "find end",
            stream.to_string(),
        );
        // A page may be empty and still not be the last.
        while let Some(page) = pages.try_next().await? {
            if let Some(document) = page.into_iter().next() {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }
}

/// A query with the bounds `@from` and `@to` of its ids.
pub(super) fn bounded(query: &str, from: &str, to: &str) -> Result<Query, CosmosError> {
    Query::from(query.to_owned())
        .with_parameter("@from", from)?
        .with_parameter("@to", to)
}

fn corrupt(stream: &StreamId, error: serde_json::Error) -> azevents_core::Error {
    azevents_core::Error::new(azevents_core::ErrorKind::Corrupt, "find end", stream).with_source(error)
}
