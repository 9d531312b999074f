//! CloudEvents 1.0 on messages, in both content modes of the AMQP binding, which Service Bus and Event Hubs share.
//!
//! Binary: every attribute is an application property with the prefix `cloudEvents:`, the body is the data
//! (CloudEvents AMQP binding 1.0.2, section 3.1; `cloudEvents_`, for JMS, is read too). Structured: the body is
//! the event as JSON, the content type `application/cloudevents+json` (section 3.2 and the JSON format).

mod json;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::{Error, ErrorKind, Result};
use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::{COMMITTED_AT, Message};
use crate::publisher::{PublishError, Publisher};

/// Content type of a structured event.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// Extension with the key that keeps events in order (CloudEvents Partitioning extension).
const PARTITION_KEY: &str = "partitionkey";
const PREFIX: &str = "cloudEvents:";
const PREFIX_JMS: &str = "cloudEvents_";
const VERSION: &str = "1.0";

/// How an event travels in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentMode {
    /// Attributes as properties, the data as body.
    #[default]
    Binary,
    /// All of it as JSON in the body.
    Structured,
}

/// An event with the attributes of CloudEvents 1.0.
///
/// ```
/// use azevents_core::cloud_events::{CloudEvent, ContentMode};
/// # use azevents_core::Message;
/// # let message = Message { id: "1".into(), key: "order-1".into(), event_type: "LineAdded".into(),
/// #     content_type: "application/json".into(), body: "{}".into(), headers: Default::default() };
///
/// let event = CloudEvent::of(&message, "/shop/orders");
/// let sent = event.to_message(ContentMode::Binary);
/// assert_eq!(sent.headers["cloudEvents:source"], "/shop/orders");
/// assert_eq!(CloudEvent::from_message(&sent)?, Some(event));
/// # Ok::<(), azevents_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    /// Unique together with `source`.
    pub id: String,
    /// Where it happened, a URI reference.
    pub source: String,
    /// What happened.
    pub event_type: String,
    /// Media type of `data`; empty where nothing is said about it.
    pub content_type: String,
    /// The other attributes by name, in canonical text: `subject`, `time`, `dataschema` and extensions. Names are
    /// lower-case letters and digits.
    pub attributes: BTreeMap<String, String>,
    /// The data.
    pub data: Bytes,
    /// What travels beside the event, as properties of the message.
    pub headers: BTreeMap<String, String>,
}

