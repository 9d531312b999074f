//! Between the engine's messages and errors and this crate's.

use std::collections::BTreeMap;

use azevents_core::dead_letter::{ORIGINAL_ID, RETRY_COUNT};
use azevents_core::{Delivery, Failures, Message};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::message::{Properties, PropertyValue, ReceivedMessage, ServiceBusMessage};

/// The key is the session, so that a stream's messages stay in order; the id is what duplicate detection
/// goes by.
pub(crate) fn outgoing(message: &Message) -> ServiceBusMessage {
    let mut outgoing = ServiceBusMessage::new(message.body.clone())
        .with_message_id(message.id.as_str())
        .with_subject(message.event_type.as_str())
        .with_content_type(message.content_type.as_str());
    if !message.key.is_empty() {
        outgoing = outgoing.with_session_id(message.key.as_str());
    }
    for (name, value) in &message.headers {
        outgoing
            .properties
            .insert(name.clone(), PropertyValue::from(value.as_str()));
    }
    outgoing
}

/// A message without an id is told apart by its sequence number, which its copies share. One that was
/// redriven is known by the id it had before.
pub(crate) fn incoming(received: &ReceivedMessage) -> Message {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let original = received.properties().get(ORIGINAL_ID).and_then(PropertyValue::as_str);
    Message {
        id: original
            .or(received.message_id())
            .map_or_else(|| received.sequence_number().to_string(), str::to_owned),
        key: text(received.session_id()),
        event_type: text(received.subject()),
        content_type: text(received.content_type()),
        body: received.body().clone(),
        headers: headers(received.properties()),
    }
}

/// About the bytes that [`Message::size`] counts, without making one.
pub(crate) fn size(received: &ReceivedMessage) -> usize {
    let text = |text: Option<&str>| text.map_or(0, str::len);
    let properties = received.properties().iter();
    let headers: usize = properties
        .map(|(name, value)| name.len() + value.as_str().map_or(size_of::<u64>(), str::len))
        .sum();
    text(received.message_id())
        + text(received.session_id())
        + text(received.subject())
        + text(received.content_type())
        + received.body().len()
        + headers
}

impl From<&ReceivedMessage> for Message {
    /// As a consumer's pipeline gets it.
    fn from(received: &ReceivedMessage) -> Self {
        incoming(received)
    }
}

fn headers(properties: &BTreeMap<String, PropertyValue>) -> BTreeMap<String, String> {
    properties
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.to_text()?)))
        .collect()
}

/// How often the message was sent again, later, instead of being given back.
pub(crate) fn retries(received: &ReceivedMessage) -> u32 {
    let count = received.properties().get(RETRY_COUNT).and_then(PropertyValue::as_i64);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// The story of how a message failed, as application properties.
pub(crate) fn story(failures: &Failures) -> Properties {
    let headers = failures.headers().into_iter();
    headers
        .map(|(name, value)| (name, PropertyValue::from(value)))
        .collect()
}

pub(crate) fn delivery(received: &ReceivedMessage, lock_lost: CancellationToken) -> Delivery {
    let count = received.delivery_count().saturating_add(retries(received));
    let delivery = Delivery::new(count).lock_lost(lock_lost);
    match received.enqueued_time() {
        Some(at) => delivery.enqueued_at(at),
        None => delivery,
    }
}

pub(crate) fn error(error: Error, operation: &'static str, subject: &str) -> azevents_core::Error {
    use azevents_core::ErrorKind as Core;
    let kind = match error.kind() {
        ErrorKind::Unauthorized => Core::Unauthorized,
        ErrorKind::EntityNotFound | ErrorKind::MessageNotFound => Core::NotFound,
        // A full entity takes messages again once somebody has received some.
        ErrorKind::ServerBusy | ErrorKind::QuotaExceeded => Core::Throttled,
        ErrorKind::Connection | ErrorKind::LinkLost | ErrorKind::ServiceUnavailable => Core::Unavailable,
        ErrorKind::Timeout => Core::OutcomeUnknown,
        ErrorKind::MessageTooLarge => Core::TooLarge,
        ErrorKind::MessageLockLost
        | ErrorKind::SessionLockLost
        | ErrorKind::SessionCannotBeLocked
        | ErrorKind::AlreadyExists
        | ErrorKind::TransactionFailed => Core::Conflict,
        ErrorKind::InvalidArgument | ErrorKind::Configuration => Core::InvalidInput,
        ErrorKind::Closed => Core::Cancelled,
        ErrorKind::EntityDisabled | ErrorKind::Other => Core::Other,
    };
    azevents_core::Error::new(kind, operation, subject).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::wire;

    #[test]
    fn a_message_keeps_everything_on_its_way_through_the_broker() {
        let message = Message {
            id: "7f1c".into(),
            key: "order-536365".into(),
            event_type: "LineAdded".into(),
            content_type: "application/json".into(),
            body: "{}".into(),
            headers: BTreeMap::from([("correlation-id".to_owned(), "c".to_owned())]),
        };
        let bytes = wire::encode(&wire::to_amqp(&outgoing(&message))).unwrap();
        assert_eq!(
            incoming(&wire::from_amqp(wire::decode(&bytes).unwrap(), None, None)),
            message
        );
    }
}
