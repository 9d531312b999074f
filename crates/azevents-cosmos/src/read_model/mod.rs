//! Documents that consumers keep, changed exactly once per message, many messages per request.
//!
//! A change and the mark of its message go into one transactional batch of the document's partition.
//! One batch per message would cost a round trip each and, where many messages change the same few
//! documents, lose most of them to conflicts. So updates of one partition are *group-committed*: while
//! a batch is on its way, the next updates gather, and then go together.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `queue` | updates waiting per partition, and the worker that serves them |
//! | `worker` | one partition: stage, send, find out what happened |
//! | `stage` | many updates to one batch |
//! | `cache` | the partition's documents as they were last seen |
//! | `marks`, `recent` | which messages have been handled |

mod cache;
mod documents;
mod marks;
mod queue;
mod recent;
mod stage;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{CostObserver, Document, Error, ErrorKind, Handled, ReadModel, Result, RetryPolicy, Update};
use azure_data_cosmos::ContainerClient;
use futures::stream::BoxStream;

use crate::connection::Cosmos;
use crate::ids;
use crate::items::Items;
use documents::StoredDocument;
use queue::Queue;

/// A [`ReadModel`] on a container made by [`ContainerSpec::read_model`](crate::ContainerSpec::read_model).
/// Clones share their workers; instances, in one process or many, work on the same documents and
/// exclude each other by etags.
///
/// Choose partitions so that messages that arrive together share one: a batch stays within a partition,
/// takes at most 100 operations (a mark per message, a document per document), and a partition at most
/// 20 GB and 10,000 request units per second.
///
/// Content is JSON as Cosmos DB keeps it: integers beyond 2^53 lose digits; write such as strings.
#[derive(Clone)]
pub struct CosmosReadModel {
    items: Items,
    queue: Arc<Queue>,
}

/// What workers go by.
#[derive(Debug, Clone)]
struct Options {
    /// How transient errors are retried, within `apply`.
    retry: RetryPolicy,
    /// Seconds after which the service removes a mark.
    mark_ttl: Option<u64>,
}

impl CosmosReadModel {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// A read model in a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        let retry = RetryPolicy::default()
            .with_base(Duration::from_millis(20))
            .with_cap(Duration::from_secs(5))
            .with_retries(8);
        Self::with(Items::new(container), Options { retry, mark_ttl: None })
    }

    fn with(items: Items, options: Options) -> Self {
        Self {
            items: items.clone(),
            queue: Arc::new(Queue::new(items, options)),
        }
    }

    /// Tells `observer` what every request costs.
    #[must_use]
    pub fn with_costs(self, observer: Arc<dyn CostObserver>) -> Self {
        Self::with(self.items.with_costs(observer), self.queue.options().clone())
    }

    /// Sets how transient errors are retried before `apply` returns them; 8 retries up to 5 s unless
    /// set. The SDK has retried by itself before.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        let options = Options {
            retry,
            ..self.queue.options().clone()
        };
        Self::with(self.items, options)
    }

    /// Lets marks expire so long after the message was handled; they are kept forever unless set. A copy
    /// that arrives later than that counts again.
    #[must_use]
    pub fn with_mark_retention(self, retention: Duration) -> Self {
        // The service takes whole seconds from 1 to 2^31 - 1.
        let mark_ttl = Some(retention.as_secs().clamp(1, i32::MAX as u64));
        let options = Options {
            mark_ttl,
            ..self.queue.options().clone()
        };
        Self::with(self.items, options)
    }
}

impl fmt::Debug for CosmosReadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosReadModel")
            .field("options", self.queue.options())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ReadModel for CosmosReadModel {
    async fn apply(&self, update: Update) -> Result<Handled> {
        let key = update.key().clone();
        let outcome = Queue::push(&self.queue, update)?;
        outcome.await.unwrap_or_else(|_| {
            // The runtime is shutting down, and has dropped the worker.
            Err(Error::new(ErrorKind::OutcomeUnknown, "apply update", key)
                .with_message("the worker of its partition was stopped"))
        })
    }

    async fn get(&self, partition: &str, id: &str) -> Result<Option<Document>> {
        let id = ids::escape(id);
        let stored = self
            .items
            .read::<StoredDocument>(partition, &id, "read document")
            .await?;
        Ok(stored.map(|stored| stored.document.into_document()))
    }

    fn documents(&self, partition: Option<&str>) -> BoxStream<'static, Result<Document>> {
        documents::list(&self.items, partition)
    }
}
