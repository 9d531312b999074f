//! Events before and after they are stored, and the commit that stores them together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::message::Message;
use crate::stream::StreamId;
use crate::version::{StreamHead, Version};

/// The content type of events made with [`NewEvent::json`].
pub const JSON: &str = "application/json";

/// The identity of an event, chosen by whoever creates it. It becomes the broker's message id, and the
/// key under which consumers remember what they have handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, ordered by time (UUID version 7).
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// An id derived from what identifies the event to its author: the same stream and name always give
    /// the same id, so that doing a thing twice is seen as once.
    pub fn derived(stream: &StreamId, name: &str) -> Self {
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, stream.as_str().as_bytes());
        Self(Uuid::new_v5(&namespace, name.as_bytes()))
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl Default for EventId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Uuid> for EventId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event that is yet to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity; appending the same ids to the same place again changes nothing.
    pub id: EventId,
    /// What happened, in the past tense: `LineAdded`.
    pub event_type: String,
    /// Media type of `data`.
    pub content_type: String,
    /// The encoded event.
    pub data: Bytes,
    /// What isn't part of the event itself: correlation, causation, user, trace context.
    pub metadata: BTreeMap<String, String>,
}

impl NewEvent {
    /// An event with a fresh id whose data is already encoded.
    pub fn new(event_type: impl Into<String>, content_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            id: EventId::new(),
            event_type: event_type.into(),
            content_type: content_type.into(),
            data: data.into(),
            metadata: BTreeMap::new(),
        }
    }

    /// An event with a fresh id, encoded as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `data` has no JSON form.
    pub fn json<T: Serialize + ?Sized>(event_type: impl Into<String>, data: &T) -> Result<Self> {
        let event_type = event_type.into();
        let data = serde_json::to_vec(data)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, "encode event", &event_type).with_source(e))?;
        Ok(Self::new(event_type, JSON, data))
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// Adds one metadata entry.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// An event as it was stored. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its identity.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its position in the stream, from 1.
    pub version: Version,
    /// The version of the first event of the commit that stored it.
    pub commit: Version,
    /// What happened.
    pub event_type: String,
    /// Media type of `data`.
    pub content_type: String,
    /// The encoded event.
    pub data: Bytes,
    /// What isn't part of the event itself.
    pub metadata: BTreeMap<String, String>,
    /// When it was stored, by the appender's clock.
    pub committed_at: OffsetDateTime,
}

impl RecordedEvent {
    /// Decodes JSON data.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], naming the event.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.data).map_err(|e| {
            Error::new(
                ErrorKind::Corrupt,
                "decode event",
                format_args!("{}@{}", self.stream, self.version),
            )
            .with_source(e)
        })
    }
}

/// Events that were appended together: all of them are stored, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The tenant whose stream it is, in a store that is shared by several.
    pub tenant: Option<Arc<str>>,
    /// The stream they belong to.
    pub stream: StreamId,
    /// The version of the first event.
    pub first: Version,
    /// The events, in order. Empty only in a feed, where a service that keeps no events has committed
    /// nothing but messages.
    pub events: Vec<RecordedEvent>,
    /// Messages that were committed with the events, in order. The relay publishes them after the events;
    /// reads of a stream leave them out.
    pub outbox: Vec<Message>,
    /// When they were stored, by the appender's clock.
    pub committed_at: OffsetDateTime,
}

impl Commit {
    /// Gives `events` their place in `stream`, beginning at `first`.
    pub fn record(stream: &StreamId, first: Version, events: Vec<NewEvent>, committed_at: OffsetDateTime) -> Self {
        let events = (first.get()..)
            .zip(events)
            .map(|(version, event)| RecordedEvent {
                id: event.id,
                stream: stream.clone(),
                version: Version::new(version),
                commit: first,
                event_type: event.event_type,
                content_type: event.content_type,
                data: event.data,
                metadata: event.metadata,
                committed_at,
            })
            .collect();
        Self {
            tenant: None,
            stream: stream.clone(),
            first,
            events,
            outbox: Vec::new(),
            committed_at,
        }
    }

    /// The stream's end after this commit.
    pub fn head(&self) -> StreamHead {
        self.events.last().map_or(
            StreamHead {
                version: self.first,
                last_commit: self.first,
            },
            // An append too large for one commit was stored as several, and each event knows its own.
            |event| StreamHead {
                version: event.version,
                last_commit: event.commit,
            },
        )
    }

    /// What a relay publishes of it: the events as messages, and then the outbox.
    ///
    /// A tenant's name comes before the stream's in the key and is in the header
    /// [`TENANT`](crate::message::TENANT), for two tenants may use the same names.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        let tenant = self.tenant.as_deref();
        let messages = self.events.iter().map(Message::from).chain(self.outbox.iter().cloned());
        messages.map(move |message| match tenant {
            Some(tenant) => message.of_tenant(tenant),
            None => message,
        })
    }

    /// How many [`messages`](Self::messages) there are.
    pub fn message_count(&self) -> usize {
        self.events.len() + self.outbox.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_published_as_its_events_and_then_its_messages_under_the_tenants_key() {
        let stream = StreamId::new("order-1").unwrap();
        let event = NewEvent::json("Placed", &1).unwrap();
        let mut commit = Commit::record(&stream, Version::FIRST, vec![event], OffsetDateTime::UNIX_EPOCH);
        let placed = Message::from(&commit.events[0]);
        commit.outbox.push(Message {
            key: "invoices".into(),
            ..placed.clone()
        });
        let keys = |commit: &Commit| commit.messages().map(|message| message.key).collect::<Vec<_>>();
        assert_eq!(keys(&commit), ["order-1", "invoices"]);
        commit.tenant = Some("acme".into());
        assert_eq!(keys(&commit), ["acme/order-1", "acme/invoices"]);
        assert_eq!(commit.message_count(), 2);
    }
}
