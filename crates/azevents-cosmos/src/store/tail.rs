//! Finding a stream's end, and the commit that holds a version.

use azevents_core::{Commit, EventId, Result, StreamId, Version};
use azure_data_cosmos::{CosmosError, Query};
use futures::TryStreamExt;
use serde_json::value::RawValue;

use super::CosmosEventStore;
use crate::doc::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, Tail, commit_id};
use crate::wire;

/// What stands in a stream from some version on.
pub(super) struct Following {
    /// In order.
    pub(super) commits: Vec<Commit>,
    /// Whether the stream ends for good after them.
    pub(super) closed: bool,
}

impl Following {
    /// The commits that begin here and hold exactly these events, as one.
    pub(super) fn held(&self, ids: &[EventId]) -> Option<Commit> {
        let mut found: Option<Commit> = None;
        for commit in &self.commits {
            let sum = match &mut found {
                None => found.insert(commit.clone()),
                Some(sum) => {
                    sum.events.extend(commit.events.iter().cloned());
                    sum.outbox.extend(commit.outbox.iter().cloned());
                    sum
                }
            };
            if sum.events.len() >= ids.len() {
                break;
            }
        }
        found.filter(|found| found.events.iter().map(|event| event.id).eq(ids.iter().copied()))
    }
}

impl CosmosEventStore {
    /// The last commit's place in the stream, or the mark that closes it; `None` where there is neither.
    pub(super) async fn tail(&self, stream: &StreamId) -> Result<Option<Tail>> {
        let query = "SELECT TOP 1 c.first, c.count, c.closes FROM c \
                     WHERE c.id >= @from AND c.id < @to ORDER BY c.id DESC";
        let found = self
            .first(stream, bounded(query, COMMIT_PREFIX, END_OF_COMMITS))
            .await?;
        found
            .map(|json| serde_json::from_str(json.get()).map_err(|error| corrupt(stream, error)))
            .transpose()
    }

    /// The last commit document that begins at or before `version`; of the whole stream where there is
    /// none given.
    pub(super) async fn commit_at(
        &self,
        stream: &StreamId,
        version: Option<Version>,
    ) -> Result<Option<CommitDocument>> {
        let query = "SELECT TOP 1 * FROM c WHERE c.id >= @from AND c.id <= @to ORDER BY c.id DESC";
        let to = version.map_or_else(|| END_OF_COMMITS.to_owned(), commit_id);
        let found = self.first(stream, bounded(query, COMMIT_PREFIX, &to)).await?;
        found
            .map(|json| CommitDocument::parse(json.get(), stream.as_str()))
            .transpose()
    }

    /// All commits that begin at or after `version`.
    pub(super) async fn following(&self, stream: &StreamId, version: Version) -> Result<Following> {
        let nothing = Following {
            commits: Vec::new(),
            closed: false,
        };
        self.document_pages(stream, version)
            .try_fold(nothing, |mut following, page| async move {
                for document in page {
                    following.closed |= document.closes.is_some();
                    following.commits.extend(document.into_commit()?);
                }
                Ok(following)
            })
            .await
    }

    async fn first(&self, stream: &StreamId, query: Result<Query, CosmosError>) -> Result<Option<Box<RawValue>>> {
        let mut pages = self.on("find end", stream).query(query, wire::one());
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

pub(super) fn corrupt(stream: &StreamId, error: serde_json::Error) -> azevents_core::Error {
    azevents_core::Error::new(azevents_core::ErrorKind::Corrupt, "find end", stream).with_source(error)
}
