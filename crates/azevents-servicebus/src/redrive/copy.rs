//! The message that is sent again.

use azevents_core::dead_letter::{ORIGINAL_ID, REDRIVE_COUNT, REDRIVE_TO, REDRIVEN_FROM, RETRY_COUNT};
use azevents_core::failures;
use uuid::Uuid;

use crate::message::{PropertyValue, ReceivedMessage, ServiceBusMessage};

/// How often the message was sent again already.
pub(super) fn redrives(message: &ReceivedMessage) -> u32 {
    let count = message.properties().get(REDRIVE_COUNT).and_then(PropertyValue::as_i64);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

/// A copy of a dead letter of `entity`, `mark`ed for one subscription.
pub(super) fn of(message: &ReceivedMessage, entity: &str, mark: Option<&str>) -> ServiceBusMessage {
    let count = redrives(message) + 1;
    // The same copy has the same id, whoever makes it and how often.
    let name = format!("{entity}\n{}\n{count}", message.sequence_number());
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    let mut copy = message
        .to_message()
        .with_message_id(id.simple().to_string())
        .with_property(REDRIVE_COUNT, i64::from(count))
        .with_property(REDRIVEN_FROM, entity);
    if let Some(original) = message
        .message_id()
        .filter(|_| !copy.properties.contains_key(ORIGINAL_ID))
    {
        copy = copy.with_property(ORIGINAL_ID, original);
    }
    // A life of its own: what was tried before is told by the dead letter it comes from.
    for name in failures::HEADERS.iter().chain(&[REDRIVE_TO, RETRY_COUNT]) {
        copy.properties.remove(*name);
    }
    match mark {
        Some(mark) => copy.with_property(REDRIVE_TO, mark),
        None => copy,
    }
}
