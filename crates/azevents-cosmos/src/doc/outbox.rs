//! The outbox document: messages that were committed with a user's own documents.

use azevents_core::{Commit, Error, ErrorKind, Message, Result, StreamId, Version};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::message::MessageDocument;
use crate::ids;

const OUTBOX_PREFIX: &str = "azevents-outbox";
/// Stands in for a stream in the feed, where a service keeps none.
const STREAM: &str = "outbox";

/// The id of the messages of one transaction.
pub(crate) fn outbox_id(transaction: Uuid) -> String {
    format!("{OUTBOX_PREFIX}{}{transaction}", ids::SEPARATOR)
}

/// Whether an id is an outbox document's.
pub(crate) fn is_outbox(id: &str) -> bool {
    id.strip_prefix(OUTBOX_PREFIX)
        .is_some_and(|rest| rest.starts_with(ids::SEPARATOR))
}

/// The messages of one transaction. Beside these fields it carries the container's partition key. All
/// are written by whoever committed it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OutboxDocument {
    /// [`outbox_id`]: one per transaction.
    pub(crate) id: String,
    /// When it was committed, by the writer's clock, RFC 3339.
    #[serde(with = "super::time")]
    committed_at: OffsetDateTime,
    /// In the order of publication.
    messages: Vec<MessageDocument>,
    /// Seconds after which the service removes it; absent where it is kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ttl: Option<u32>,
}

impl OutboxDocument {
    pub(crate) fn new(id: String, messages: &[Message], ttl: Option<u32>) -> Self {
        Self {
            id,
            committed_at: super::time::now(),
            messages: messages.iter().map(MessageDocument::new).collect(),
            ttl,
        }
    }

    /// A commit without events.
    pub(crate) fn parse(json: &str) -> Result<Commit> {
        let document: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "read feed", "an outbox document").with_source(error))?;
        let messages = document.messages.into_iter().map(MessageDocument::into_message);
        Ok(Commit {
            tenant: None,
            stream: StreamId::new(STREAM)?,
            first: Version::NONE,
            events: Vec::new(),
            outbox: messages.collect::<Result<_>>()?,
            committed_at: document.committed_at,
        })
    }
}
