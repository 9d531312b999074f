//! Reading streams, a page ahead of whoever reads.

use azevents_core::{Commit, Direction, ReadOptions, RecordedEvent, Result, StreamId, Version};
use azure_data_cosmos::FeedScope;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::CosmosEventStore;
use super::tail::bounded;
use crate::doc::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, commit_id};
use crate::error::{Access, from_sdk};
use crate::pages;

const FORWARDS: &str = "* FROM c WHERE c.id >= @from AND c.id < @to ORDER BY c.id ASC";
const BACKWARDS: &str = "* FROM c WHERE c.id >= @from AND c.id <= @to ORDER BY c.id DESC";

impl CosmosEventStore {
    pub(super) fn read_events(
        &self,
        stream: &StreamId,
        options: &ReadOptions,
    ) -> BoxStream<'static, Result<RecordedEvent>> {
        let limit = options.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return stream::empty().boxed();
        }
        let pages = match options.direction {
            Direction::Forwards => self.forwards(stream, options),
            Direction::Backwards => self.backwards(stream, options),
        };
        pages::ahead(pages)
            .map_ok(|events| stream::iter(events.into_iter().map(Ok)))
            .try_flatten()
            .take(limit)
            .boxed()
    }

    fn forwards(&self, stream: &StreamId, options: &ReadOptions) -> BoxStream<'static, Result<Vec<RecordedEvent>>> {
        let limit = options.limit;
        match options.from {
            None | Some(Version::NONE | Version::FIRST) => {
                self.commit_pages(stream, Version::FIRST, limit).map_ok(events).boxed()
            }
            // The version may lie within a commit: its beginning has to be found first.
            Some(from) => {
                let (store, stream) = (self.clone(), stream.clone());
                stream::once(async move {
                    let covering = store.commit_at(&stream, Some(from)).await?;
                    let next = covering
                        .as_ref()
                        .map_or(from, |commit| commit.head().version.next())
                        .max(from);
                    let begun: Vec<_> = covering
                        .into_iter()
                        .flat_map(|commit| commit.events)
                        .filter(|event| event.version >= from)
                        .collect();
                    let rest = store.commit_pages(&stream, next, limit).map_ok(events);
                    Ok(stream::iter([Ok(begun)]).chain(rest))
                })
                .try_flatten()
                .boxed()
            }
        }
    }

    fn backwards(&self, stream: &StreamId, options: &ReadOptions) -> BoxStream<'static, Result<Vec<RecordedEvent>>> {
        let from = options.from.unwrap_or(Version::new(u64::MAX));
        // The commit that holds `from` begins at or before it, so the order of ids finds it by itself.
        self.query_commits(stream, BACKWARDS, COMMIT_PREFIX, &commit_id(from), options.limit)
            .map_ok(move |commits| {
                let mut page = Vec::new();
                for commit in commits {
                    page.extend(commit.events.into_iter().rev().filter(|event| event.version <= from));
                }
                page
            })
            .boxed()
    }

    /// Commits that begin at or after `from`, in order. At most `limit` of them: a commit holds at least
    /// one event.
    pub(super) fn commit_pages(
        &self,
        stream: &StreamId,
        from: Version,
        limit: Option<usize>,
    ) -> BoxStream<'static, Result<Vec<Commit>>> {
        self.query_commits(stream, FORWARDS, &commit_id(from), END_OF_COMMITS, limit)
    }

    fn query_commits(
        &self,
        stream: &StreamId,
        query: &str,
        from: &str,
        to: &str,
        limit: Option<usize>,
    ) -> BoxStream<'static, Result<Vec<Commit>>> {
        let text = match limit {
            Some(limit) => format!("SELECT TOP {limit} {query}"),
            None => format!("SELECT {query}"),
        };
        let query = match bounded(&text, from, to) {
            Ok(query) => query,
            Err(error) => {
                let error = from_sdk(error, Access::Read, "read stream", stream);
                return stream::iter([Err(error)]).boxed();
            }
        };
        let scope = FeedScope::partition(stream.as_str().to_owned());
        let subject = stream.to_string();
        pages::query(
            self.container.clone(),
            query,
            scope,
            None,
            "read stream",
            subject.clone(),
        )
        .map(move |page| {
            page?
                .iter()
                .map(|json| CommitDocument::parse(json.get(), &subject)?.into_commit())
                .collect()
        })
        .boxed()
    }
}

fn events(commits: Vec<Commit>) -> Vec<RecordedEvent> {
    commits.into_iter().flat_map(|commit| commit.events).collect()
}
