//! Documents of the user's own that are written in the same transaction as events or messages.

use azevents_core::{Error, ErrorKind, Result};
use azure_core::http::Etag;
use azure_data_cosmos::TransactionalBatch;
use azure_data_cosmos::options::{BatchDeleteOptions, BatchReplaceOptions, Precondition};
use serde::Serialize;
use serde_json::Value;

use crate::doc::{MAX_NESTING, depth};
use crate::error::{Access, from_sdk};
use crate::{ids, wire};

/// One change to a document, to be made together with others or not at all.
///
/// ```
/// use azevents_cosmos::DocumentWrite;
///
/// # fn doc() -> azevents_core::Result<()> {
/// let balance = DocumentWrite::upsert("balance", &serde_json::json!({ "pence": 1530 }))?;
/// assert_eq!(balance.id(), "balance");
/// # Ok(())
/// # }
/// # doc().unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct DocumentWrite {
    id: String,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Create(Value),
    Upsert(Value),
    Replace(Value, Option<String>),
    Delete(Option<String>),
}

impl DocumentWrite {
    /// A document that must not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for content without a JSON form; so for all of these.
    pub fn create<T: Serialize + ?Sized>(id: impl Into<String>, content: &T) -> Result<Self> {
        Self::new(id.into(), content, Change::Create)
    }

    /// A document that may exist or not.
    pub fn upsert<T: Serialize + ?Sized>(id: impl Into<String>, content: &T) -> Result<Self> {
        Self::new(id.into(), content, Change::Upsert)
    }

    /// A document that must exist; with an etag, as it was when that was read.
    pub fn replace<T: Serialize + ?Sized>(id: impl Into<String>, content: &T, etag: Option<&str>) -> Result<Self> {
        let etag = etag.map(str::to_owned);
        Self::new(id.into(), content, |content| Change::Replace(content, etag))
    }

    /// Removes a document that must exist; with an etag, as it was when that was read.
    pub fn delete(id: impl Into<String>, etag: Option<&str>) -> Self {
        Self {
            id: id.into(),
            change: Change::Delete(etag.map(str::to_owned)),
        }
    }

    fn new<T: Serialize + ?Sized>(id: String, content: &T, change: impl FnOnce(Value) -> Change) -> Result<Self> {
        let content = serde_json::to_value(content)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, "encode document", &id).with_source(error))?;
        Ok(Self {
            id,
            change: change(content),
        })
    }

    /// The document's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The change as it is sent: under the id `id`, the content in the document that `wrap` makes of it.
    pub(crate) fn operation(&self, id: String, wrap: impl Fn(&str, &Value) -> Result<Value>) -> Result<Operation> {
        ids::check(&id, "write document")?;
        let wrapped = match &self.change {
            Change::Create(content) | Change::Upsert(content) | Change::Replace(content, _) => wrap(&id, content)?,
            Change::Delete(_) => Value::Null,
        };
        let text = wrapped.to_string();
        let levels = depth(&text);
        if levels > MAX_NESTING {
            return Err(
                Error::new(ErrorKind::InvalidInput, "write document", &self.id).with_message(format!(
                    "nested {levels} levels deep, but Cosmos DB takes at most {MAX_NESTING}"
                )),
            );
        }
        if text.len() > wire::MAX_BYTES {
            return Err(
                Error::new(ErrorKind::TooLarge, "write document", &self.id).with_message(format!(
                    "{} bytes, but Cosmos DB takes at most {} in a document",
                    text.len(),
                    wire::MAX_BYTES
                )),
            );
        }
        let etag_len = match &self.change {
            Change::Replace(_, etag) | Change::Delete(etag) => etag.as_ref().map_or(0, String::len),
            Change::Create(_) | Change::Upsert(_) => 0,
        };
        let change = match &self.change {
            Change::Create(_) => Change::Create(wrapped),
            Change::Upsert(_) => Change::Upsert(wrapped),
            Change::Replace(_, etag) => Change::Replace(wrapped, etag.clone()),
            Change::Delete(etag) => Change::Delete(etag.clone()),
        };
        Ok(Operation {
            name: self.id.clone(),
            id,
            change,
            bytes: text.len() + self.id.len() + etag_len,
        })
    }
}

/// A change that has been looked over, and its size.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// The user's id, for errors.
    pub(crate) name: String,
    id: String,
    change: Change,
    /// Length of its JSON, its id and its etag.
    pub(crate) bytes: usize,
}

impl Operation {
    pub(crate) fn add_to(&self, batch: TransactionalBatch) -> Result<TransactionalBatch> {
        let matching = |etag: &Option<String>| etag.clone().map(|etag| Precondition::IfMatch(Etag::from(etag)));
        match &self.change {
            Change::Create(document) => batch.create_item(document),
            Change::Upsert(document) => batch.upsert_item(document, None),
            Change::Replace(document, etag) => {
                let options = matching(etag).map(|match_| BatchReplaceOptions::default().with_precondition(match_));
                batch.replace_item(self.id.clone(), document, options)
            }
            Change::Delete(etag) => {
                let options = matching(etag).map(|match_| BatchDeleteOptions::default().with_precondition(match_));
                Ok(batch.delete_item(self.id.clone(), options))
            }
        }
        .map_err(|error| from_sdk(error, Access::Read, "write document", &self.name))
    }

    /// What it means that the service refused this operation, and with it all others.
    pub(crate) fn refused(&self, status: u16, operation: &'static str) -> Error {
        let (kind, why) = match (status, &self.change) {
            (409, _) => (ErrorKind::Conflict, "a document with this id exists already"),
            (412, _) => (ErrorKind::Conflict, "the document was changed since its etag was read"),
            (404, _) => (ErrorKind::NotFound, "there is no such document"),
            (413, _) => (ErrorKind::TooLarge, "the document is too large"),
            _ => (
                crate::error::kind_of_status(status, Access::Write),
                "refused by the service",
            ),
        };
        Error::new(kind, operation, format_args!("document {}", self.name))
            .with_message(format!("{why} ({status}); nothing was written"))
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument<T> {
    /// What was written.
    pub content: T,
    /// Changes with every write: for [`DocumentWrite::replace`].
    pub etag: String,
}
