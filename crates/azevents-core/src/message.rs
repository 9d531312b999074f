//! An event on its way: what a publisher sends and a consumer receives.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Error, ErrorKind, Result};
use crate::event::RecordedEvent;
use crate::version::Version;

/// Header with the event's version in its stream, a decimal number.
pub const VERSION: &str = "azevents-version";
/// Header with the time the event was committed, RFC 3339.
pub const COMMITTED_AT: &str = "azevents-committed-at";
/// Header with the tenant's name, where several share a store.
pub const TENANT: &str = "azevents-tenant";

/// A message as every broker carries it.
///
/// | field | Service Bus | Event Hubs |
/// | --- | --- | --- |
/// | `id` | MessageId | message id |
/// | `key` | SessionId | partition key |
/// | `event_type` | Subject | subject |
/// | `content_type` | ContentType | content type |
/// | `headers` | application properties | application properties |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identifies the message to consumers: two messages with one id are copies.
    pub id: String,
    /// Messages with the same key are delivered in the order they were published: the stream's name.
    pub key: String,
    /// What happened.
    pub event_type: String,
    /// Media type of `body`.
    pub content_type: String,
    /// The encoded event.
    pub body: Bytes,
    /// The event's metadata and where it came from.
    pub headers: BTreeMap<String, String>,
}

impl Message {
    /// The event's version in its stream, where the message came from a stream.
    pub fn version(&self) -> Option<Version> {
        self.headers.get(VERSION)?.parse().ok().map(Version::new)
    }

    /// When the event was committed, where the message says so.
    pub fn committed_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.headers.get(COMMITTED_AT)?, &Rfc3339).ok()
    }

    /// Decodes a JSON body.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], naming the message.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "decode message", &self.id).with_source(e))
    }

    /// The message as one of a tenant's: its key can't be taken for another tenant's.
    #[must_use]
    pub(crate) fn of_tenant(mut self, tenant: &str) -> Self {
        self.key = format!("{tenant}/{}", self.key);
        self.headers.insert(TENANT.into(), tenant.into());
        self
    }

    /// Bytes that a broker counts against its limit, without its own framing.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        self.id.len() + self.key.len() + self.event_type.len() + self.content_type.len() + self.body.len() + headers
    }
}

impl From<&RecordedEvent> for Message {
    fn from(event: &RecordedEvent) -> Self {
        let mut headers = event.metadata.clone();
        headers.insert(VERSION.into(), event.version.to_string());
        // RFC 3339 covers the years 0 to 9999, and so does every clock that stamps a commit.
        if let Ok(at) = event.committed_at.format(&Rfc3339) {
            headers.insert(COMMITTED_AT.into(), at);
        }
        Self {
            id: event.id.to_string(),
            key: event.stream.as_str().to_owned(),
            event_type: event.event_type.clone(),
            content_type: event.content_type.clone(),
            body: event.data.clone(),
            headers,
        }
    }
}
