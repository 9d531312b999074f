//! Marks: which messages have changed documents of a partition.

use std::collections::HashMap;

use azevents_core::{Error, ErrorKind, InboxKey, Result};
use azure_data_cosmos::{FeedScope, Query};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::documents::MARK;
use crate::error::{Access, from_sdk};
use crate::items::Items;
use crate::{ids, pages};

/// A mark as it is written. Its id being taken is what makes a message a copy.
#[derive(Debug, Serialize)]
pub(super) struct NewMark<'a> {
    /// [`mark_id`].
    pub(super) id: &'a str,
    /// The partition key.
    pub(super) partition: &'a str,
    /// [`MARK`]; indexed.
    pub(super) kind: &'static str,
    /// Which `apply` wrote it, so that one whose answer was lost recognises itself.
    pub(super) nonce: Uuid,
    /// Seconds until the service removes it; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl: Option<u64>,
}

impl<'a> NewMark<'a> {
    pub(super) fn new(id: &'a str, partition: &'a str, nonce: Uuid, ttl: Option<u64>) -> Self {
        Self {
            id,
            partition,
            kind: MARK,
            nonce,
            ttl,
        }
    }
}

/// `i|consumer|message`, escaped. Documents' ids never hold a `|`, so none can be taken for a mark.
pub(super) fn mark_id(key: &InboxKey) -> Result<String> {
    let separator = ids::SEPARATOR;
    let (consumer, message) = (ids::escape(&key.consumer), ids::escape(&key.message));
    let id = format!("i{separator}{consumer}{separator}{message}");
    ids::check(&id, "apply update")?;
    Ok(id)
}

/// Which of these marks exist, and which `apply` wrote each.
pub(super) async fn existing(items: &Items, partition: &str, marks: &[&str]) -> Result<HashMap<String, Uuid>> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        nonce: Uuid,
    }
    let what = "read marks";
    let names: Vec<_> = (0..marks.len()).map(|n| format!("@m{n}")).collect();
    let text = format!("SELECT c.id, c.nonce FROM c WHERE c.id IN ({})", names.join(","));
    let mut query = Query::from(text);
    for (name, mark) in names.into_iter().zip(marks) {
        query = query
            .with_parameter(name, mark)
            .map_err(|error| from_sdk(error, Access::Read, what, partition))?;
    }
    let scope = FeedScope::partition(partition.to_owned());
    let rows = pages::query(
        items.container(),
        query,
        scope,
        None,
        what,
        partition.to_owned(),
        items.spending(),
    )
    .try_concat()
    .await?;
    rows.iter()
        .map(|json| {
            let row: Row = serde_json::from_str(json.get())
                .map_err(|error| Error::new(ErrorKind::Corrupt, what, partition).with_source(error))?;
            Ok((row.id, row.nonce))
        })
        .collect()
}