impl CloudEvent {
    /// A message as an event from `source`: the key becomes `partitionkey`, the time of the commit `time`, the
    /// trace context `traceparent` and `tracestate`. Every header stays beside it.
    pub fn of(message: &Message, source: impl Into<String>) -> Self {
        let mut attributes = BTreeMap::new();
        let mut set = |name: &str, value: Option<&String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                attributes.insert(name.to_owned(), value.clone());
            }
        };
        set(PARTITION_KEY, Some(&message.key));
        set("time", message.headers.get(COMMITTED_AT));
        // The Distributed Tracing extension.
        set("traceparent", message.headers.get("traceparent"));
        set("tracestate", message.headers.get("tracestate"));
        Self {
            id: message.id.clone(),
            source: source.into(),
            event_type: message.event_type.clone(),
            content_type: message.content_type.clone(),
            attributes,
            data: message.body.clone(),
            headers: message.headers.clone(),
        }
    }

    /// The event in a message.
    pub fn to_message(&self, mode: ContentMode) -> Message {
        let mut headers = self.headers.clone();
        let (content_type, body) = match mode {
            ContentMode::Structured => (STRUCTURED.to_owned(), json::encode(self)),
            ContentMode::Binary => {
                let own = [
                    ("specversion", VERSION),
                    ("id", &self.id),
                    ("source", &self.source),
                    ("type", &self.event_type),
                ];
                let others = self
                    .attributes
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()));
                for (name, value) in own.into_iter().chain(others) {
                    headers.insert(format!("{PREFIX}{name}"), value.to_owned());
                }
                (self.content_type.clone(), self.data.clone())
            }
        };
        Message {
            id: self.id.clone(),
            key: self.key().to_owned(),
            event_type: self.event_type.clone(),
            content_type,
            body,
            headers,
        }
    }

    /// The event that a message carries, in either mode; `None` where it carries none.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`]: it claims to, and breaks the specification.
    pub fn from_message(message: &Message) -> Result<Option<Self>> {
        // A suffix such as "; charset=utf-8" is allowed.
        let media_type = message.content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(STRUCTURED) {
            return json::decode(message).map(Some);
        }
        let mut attributes = BTreeMap::new();
        let mut headers = BTreeMap::new();
        for (name, value) in &message.headers {
            match name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(PREFIX_JMS)) {
                Some(attribute) => attributes.insert(attribute.to_owned(), value.clone()),
                None => headers.insert(name.clone(), value.clone()),
            };
        }
        if !attributes.contains_key("specversion") {
            return Ok(None);
        }
        let content_type = message.content_type.clone();
        Self::build(message, attributes, content_type, message.body.clone(), headers).map(Some)
    }

    fn build(
        message: &Message,
        mut attributes: BTreeMap<String, String>,
        content_type: String,
        data: Bytes,
        headers: BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut required = |name: &str| {
            let value = attributes.remove(name).filter(|value| !value.is_empty());
            value.ok_or_else(|| corrupt(message, format_args!("it lacks the attribute {name}")))
        };
        let version = required("specversion")?;
        if version != VERSION {
            return Err(corrupt(
                message,
                format_args!("its version is {version}, not {VERSION}"),
            ));
        }
        let (id, source, event_type) = (required("id")?, required("source")?, required("type")?);
        let valid =
            |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if let Some(name) = attributes.keys().find(|name| !valid(name)) {
            let problem = format_args!("{name:?} is no name of an attribute (lower-case letters and digits)");
            return Err(corrupt(message, problem));
        }
        Ok(Self {
            id,
            source,
            event_type,
            content_type,
            attributes,
            data,
            headers,
        })
    }

    /// The key that keeps events in order; empty where there is none.
    pub fn key(&self) -> &str {
        self.attributes.get(PARTITION_KEY).map_or("", String::as_str)
    }

    /// What the event is about.
    pub fn subject(&self) -> Option<&str> {
        self.attributes.get("subject").map(String::as_str)
    }

    /// When it happened.
    pub fn time(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.attributes.get("time")?, &Rfc3339).ok()
    }

    /// The event as the engine's handlers know messages: with the data as body, and the attributes that a
    /// message has no field for as headers `ce-…`. Where the event has no `partitionkey`, `key` is the message's.
    pub fn into_plain(self, key: &str) -> Message {
        let mut headers = self.headers;
        headers.insert("ce-source".into(), self.source);
        let mut own_key = None;
        for (name, value) in self.attributes {
            match name.as_str() {
                PARTITION_KEY => own_key = Some(value),
                "traceparent" | "tracestate" => {
                    headers.entry(name).or_insert(value);
                }
                _ => {
                    headers.insert(format!("ce-{name}"), value);
                }
            }
        }
        Message {
            id: self.id,
            key: own_key.unwrap_or_else(|| key.to_owned()),
            event_type: self.event_type,
            content_type: self.content_type,
            body: self.data,
            headers,
        }
    }
}

fn corrupt(message: &Message, problem: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, "decode CloudEvent", &message.id).with_message(problem.to_string())
}

/// Publishes every message as a CloudEvent from one source.
#[derive(Debug, Clone)]
pub struct CloudEventsPublisher<P> {
    publisher: P,
    source: String,
    mode: ContentMode,
}

impl<P: Publisher> CloudEventsPublisher<P> {
    /// Publishes with `publisher`, as events from `source`.
    pub fn new(publisher: P, source: impl Into<String>, mode: ContentMode) -> Self {
        Self {
            publisher,
            source: source.into(),
            mode,
        }
    }
}

#[async_trait]
impl<P: Publisher> Publisher for CloudEventsPublisher<P> {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let events: Vec<_> = messages
            .iter()
            .map(|message| CloudEvent::of(message, self.source.as_str()).to_message(self.mode))
            .collect();
        self.publisher.publish(&events).await
    }
}

/// Hands CloudEvents to a handler as plain messages, and every other message as it is. What claims to be an
/// event and is none fails for good.
#[derive(Debug, Clone)]
pub struct CloudEventsHandler<H>(
    /// The handler.
    pub H,
);

#[async_trait]
impl<H: Handler> Handler for CloudEventsHandler<H> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        match CloudEvent::from_message(message)? {
            Some(event) => self.0.handle(&event.into_plain(&message.key), delivery).await,
            None => self.0.handle(message, delivery).await,
        }
    }
}

#[cfg(test)]
mod tests;
