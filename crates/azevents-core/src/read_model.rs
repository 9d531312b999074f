//! Documents that consumers keep, changed exactly once per message.
//!
//! A change and the mark of the message that made it are written in one transaction of the document's
//! partition. A copy of the message finds the mark and changes nothing.

use std::fmt;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::handler::Handled;
use crate::inbox::InboxKey;

type Apply = Box<dyn Fn(Option<&Value>) -> Result<Value, serde_json::Error> + Send + Sync>;

/// What one message does to the documents of one partition.
///
/// ```
/// use azevents_core::{InboxKey, Update};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Revenue { pence: i64 }
///
/// let update = Update::new(InboxKey::new("billing", "message-1"), "United Kingdom")
///     .change("revenue", |revenue: &mut Revenue| revenue.pence += 1530);
/// assert_eq!(update.changes().len(), 1);
/// ```
pub struct Update {
    key: InboxKey,
    partition: String,
    changes: Vec<Change>,
}

impl Update {
    /// An update by the message `key` to documents in `partition`.
    pub fn new(key: InboxKey, partition: impl Into<String>) -> Self {
        Self {
            key,
            partition: partition.into(),
            changes: Vec::new(),
        }
    }

    /// Changes one document. `change` starts from `T::default()` where the document doesn't exist yet,
    /// and is called again on a fresher copy when somebody else was first: it must do nothing but change
    /// what it is given.
    #[must_use]
    pub fn change<T>(mut self, document: impl Into<String>, change: impl Fn(&mut T) + Send + Sync + 'static) -> Self
    where
        T: Default + Serialize + DeserializeOwned,
    {
        self.changes.push(Change {
            document: document.into(),
            apply: Box::new(move |current| {
                let mut state: T = current.map_or_else(|| Ok(T::default()), T::deserialize)?;
                change(&mut state);
                serde_json::to_value(&state)
            }),
        });
        self
    }

    /// The message that makes the changes.
    pub fn key(&self) -> &InboxKey {
        &self.key
    }

    /// The partition that holds the documents, and will hold the mark.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update")
            .field("key", &self.key)
            .field("partition", &self.partition)
            .field("changes", &self.changes)
            .finish()
    }
}

/// A change to one document.
pub struct Change {
    document: String,
    apply: Apply,
}

impl Change {
    /// The document's id within its partition.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// The document after the change, given the one before.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the stored document isn't of the type the change expects.
    pub fn apply(&self, current: Option<&Value>) -> Result<Value> {
        (self.apply)(current)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "change document", &self.document).with_source(e))
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Change").field(&self.document).finish()
    }
}

/// A document of a read model.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its partition.
    pub partition: String,
    /// Its id within the partition.
    pub id: String,
    /// Its content.
    pub content: Value,
}

impl Document {
    /// The content as a type.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], naming the document.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.content).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                "read document",
                format_args!("{}/{}", self.partition, self.id),
            )
            .with_source(e)
        })
    }
}

/// A set of documents kept by consumers.
///
/// # Contract
/// - The changes of an update and the mark of its message become visible together, or not at all.
/// - A second update with the same key and partition changes nothing and returns [`Handled::Duplicate`],
///   also when both run at once.
/// - Updates of one partition that are started one after another are applied in that order.
/// - Cancellation: a dropped `apply` may or may not have happened; repeating it is safe.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// Applies an update once.
    async fn apply(&self, update: Update) -> Result<Handled>;

    /// One document, or `None`.
    async fn get(&self, partition: &str, id: &str) -> Result<Option<Document>>;

    /// All documents of a partition, or of the whole model, in no particular order. Marks are not
    /// documents.
    fn documents(&self, partition: Option<&str>) -> BoxStream<'static, Result<Document>>;
}
