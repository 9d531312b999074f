//! The documents of a read model as they are stored, and listing them.

use azevents_core::{Document, Error, ErrorKind, Result};
use azure_data_cosmos::{FeedScope, Query};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::items::Items;
use crate::{ids, pages};

/// `kind` of a document; that of a mark is [`MARK`].
pub(super) const DOCUMENT: &str = "document";
/// `kind` of a mark.
pub(super) const MARK: &str = "mark";

/// A document as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct StoredDocument {
    id: String,
    partition: String,
    pub(super) content: Value,
}

/// A document as it is written.
#[derive(Debug, Serialize)]
pub(super) struct NewDocument<'a> {
    /// The document's id, escaped.
    pub(super) id: &'a str,
    /// The partition key.
    pub(super) partition: &'a str,
    /// [`DOCUMENT`]; indexed.
    pub(super) kind: &'static str,
    /// The user's content.
    pub(super) content: &'a Value,
}

impl StoredDocument {
    pub(super) fn into_document(self) -> Document {
        Document {
            partition: self.partition,
            id: ids::unescape(&self.id),
            content: self.content,
        }
    }
}

pub(super) fn list(items: &Items, partition: Option<&str>) -> BoxStream<'static, Result<Document>> {
    let what = "list documents";
    let scope = partition.map_or_else(FeedScope::full_container, |key| FeedScope::partition(key.to_owned()));
    let subject = partition.unwrap_or("all partitions").to_owned();
    let query = format!("SELECT * FROM c WHERE c.kind = '{DOCUMENT}'");
    let pages = pages::query(
        items.container(),
        Query::from(query),
        scope,
        None,
        what,
        subject.clone(),
        items.spending(),
    );
    pages::ahead(pages)
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
        .map(move |json| {
            let document: StoredDocument = serde_json::from_str(json?.get())
                .map_err(|error| Error::new(ErrorKind::Corrupt, what, &subject).with_source(error))?;
            Ok(document.into_document())
        })
        .boxed()
}
