//! The outbox of services that keep state instead of events.
//!
//! The service's documents and the messages about them are written in one transaction of the
//! documents' partition. A relay on the same container publishes the messages; there is no second write
//! that could be lost, and no table to poll.

mod transaction;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Cost, CostMeter, CostObserver, Error, ErrorKind, Nudge, Result};
use azure_data_cosmos::{ContainerClient, PartitionKey};
use serde_json::Value;

pub use transaction::{Committed, Transaction};

use crate::connection::Cosmos;
use crate::doc::{OutboxDocument, outbox_id};
use crate::error::{Access, from_sdk, kind_of_status};
use crate::requests::Requests;
use crate::{ids, wire};

const WHAT: &str = "commit transaction";
/// How long messages are kept unless set otherwise: longer than any relay should be down.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Writes documents with their messages to a container of the user's. Clones share the connection.
///
/// Publish with a [`Relay`](azevents_core::Relay) on a [`CosmosCommitFeed`](crate::CosmosCommitFeed) of
/// the same container; other documents in it are left alone.
///
/// The partition key must consist of strings. Time to live must be switched on in the container for
/// messages to be removed some day.
#[derive(Clone)]
pub struct CosmosOutbox {
    requests: Requests,
    /// The properties of the partition key, from the outermost level.
    paths: Arc<[String]>,
    retention: Option<Duration>,
    nudge: Option<Nudge>,
}

