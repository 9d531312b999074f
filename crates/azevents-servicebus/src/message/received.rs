//! A message as it was received.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{AmqpBody, PropertyValue, ServiceBusMessage};
use crate::receiver::Origin;

/// What a message is waiting for in its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageState {
    /// It can be received.
    Active,
    /// It was set aside and can be received by its sequence number only.
    Deferred,
    /// It becomes active at its scheduled time.
    Scheduled,
}

/// A received (or peeked) message. Its fields are what the sender set, and what the broker added.
#[derive(Debug)]
pub struct ReceivedMessage {
    pub(crate) message: ServiceBusMessage,
    pub(crate) sequence_number: i64,
    pub(crate) enqueued_sequence_number: Option<i64>,
    pub(crate) enqueued_time: Option<OffsetDateTime>,
    pub(crate) locked_until: Option<OffsetDateTime>,
    pub(crate) delivery_count: u32,
    pub(crate) state: MessageState,
    pub(crate) dead_letter_source: Option<String>,
    pub(crate) lock_token: Option<Uuid>,
    pub(crate) origin: Option<Origin>,
}

/// Application properties that carry why a message was dead-lettered.
pub(crate) const DEAD_LETTER_REASON: &str = "DeadLetterReason";
pub(crate) const DEAD_LETTER_DESCRIPTION: &str = "DeadLetterErrorDescription";

impl ReceivedMessage {
    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.message.body
    }

    /// The body in the kind it has on the wire.
    pub fn amqp_body(&self) -> AmqpBody<'_> {
        self.message.amqp_body()
    }

    /// What the sender identified the message by.
    pub fn message_id(&self) -> Option<&str> {
        self.message.message_id.as_deref()
    }

    /// The session the message belongs to.
    pub fn session_id(&self) -> Option<&str> {
        self.message.session_id.as_deref()
    }

    /// The partition key.
    pub fn partition_key(&self) -> Option<&str> {
        self.message.partition_key.as_deref()
    }

    /// What the message is about.
    pub fn subject(&self) -> Option<&str> {
        self.message.subject.as_deref()
    }

    /// Media type of the body.
    pub fn content_type(&self) -> Option<&str> {
        self.message.content_type.as_deref()
    }

    /// What the message belongs to or answers.
    pub fn correlation_id(&self) -> Option<&str> {
        self.message.correlation_id.as_deref()
    }

    /// Where the message is meant to go.
    pub fn to(&self) -> Option<&str> {
        self.message.to.as_deref()
    }

    /// The session answers should belong to.
    pub fn reply_to_session_id(&self) -> Option<&str> {
        self.message.reply_to_session_id.as_deref()
    }

    /// The partition of the entity that a transaction sent through.
    pub fn transaction_partition_key(&self) -> Option<&str> {
        self.message.transaction_partition_key.as_deref()
    }

    /// Where answers should be sent.
    pub fn reply_to(&self) -> Option<&str> {
        self.message.reply_to.as_deref()
    }

    /// How long after being enqueued the message lives.
    pub fn time_to_live(&self) -> Option<Duration> {
        self.message.time_to_live
    }

    /// When the message expires, where it does.
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.enqueued_time?.checked_add(self.time_to_live()?.try_into().ok()?)
    }

    /// The number the message had where it was first enqueued: before a topic or a forwarding entity gave
    /// it another one.
    pub fn enqueued_sequence_number(&self) -> Option<i64> {
        self.enqueued_sequence_number
    }

    /// When the message becomes, or became, available, where it was scheduled.
    pub fn scheduled_enqueue_time(&self) -> Option<OffsetDateTime> {
        self.message.scheduled_enqueue_time
    }

    /// The application properties.
    pub fn properties(&self) -> &BTreeMap<String, PropertyValue> {
        &self.message.properties
    }

    /// The number the broker gave the message, unique within the entity.
    pub fn sequence_number(&self) -> i64 {
        self.sequence_number
    }

    /// When the broker took the message in.
    pub fn enqueued_time(&self) -> Option<OffsetDateTime> {
        self.enqueued_time
    }

    /// Until when the message is locked for this receiver, as of receiving or the last renewal; `None` for
    /// messages without a lock of their own.
    pub fn locked_until(&self) -> Option<OffsetDateTime> {
        self.locked_until
    }

    /// How often the message has been delivered, this time included.
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    /// What the message is waiting for.
    pub fn state(&self) -> MessageState {
        self.state
    }

    /// Why the message was dead-lettered, in a word.
    pub fn dead_letter_reason(&self) -> Option<&str> {
        self.properties().get(DEAD_LETTER_REASON)?.as_str()
    }

    /// Why the message was dead-lettered, in a sentence.
    pub fn dead_letter_error_description(&self) -> Option<&str> {
        self.properties().get(DEAD_LETTER_DESCRIPTION)?.as_str()
    }

    /// The entity the message was dead-lettered on, where it was forwarded since.
    pub fn dead_letter_source(&self) -> Option<&str> {
        self.dead_letter_source.as_deref()
    }

    /// Identifies the lock; `None` for peeked messages and those received with receive-and-delete.
    pub fn lock_token(&self) -> Option<Uuid> {
        self.lock_token
    }

    /// The same content as a new message, to send again: without what the broker added.
    pub fn to_message(&self) -> ServiceBusMessage {
        let mut message = self.message.clone();
        message.scheduled_enqueue_time = None;
        message.properties.remove(DEAD_LETTER_REASON);
        message.properties.remove(DEAD_LETTER_DESCRIPTION);
        message
    }
}
