//! Streams in Cosmos DB: one append is one request that creates one immutable document.

mod append;
mod category;
mod create;
mod draft;
mod lifecycle;
mod read;
mod request;
mod snapshots;
mod tail;
mod tenancy;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    AppendOutcome, Commit, CostMeter, CostObserver, EventStore, ExpectedVersion, NewEvent, Nudge, ReadOptions,
    RecordedEvent, Result, StreamHead, StreamId, Version,
};
use azure_data_cosmos::ContainerClient;
use futures::stream::BoxStream;
use serde::de::DeserializeOwned;

pub use request::{Append, Appended};
pub use tenancy::CosmosTenants;
pub(crate) use tenancy::check_name;

use crate::connection::Cosmos;
use crate::doc::{CommitDocument, Extra, Tail, commit_id};
use crate::documents::StoredDocument;
use crate::requests::{On, Requests};
use crate::wire;

/// An [`EventStore`] on a container made by [`ContainerSpec::events`](crate::ContainerSpec::events).
/// Clones share the connection.
///
/// | operation | requests |
/// | --- | --- |
/// | append, `NoStream` or `Head` | 1; 2 on a conflict |
/// | append, `Exact`, `Any` or `StreamExists` | 2; one to find the stream's end |
/// | head, next commit | 1 |
/// | read from the beginning, after a head, or backwards | 1 per page |
/// | read forwards from a version | 1 per page, and 1 to find the commit it lies in |
/// | read backwards from a time | 1 per page, and 1 to find where the stream ended then |
/// | snapshot | 1 |
///
/// A transaction is at most 2 MB and 100 operations, and is refused before it is sent when it is larger.
/// Appending to several streams at once is not possible: a stream is a logical partition, and
/// transactions end there.
#[derive(Clone)]
pub struct CosmosEventStore {
    requests: Requests,
    tenant: Option<Arc<str>>,
    options: Arc<Options>,
}

#[derive(Clone)]
struct Options {
    nudge: Option<Nudge>,
    writer: Option<Arc<str>>,
    commit_bytes: usize,
    ttl: BTreeMap<String, u32>,
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
            requests: Requests::new(container),
            tenant: None,
            options: Arc::new(Options {
                nudge: None,
                writer: None,
                commit_bytes: wire::MAX_BYTES,
                ttl: BTreeMap::new(),
            }),
        }
    }

    /// Rings `nudge` after every commit, so that a relay in this process need not poll for it.
    #[must_use]
    pub fn with_nudge(self, nudge: Nudge) -> Self {
        self.with(|options| options.nudge = Some(nudge))
    }

    /// Notes in every commit who wrote it: a host, a process, a version. Nothing reads it but people.
    #[must_use]
    pub fn with_writer(self, writer: impl Into<Arc<str>>) -> Self {
        self.with(|options| options.writer = Some(writer.into()))
    }

    /// Lets an append that makes a larger document than this become several, in one transaction still.
    /// A document is read and paid for as a whole, so smaller ones suit those who read only a part of a
    /// stream. By default one holds as much as the service takes.
    #[must_use]
    pub fn with_commit_bytes(self, bytes: usize) -> Self {
        self.with(|options| options.commit_bytes = bytes)
    }

    /// Lets the service remove commits and snapshots of a category when they are this old. A stream loses
    /// its oldest events first, and begins anew at version 1 when all are gone. The container must have
    /// time to live switched on, as [`ContainerSpec::events`](crate::ContainerSpec::events) does.
    ///
    /// What a relay has not read by then it will never see.
    #[must_use]
    pub fn with_ttl(self, category: impl Into<String>, ttl: Duration) -> Self {
        self.with(|options| {
            options.ttl.insert(category.into(), wire::ttl_seconds(ttl));
        })
    }

    /// Tells `observer` what every request costs.
    #[must_use]
    pub fn with_costs(mut self, observer: Arc<dyn CostObserver>) -> Self {
        self.requests.costs = self.requests.costs.with(observer);
        self
    }

    /// The same store, and a meter of what is spent through this handle.
    pub fn metered(&self) -> (Self, CostMeter) {
        let meter = CostMeter::new();
        (self.clone().with_costs(Arc::new(meter.clone())), meter)
    }

    /// Appends events with messages and documents, all or nothing, and says what it has cost.
    ///
    /// # Errors
    /// As [`EventStore::append`]; [`Conflict`](azevents_core::ErrorKind::Conflict) or
    /// [`NotFound`](azevents_core::ErrorKind::NotFound), naming it, for a document that isn't as the
    /// caller expected. Nothing is written then.
    pub async fn execute(&self, append: Append) -> Result<Appended> {
        let (store, meter) = self.metered();
        let outcome = store.run(append).await?;
        Ok(Appended {
            outcome,
            cost: meter.total(),
        })
    }

    /// A document that was written beside a stream by [`Append::document`].
    ///
    /// # Errors
    /// [`Corrupt`](azevents_core::ErrorKind::Corrupt) when it isn't a `T`, or what the service reports.
    pub async fn document<T: DeserializeOwned>(
        &self,
        stream: &StreamId,
        id: &str,
    ) -> Result<Option<StoredDocument<T>>> {
        #[derive(serde::Deserialize)]
        struct Wrapped<T> {
            content: T,
        }
        let on = self.on("read document", stream);
        let Some(read) = on.read(&draft::user_id(id)).await? else {
            return Ok(None);
        };
        let corrupt = || on.error(azevents_core::ErrorKind::Corrupt);
        let wrapped: Wrapped<T> = serde_json::from_slice(&read.body).map_err(|error| corrupt().with_source(error))?;
        let etag = read
            .etag
            .ok_or_else(|| corrupt().with_message("the service sent no etag"))?;
        Ok(Some(StoredDocument {
            content: wrapped.content,
            etag: etag.to_string(),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    /// Requests to the stream's partition.
    fn on<'a>(&'a self, operation: &'static str, stream: &'a StreamId) -> On<'a> {
        self.requests.on(self.key(stream), operation, stream.category(), stream)
    }

    /// What goes into every document of a stream.
    fn extra(&self, stream: &StreamId) -> Extra<'_> {
        Extra {
            tenant: self.tenant(),
            writer: self.options.writer.as_deref(),
            ttl: self.options.ttl.get(stream.category()).copied(),
        }
    }
}

impl fmt::Debug for CosmosEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosEventStore")
            .field("tenant", &self.tenant)
            .field("writer", &self.options.writer)
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
        self.run(Append::new(stream.clone(), expected).events(events)).await
    }

    fn read(&self, stream: &StreamId, options: ReadOptions) -> BoxStream<'static, Result<RecordedEvent>> {
        self.read_events(stream, &options)
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        Ok(self.tail(stream).await?.and_then(Tail::head))
    }

    async fn next_commit(&self, stream: &StreamId, head: Option<StreamHead>) -> Result<Option<Commit>> {
        let next = head.map_or(Version::NONE, |head| head.version).next();
        let found = self.on("check state", stream).read(&commit_id(next)).await?;
        let Some(found) = found else { return Ok(None) };
        let text = std::str::from_utf8(&found.body).map_err(|error| {
            let error_of = self.on("check state", stream);
            error_of.error(azevents_core::ErrorKind::Corrupt).with_source(error)
        })?;
        CommitDocument::parse(text, stream.as_str())?.into_commit()
    }
}
