//! A message before it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use super::value::Structured;
use super::{AmqpBody, AmqpValue, PropertyValue};
use crate::error::{Error, ErrorKind, Result};

/// The most characters of an id (Service Bus quotas).
const MAX_ID: usize = 128;

/// A message to send. Fields are set in builder style; only the body is required.
///
/// ```
/// use azevents_servicebus::ServiceBusMessage;
///
/// let message = ServiceBusMessage::new(r#"{"total":"12.50"}"#)
///     .with_message_id("7f1c")
///     .with_session_id("order-536365")
///     .with_content_type("application/json")
///     .with_property("country", "France");
/// assert_eq!(message.session_id(), Some("order-536365"));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceBusMessage {
    /// The body as bytes; of a structured one what its text or bytes are, or its encoding.
    pub(crate) body: Bytes,
    /// The body where it is no bytes.
    pub(crate) structured: Option<Box<Structured>>,
    pub(crate) message_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) partition_key: Option<String>,
    pub(crate) transaction_partition_key: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) reply_to: Option<String>,
    pub(crate) reply_to_session_id: Option<String>,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) scheduled_enqueue_time: Option<OffsetDateTime>,
    pub(crate) properties: BTreeMap<String, PropertyValue>,
}

impl ServiceBusMessage {
    /// A message with this body.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// A message whose body is one AMQP value instead of bytes, for receivers that ask for it.
    pub fn from_value(value: impl Into<AmqpValue>) -> Self {
        Self::structured(Structured::Value(value.into()))
    }

    /// A message whose body is sections of AMQP values, a list each, for receivers that ask for it.
    pub fn from_sequence(sections: Vec<Vec<AmqpValue>>) -> Self {
        Self::structured(Structured::Sequence(sections))
    }

    pub(crate) fn structured(body: Structured) -> Self {
        Self {
            body: super::wire::bytes_of(&body),
            structured: Some(Box::new(body)),
            ..Self::default()
        }
    }

    /// Identifies the message, at most 128 characters; duplicate detection goes by it.
    #[must_use]
    pub fn with_message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = Some(id.into());
        self
    }

    /// The session the message belongs to, at most 128 characters: messages of one session are received
    /// in order, by one receiver at a time.
    #[must_use]
    pub fn with_session_id(mut self, id: impl Into<String>) -> Self {
        self.session_id = Some(id.into());
        self
    }

    /// The partition of a partitioned entity; must equal the session id where both are set.
    #[must_use]
    pub fn with_partition_key(mut self, key: impl Into<String>) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// The partition of the entity that a transaction sends through, where the message goes to another one.
    #[must_use]
    pub fn with_transaction_partition_key(mut self, key: impl Into<String>) -> Self {
        self.transaction_partition_key = Some(key.into());
        self
    }

    /// What the message is about; rules of subscriptions can filter by it.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Media type of the body.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// What the message belongs to or answers.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Where the message is meant to go; kept for routing, not used by the service.
    #[must_use]
    pub fn with_to(mut self, to: impl Into<String>) -> Self {
        self.to = Some(to.into());
        self
    }

    /// Where answers should be sent.
    #[must_use]
    pub fn with_reply_to(mut self, reply_to: impl Into<String>) -> Self {
        self.reply_to = Some(reply_to.into());
        self
    }

    /// The session answers should belong to.
    #[must_use]
    pub fn with_reply_to_session_id(mut self, id: impl Into<String>) -> Self {
        self.reply_to_session_id = Some(id.into());
        self
    }

    /// How long after being enqueued the message lives; the entity's own limit applies where shorter.
    #[must_use]
    pub fn with_time_to_live(mut self, ttl: Duration) -> Self {
        self.time_to_live = Some(ttl);
        self
    }

    /// When the message becomes available to receivers.
    #[must_use]
    pub fn with_scheduled_enqueue_time(mut self, at: OffsetDateTime) -> Self {
        self.scheduled_enqueue_time = Some(at);
        self
    }

    /// Adds an application property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<PropertyValue>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Adds application properties, replacing those of the same name.
    #[must_use]
    pub fn with_properties(mut self, properties: impl IntoIterator<Item = (String, PropertyValue)>) -> Self {
        self.properties.extend(properties);
        self
    }

    /// The body as bytes. Of a body that is an AMQP value: its text or bytes, else its AMQP encoding.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body in the kind it has on the wire.
    pub fn amqp_body(&self) -> AmqpBody<'_> {
        match self.structured.as_deref() {
            None => AmqpBody::Data(&self.body),
            Some(Structured::Value(value)) => AmqpBody::Value(value),
            Some(Structured::Sequence(sections)) => AmqpBody::Sequence(sections),
        }
    }

    /// The message id.
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    /// The session id.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// Refuses what the service would refuse, before anything is sent, with the reason.
    pub(crate) fn check(&self) -> Result<()> {
        let limited = [
            ("message id", &self.message_id),
            ("session id", &self.session_id),
            ("reply-to session id", &self.reply_to_session_id),
            ("partition key", &self.partition_key),
            ("transaction partition key", &self.transaction_partition_key),
        ];
        for (name, value) in limited {
            if let Some(length) = value.as_deref().map(characters).filter(|length| *length > MAX_ID) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("the {name} has {length} characters, the service takes {MAX_ID}"),
                ));
            }
        }
        if let (Some(session), Some(partition)) = (&self.session_id, &self.partition_key)
            && session != partition
        {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the partition key differs from the session id; leave it out, or set it to the same",
            ));
        }
        Ok(())
    }
}

/// As .NET and so the service counts them: in UTF-16.
fn characters(text: &str) -> usize {
    if text.len() <= MAX_ID {
        text.len()
    } else {
        text.encode_utf16().count()
    }
}
