//! Streams in Cosmos DB: one append is one request that creates one immutable document.

mod append;
mod create;
mod read;
mod tail;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{
    AppendOutcome, EventStore, ExpectedVersion, NewEvent, Nudge, ReadOptions, RecordedEvent, Result, StreamHead,
    StreamId,
};
use azure_data_cosmos::ContainerClient;
use futures::stream::BoxStream;

use crate::connection::Cosmos;
use crate::doc::Tail;

/// An [`EventStore`] on a container made by [`ContainerSpec::events`](crate::ContainerSpec::events).
/// Clones share the connection.
///
/// | operation | requests |
/// | --- | --- |
/// | append, `NoStream` or `Head` | 1; 2 on a conflict |
/// | append, `Exact`, `Any` or `StreamExists` | 2; one to find the stream's end |
/// | head | 1 |
/// | read from the beginning or backwards | 1 per page |
/// | read forwards from a version | 1 per page, and 1 to find the commit it lies in |
///
/// A commit is at most 2 MB, and is refused before it is sent when it is larger. Appending to several
/// streams at once is not possible: a stream is a logical partition, and transactions end there.
#[derive(Clone)]
pub struct CosmosEventStore {
    container: ContainerClient,
    nudge: Option<Nudge>,
    writer: Option<Arc<str>>,
}

impl CosmosEventStore {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`NotFound`](azevents_core::ErrorKind::NotFound) when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// A store on a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        Self {
            container,
            nudge: None,
            writer: None,
        }
    }

    /// Rings `nudge` after every commit, so that a relay in this process need not poll for it.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    /// Notes in every commit who wrote it: a host, a process, a version. Nothing reads it but people.
    #[must_use]
    pub fn with_writer(mut self, writer: impl Into<Arc<str>>) -> Self {
        self.writer = Some(writer.into());
        self
    }
}

impl fmt::Debug for CosmosEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosEventStore")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for CosmosEventStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome> {
        self.append_events(stream, expected, events).await
    }

    fn read(&self, stream: &StreamId, options: ReadOptions) -> BoxStream<'static, Result<RecordedEvent>> {
        self.read_events(stream, &options)
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        Ok(self.tail(stream).await?.map(Tail::head))
    }
}