impl CosmosOutbox {
    /// Opens a container that exists, and reads what its partition key is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't exist.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Self::new(cosmos.container(container).await?).await
    }

    /// An outbox in a container that was opened elsewhere; reads what its partition key is.
    ///
    /// # Errors
    /// What the service reports.
    pub async fn new(container: ContainerClient) -> Result<Self> {
        let failed = |error| from_sdk(error, Access::Read, "open container", "outbox");
        let answer = container.read(None).await.map_err(failed)?;
        let properties = answer.into_model().map_err(failed)?;
        let paths = properties.partition_key.paths();
        Ok(Self {
            requests: Requests::new(container),
            paths: paths
                .iter()
                .map(|path| path.trim_start_matches('/').to_owned())
                .collect(),
            retention: Some(RETENTION),
            nudge: None,
        })
    }

    /// Sets how long messages are kept; 30 days unless set, for ever with `None`. A relay that was down
    /// for longer has lost them.
    #[must_use]
    pub fn with_retention(mut self, retention: Option<Duration>) -> Self {
        self.retention = retention;
        self
    }

    /// Rings `nudge` after every commit with messages, so that a relay in this process need not poll.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.nudge = Some(nudge);
        self
    }

    /// Tells `observer` what every request costs.
    #[must_use]
    pub fn with_costs(mut self, observer: Arc<dyn CostObserver>) -> Self {
        self.requests.costs = self.requests.costs.with(observer);
        self
    }

    /// Writes everything in a transaction, or nothing. Repeating the same transaction (a clone of it)
    /// changes nothing.
    ///
    /// # Cancellation
    /// A dropped call may or may not have happened; repeat the transaction to find out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] or [`ErrorKind::TooLarge`], with sizes, before anything is sent;
    /// [`ErrorKind::Conflict`] or [`ErrorKind::NotFound`], naming it, for a document that isn't as the
    /// caller expected.
    pub async fn commit(&self, transaction: &Transaction) -> Result<(Committed, Cost)> {
        let meter = CostMeter::new();
        let metered = Self {
            requests: Requests {
                container: self.requests.container.clone(),
                costs: self.requests.costs.with(Arc::new(meter.clone())),
            },
            ..self.clone()
        };
        let committed = metered.write(transaction).await?;
        if let (Committed::Written, false, Some(nudge)) = (committed, transaction.messages.is_empty(), &self.nudge) {
            nudge.ring();
        }
        Ok((committed, meter.total()))
    }

    async fn write(&self, transaction: &Transaction) -> Result<Committed> {
        let key = &transaction.key;
        if key.len() != self.paths.len() {
            return Err(
                Error::new(ErrorKind::InvalidInput, WHAT, transaction).with_message(format!(
                    "a partition key of {} level(s), but the container's has {}: {}",
                    key.len(),
                    self.paths.len(),
                    self.paths.join(", ")
                )),
            );
        }
        let key_bytes: usize = key.iter().map(String::len).sum();
        if key_bytes > wire::MAX_KEY_BYTES {
            return Err(
                Error::new(ErrorKind::InvalidInput, WHAT, transaction).with_message(format!(
                    "a partition key of {key_bytes} bytes, but Cosmos DB takes at most {}",
                    wire::MAX_KEY_BYTES
                )),
            );
        }
        let values = match key.as_slice() {
            [one] => PartitionKey::from(one.clone()),
            [one, two] => PartitionKey::from((one.clone(), two.clone())),
            [one, two, three] => PartitionKey::from((one.clone(), two.clone(), three.clone())),
            _ => return Err(Error::new(ErrorKind::InvalidInput, WHAT, transaction).with_message("1 to 3 levels")),
        };
        let operations = self.operations(transaction)?;
        let bytes = operations
            .iter()
            .map(|operation| operation.bytes + wire::OPERATION_BYTES)
            .sum();
        check(transaction, operations.len(), bytes)?;
        let on = self.requests.on(values, WHAT, "", transaction);
        wire::settled(WHAT, || async {
            let mut batch = on.new_batch();
            for operation in &operations {
                batch = operation.add_to(batch)?;
            }
            let answer = on.batch(batch, operations.len(), bytes).await?;
            match wire::failure(&answer) {
                // The messages come first, under an id of this transaction's own: it was written before.
                None | Some((0, 409)) => Ok(Committed::Written),
                Some((1, 409)) if transaction.handled.is_some() => Ok(Committed::Duplicate),
                Some((index, status)) => Err(operations.get(index).map_or_else(
                    || on.error(kind_of_status(status, Access::Write)),
                    |operation| operation.refused(status, WHAT),
                )),
            }
        })
        .await
    }

    /// Messages, mark, documents.
    fn operations(&self, transaction: &Transaction) -> Result<Vec<crate::documents::Operation>> {
        let wrap = |id: &str, content: &Value| self.place(transaction, id, content);
        let ttl = self.retention.map(wire::ttl_seconds);
        let messages = OutboxDocument::new(outbox_id(transaction.id), &transaction.messages, ttl);
        let mut operations = vec![
            crate::documents::DocumentWrite::create(messages.id.clone(), &messages)?
                .operation(messages.id.clone(), wrap)?,
        ];
        if let Some(mark) = transaction.mark()? {
            let id = mark.id().to_owned();
            operations.push(mark.operation(id, wrap)?);
        }
        for document in &transaction.documents {
            ids::check_plain(document.id(), WHAT)?;
            operations.push(document.operation(document.id().to_owned(), wrap)?);
        }
        Ok(operations)
    }

    /// A document with its id and the partition key in it.
    fn place(&self, transaction: &Transaction, id: &str, content: &Value) -> Result<Value> {
        let refuse = |why: String| {
            Err(Error::new(ErrorKind::InvalidInput, WHAT, format_args!("document {id}")).with_message(why))
        };
        let Value::Object(mut object) = content.clone() else {
            return refuse("its content is no JSON object".into());
        };
        if object.insert("id".into(), id.into()).is_some_and(|given| given != id) {
            return refuse("its content has another id".into());
        }
        for (path, value) in self.paths.iter().zip(&transaction.key) {
            let mut place = &mut object;
            let (levels, last) = path.rsplit_once('/').unwrap_or(("", path));
            for level in levels.split('/').filter(|level| !level.is_empty()) {
                let inner = place
                    .entry(level)
                    .or_insert_with(|| Value::Object(serde_json::Map::new()));
                let Value::Object(inner) = inner else {
                    return refuse(format!(
                        "{level} is no object, but lies on the way to the partition key {path}"
                    ));
                };
                place = inner;
            }
            if place
                .insert(last.into(), value.as_str().into())
                .is_some_and(|given| given != value.as_str())
            {
                return refuse(format!("its {path} is not the transaction's, {value:?}"));
            }
        }
        Ok(Value::Object(object))
    }
}

impl fmt::Debug for CosmosOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosOutbox")
            .field("partition_key", &self.paths)
            .finish_non_exhaustive()
    }
}

fn check(transaction: &Transaction, operations: usize, bytes: usize) -> Result<()> {
    let refuse = |why: String| Err(Error::new(ErrorKind::TooLarge, WHAT, transaction).with_message(why));
    if operations > wire::MAX_BATCH_OPERATIONS {
        return refuse(format!(
            "{operations} operations, messages and mark included, but a transaction takes at most {}",
            wire::MAX_BATCH_OPERATIONS
        ));
    }
    let limit = wire::MAX_BYTES - wire::ENVELOPE_BYTES;
    if bytes > limit {
        return refuse(format!("{bytes} bytes, but a transaction takes at most {limit}"));
    }
    Ok(())
}
