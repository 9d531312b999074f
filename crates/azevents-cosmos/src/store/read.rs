//! Reading streams, a page ahead of whoever reads.

use azevents_core::{Direction, ReadOptions, RecordedEvent, Result, StreamHead, StreamId, Version};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use time::OffsetDateTime;

use super::CosmosEventStore;
use super::tail::{bounded, corrupt};
use crate::doc::{self, COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, commit_id};
use crate::pages;

const FORWARDS: &str = "* FROM c WHERE c.id >= @from AND c.id < @to ORDER BY c.id ASC";
const BACKWARDS: &str = "* FROM c WHERE c.id >= @from AND c.id <= @to ORDER BY c.id DESC";

type Pages<T> = BoxStream<'static, Result<Vec<T>>>;

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

    fn forwards(&self, stream: &StreamId, options: &ReadOptions) -> Pages<RecordedEvent> {
        let (limit, until, from) = (options.limit, options.until, options.first());
        let boundary = options
            .after
            .map_or(Version::FIRST, |head: StreamHead| head.version.next());
        if from == boundary {
            return events(self.commit_pages(stream, from, limit), from, until);
        }
        // The version may lie within a commit: its beginning has to be found first.
        let (store, stream) = (self.clone(), stream.clone());
        stream::once(async move {
            let covering = store.commit_at(&stream, Some(from)).await?;
            let next = covering
                .as_ref()
                .map_or(from, |commit| commit.first.plus(commit.count))
                .max(from);
            let rest = store.commit_pages(&stream, next, limit);
            let pages = stream::iter(covering.map(|commit| Ok(vec![commit]))).chain(rest);
            Ok(events(pages.boxed(), from, until))
        })
        .try_flatten()
        .boxed()
    }

    fn backwards(&self, stream: &StreamId, options: &ReadOptions) -> Pages<RecordedEvent> {
        let from = options.from.unwrap_or(Version::new(u64::MAX));
        let (limit, until) = (options.limit, options.until);
        let (store, stream) = (self.clone(), stream.clone());
        stream::once(async move {
            let from = match until {
                None => from,
                Some(until) => store.end_at(&stream, until).await?.map_or(from, |end| end.min(from)),
            };
            // The commit that holds `from` begins at or before it, so the order of ids finds it by itself.
            let documents = store.query_documents(&stream, BACKWARDS, COMMIT_PREFIX, &commit_id(from), limit);
            Ok(documents.map(move |page| {
                let mut events = Vec::new();
                for document in page? {
                    let commit = document.into_commit()?.map(|commit| commit.events).unwrap_or_default();
                    events.extend(commit.into_iter().rev().filter(|event| event.version <= from));
                }
                Ok(events)
            }))
        })
        .try_flatten()
        .boxed()
    }

    /// The version at which the stream ended at a time in the past; `None` where nothing came later.
    async fn end_at(&self, stream: &StreamId, time: OffsetDateTime) -> Result<Option<Version>> {
        #[derive(Deserialize)]
        struct Later {
            first: Version,
        }
        let query = "SELECT TOP 1 c.first FROM c \
                     WHERE c.id >= @from AND c.id < @to AND c.committed_at > @time ORDER BY c.id ASC";
        let Ok(time) = doc::time::text(time) else {
            return Ok(None);
        };
        let query = bounded(query, COMMIT_PREFIX, END_OF_COMMITS).and_then(|query| query.with_parameter("@time", time));
        let mut pages = self.on("read stream", stream).query(query, None);
        while let Some(page) = pages.try_next().await? {
            if let Some(json) = page.first() {
                let later: Later = serde_json::from_str(json.get()).map_err(|error| corrupt(stream, error))?;
                return Ok(Some(Version::new(later.first.get().saturating_sub(1))));
            }
        }
        Ok(None)
    }

    /// The documents of commits that begin at or after `from`, in order, and the mark of a closed stream.
    pub(super) fn document_pages(&self, stream: &StreamId, from: Version) -> Pages<CommitDocument> {
        self.commit_pages(stream, from, None)
    }

    /// At most `limit` of them: a commit holds at least one event.
    fn commit_pages(&self, stream: &StreamId, from: Version, limit: Option<usize>) -> Pages<CommitDocument> {
        self.query_documents(stream, FORWARDS, &commit_id(from), END_OF_COMMITS, limit)
    }

    fn query_documents(
        &self,
        stream: &StreamId,
        query: &str,
        from: &str,
        to: &str,
        limit: Option<usize>,
    ) -> Pages<CommitDocument> {
        let text = match limit {
            // One more, for the mark of a closed stream.
            Some(limit) => format!("SELECT TOP {} {query}", limit.saturating_add(1)),
            None => format!("SELECT {query}"),
        };
        let subject = stream.to_string();
        self.on("read stream", stream)
            .query(bounded(&text, from, to), None)
            .map(move |page| {
                page?
                    .iter()
                    .map(|json| CommitDocument::parse(json.get(), &subject))
                    .collect()
            })
            .boxed()
    }
}

/// The events from `from` on, up to the first commit that was made after `until`.
fn events(pages: Pages<CommitDocument>, from: Version, until: Option<OffsetDateTime>) -> Pages<RecordedEvent> {
    let pages = pages.scan(false, move |over, page| {
        if *over {
            return futures::future::ready(None);
        }
        let page = page.and_then(|documents| {
            let mut events = Vec::new();
            for document in documents {
                if until.is_some_and(|until| document.committed_at > until) {
                    *over = true;
                    break;
                }
                let commit = document.into_commit()?.map(|commit| commit.events).unwrap_or_default();
                events.extend(commit.into_iter().filter(|event| event.version >= from));
            }
            Ok(events)
        });
        futures::future::ready(Some(page))
    });
    pages.boxed()
}
