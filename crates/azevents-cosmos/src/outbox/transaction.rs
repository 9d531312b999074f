//! What is to be written together.

use std::fmt;

use azevents_core::{InboxKey, Message, Result};
use serde_json::json;
use uuid::Uuid;

use crate::documents::DocumentWrite;
use crate::ids;

/// Documents, messages and perhaps the mark of the message that is being handled: all or nothing.
///
/// At most 100 operations (one for each document, one for all messages, one for the mark) and 2 MB.
///
/// ```no_run
/// use azevents_core::{InboxKey, Message};
/// use azevents_cosmos::{CosmosOutbox, DocumentWrite, Transaction};
///
/// # async fn doc(outbox: CosmosOutbox, cause: Message, shipped: Message) -> azevents_core::Result<()> {
/// let order = serde_json::json!({ "status": "shipped" });
/// let transaction = Transaction::new("customer-17850")
///     .document(DocumentWrite::upsert("order-536365", &order)?)
///     .message(shipped)
///     .handling(InboxKey::new("shipping", &cause.id));
/// let (committed, cost) = outbox.commit(&transaction).await?;
/// # let _ = (committed, cost);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is written before it is committed"]
pub struct Transaction {
    pub(super) key: Vec<String>,
    /// By which a repetition recognises itself.
    pub(super) id: Uuid,
    pub(super) documents: Vec<DocumentWrite>,
    pub(super) messages: Vec<Message>,
    pub(super) handled: Option<InboxKey>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Written, now or by an earlier attempt.
    Written,
    /// Not written: the message has been [handled](Transaction::handling) by another transaction.
    Duplicate,
}

impl Transaction {
    /// A transaction in the partition `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self::in_partition([key])
    }

    /// A transaction in a partition with a hierarchical key, from the outermost level.
    pub fn in_partition<K: Into<String>>(key: impl IntoIterator<Item = K>) -> Self {
        Self {
            key: key.into_iter().map(Into::into).collect(),
            id: Uuid::new_v4(),
            documents: Vec::new(),
            messages: Vec::new(),
            handled: None,
        }
    }

    /// Adds a change to a document. Its content must be a JSON object; `id` and the partition key are
    /// added to it.
    pub fn document(mut self, document: DocumentWrite) -> Self {
        self.documents.push(document);
        self
    }

    /// Adds a message. Messages with the same key are published in the order in which their transactions
    /// were committed, if these are in one partition.
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Makes this the only effect of an incoming message: of two transactions in the partition that handle
    /// it, whether one after the other or at once, the second is [`Committed::Duplicate`].
    pub fn handling(mut self, message: InboxKey) -> Self {
        self.handled = Some(message);
        self
    }

    pub(super) fn mark(&self) -> Result<Option<DocumentWrite>> {
        let Some(key) = &self.handled else { return Ok(None) };
        let id = format!(
            "azevents-inbox{0}{1}{0}{2}",
            ids::SEPARATOR,
            ids::escape(&key.consumer),
            ids::escape(&key.message)
        );
        DocumentWrite::create(id, &json!({ "transaction": self.id })).map(Some)
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key.join("/"))
    }
}
