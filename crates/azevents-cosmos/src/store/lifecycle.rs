//! Truncating, closing and deleting streams.
//!
//! No document says what a stream may still do, for then every reader and appender would have to read
//! it. What is truncated is deleted, commit by commit from the beginning, so that readers find the rest.
//! What closes a stream stands where its next commit would: the appender's own create runs into it.

use async_trait::async_trait;
use azevents_core::{
    Closing, Error, ErrorKind, ExpectedVersion, Result, StreamHead, StreamId, StreamLifecycle, Version,
};
use azure_data_cosmos::Query;
use futures::TryStreamExt;
use serde::Deserialize;

use super::CosmosEventStore;
use super::append::LOST_TURN;
use super::tail::{bounded, corrupt};
use crate::doc::{COMMIT_PREFIX, CommitDocument, Tail, commit_id, time};
use crate::error::{Access, from_sdk, kind_of_status};
use crate::wire;

/// How often somebody else may delete the same documents in between.
const TURNS: usize = 20;

#[derive(Deserialize)]
struct Place {
    id: String,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    truncated: bool,
}

#[async_trait]
impl StreamLifecycle for CosmosEventStore {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64> {
        let Some(tail) = self.tail(stream).await? else {
            return Ok(0);
        };
        // The last commit stays: its end is the stream's. A closed stream's end is in the mark.
        let end = match tail.head() {
            Some(head) if !tail.is_closed() => before.min(head.last_commit),
            _ => before,
        };
        let mut gone = 0;
        loop {
            let query = "SELECT TOP 100 c.id, c.count FROM c \
                         WHERE c.id >= @from AND c.id < @to AND c.count > 0 \
                         AND c.first + c.count <= @before ORDER BY c.id ASC";
            let query = bounded(query, COMMIT_PREFIX, &commit_id(end))
                .and_then(|query| query.with_parameter("@before", before.get()));
            let places = self.places(stream, query).await?;
            if places.is_empty() {
                return Ok(gone);
            }
            // Without its first commit a stream would begin anew for who expects none. Where commits expire
            // that can't be helped, and who expects none looks first.
            let stub =
                places.iter().any(|place| place.id == commit_id(Version::FIRST)) && self.extra(stream).ttl.is_none();
            if self.delete_together(stream, &places, stub).await? {
                gone += places.iter().map(|place| place.count).sum::<u64>();
            }
        }
    }

    async fn close(&self, stream: &StreamId, expected: ExpectedVersion) -> Result<Closing> {
        self.check_key(stream)?;
        loop {
            let tail = self.tail(stream).await?;
            let head = tail.and_then(Tail::head);
            if tail.is_some_and(Tail::is_closed) {
                return Ok(Closing::Closed(head));
            }
            if !expected.accepts(head.map_or(Version::NONE, |head| head.version)) {
                return Ok(Closing::Conflict(head));
            }
            // Lost to an appender, or to an earlier attempt of the same: the next turn tells.
            if wire::settled("close", || self.mark_closed(stream, head)).await? {
                return Ok(Closing::Closed(head));
            }
            tokio::time::sleep(wire::jittered(LOST_TURN)).await;
        }
    }

    async fn delete(&self, stream: &StreamId) -> Result<()> {
        // The mark stays, and so does the first commit's place, for nobody may append here again.
        let head = match self.close(stream, ExpectedVersion::Any).await? {
            Closing::Closed(head) | Closing::Conflict(head) => head,
        };
        let mark = commit_id(head.map_or(Version::NONE, |head| head.version).next());
        loop {
            // One more than a batch takes, for the emptied first commit may be among them.
            let query = "SELECT TOP 101 c.id, c.truncated FROM c WHERE c.id != @mark";
            let query = Query::from(query).with_parameter("@mark", &mark);
            let places = self.places(stream, query).await?;
            if places.is_empty() {
                return Ok(());
            }
            self.delete_together(stream, &places, true).await?;
        }
    }
}

impl CosmosEventStore {
    /// Whether the stream ended at `head` and is closed now.
    async fn mark_closed(&self, stream: &StreamId, head: Option<StreamHead>) -> Result<bool> {
        let on = self.on("close", stream);
        let document = CommitDocument::closing(stream, head, time::now(), self.extra(stream));
        let bytes = wire::json_len(&document).map_err(|error| on.error(ErrorKind::InvalidInput).with_source(error))?;
        let Some(head) = head else {
            return on.create(&document.id, &document, bytes).await;
        };
        let batch = on
            .new_batch()
            .read_item(commit_id(head.last_commit), None)
            .create_item(&document)
            .map_err(|error| from_sdk(error, Access::Read, "close", stream))?;
        let answer = on.batch(batch, 2, bytes).await?;
        match wire::failure(&answer) {
            None => Ok(true),
            Some((0, 404) | (1, 409)) => Ok(false),
            Some((index, status)) => Err(on
                .error(kind_of_status(status, Access::Write))
                .with_message(format!("operation {index} of the batch answered {status}"))),
        }
    }

    /// Up to a batch's worth of documents.
    async fn places(
        &self,
        stream: &StreamId,
        query: Result<Query, azure_data_cosmos::CosmosError>,
    ) -> Result<Vec<Place>> {
        let mut pages = self.on("find documents", stream).query(query, None);
        let mut places = Vec::new();
        while let Some(page) = pages.try_next().await? {
            for json in page {
                places.push(serde_json::from_str(json.get()).map_err(|error| corrupt(stream, error))?);
            }
        }
        places.retain(|place: &Place| !place.truncated);
        places.truncate(wire::MAX_BATCH_OPERATIONS);
        Ok(places)
    }

    /// Deletes documents, all or none; `false` where one of them was gone already. With `stub` the first
    /// commit is emptied instead.
    async fn delete_together(&self, stream: &StreamId, places: &[Place], stub: bool) -> Result<bool> {
        let on = self.on("delete documents", stream);
        let empty = CommitDocument::stub(stream, time::now(), self.extra(stream));
        for _ in 0..TURNS {
            let mut batch = on.new_batch();
            for place in places {
                batch = if stub && place.id == empty.id {
                    batch
                        .replace_item(place.id.clone(), &empty, None)
                        .map_err(|error| from_sdk(error, Access::Read, "delete documents", stream))?
                } else {
                    batch.delete_item(place.id.clone(), None)
                };
            }
            let answer = match on.batch(batch, places.len(), 0).await {
                Ok(answer) => answer,
                Err(error) if error.is_transient() => {
                    let wait = error.retry_after().unwrap_or_else(|| wire::jittered(LOST_TURN));
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            return match wire::failure(&answer) {
                None => Ok(true),
                Some((_, 404)) => Ok(false),
                Some((index, status)) => Err(on
                    .error(kind_of_status(status, Access::Write))
                    .with_message(format!("operation {index} of the batch answered {status}"))),
            };
        }
        Err(Error::new(ErrorKind::Unavailable, "delete documents", stream)
            .with_message(format!("no answer {TURNS} times; repeat it to finish")))
    }
}
