//! A message that waits in a document for the relay.

use std::collections::BTreeMap;

use azevents_core::{Message, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::content::Content;

/// One message of an outbox. All fields are written by whoever committed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MessageDocument {
    /// The message id at brokers.
    id: String,
    /// What it is delivered in the order of.
    key: String,
    /// What happened.
    #[serde(rename = "type")]
    event_type: String,
    /// Media type of the body.
    content_type: String,
    /// JSON body: see [`Content::data`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data: Option<Box<RawValue>>,
    /// Other body: see [`Content::base64`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    /// Application properties; absent where there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    headers: BTreeMap<String, String>,
}

impl MessageDocument {
    pub(crate) fn new(message: &Message) -> Self {
        let Content { data, base64 } = Content::new(&message.content_type, &message.body);
        Self {
            id: message.id.clone(),
            key: message.key.clone(),
            event_type: message.event_type.clone(),
            content_type: message.content_type.clone(),
            data,
            base64,
            headers: message.headers.clone(),
        }
    }

    pub(crate) fn into_message(self) -> Result<Message> {
        let content = Content {
            data: self.data,
            base64: self.base64,
        };
        Ok(Message {
            body: content.into_bytes(format_args!("message {}", self.id))?,
            id: self.id,
            key: self.key,
            event_type: self.event_type,
            content_type: self.content_type,
            headers: self.headers,
        })
    }
}
