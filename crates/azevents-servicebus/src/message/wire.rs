//! Messages as AMQP carries them (Azure Service Bus AMQP protocol guide, "Message properties").

use std::time::Duration;

use bytes::Bytes;
use fe2o3_amqp::types::messaging::annotations::{AnnotationKey, OwnedKey};
use fe2o3_amqp::types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Batch, Body, Data, Header, Message, MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{Binary, Symbol, Value};
use uuid::Uuid;

use super::{MessageState, PropertyValue, ReceivedMessage, ServiceBusMessage};
use crate::amqp::values::{instant, integer, millis, text, timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::receiver::Origin;

pub(crate) type AmqpMessage = Message<Body<Value>>;

const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
const LOCKED_UNTIL: &str = "x-opt-locked-until";
const SCHEDULED_ENQUEUE_TIME: &str = "x-opt-scheduled-enqueue-time";
const PARTITION_KEY: &str = "x-opt-partition-key";
const DEAD_LETTER_SOURCE: &str = "x-opt-deadletter-source";
const MESSAGE_STATE: &str = "x-opt-message-state";

pub(crate) fn to_amqp(message: &ServiceBusMessage) -> AmqpMessage {
    let header = message.time_to_live.map(|ttl| Header {
        durable: true,
        ttl: Some(millis(ttl)),
        ..Header::default()
    });
    Message {
        header,
        delivery_annotations: None,
        message_annotations: annotations(message),
        properties: Some(Properties {
            message_id: message.message_id.clone().map(MessageId::String),
            to: message.to.clone(),
            subject: message.subject.clone(),
            reply_to: message.reply_to.clone(),
            correlation_id: message.correlation_id.clone().map(MessageId::String),
            content_type: message.content_type.clone().map(Symbol),
            group_id: message.session_id.clone(),
            reply_to_group_id: message.reply_to_session_id.clone(),
            ..Properties::default()
        }),
        application_properties: (!message.properties.is_empty()).then(|| {
            ApplicationProperties(
                message
                    .properties
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_wire()))
                    .collect(),
            )
        }),
        body: Body::Data(Batch::from(vec![Data(Binary::from(message.body.to_vec()))])),
        footer: None,
    }
}

pub(crate) fn annotations(message: &ServiceBusMessage) -> Option<MessageAnnotations> {
    let mut annotations = MessageAnnotations::default();
    if let Some(key) = &message.partition_key {
        annotations.insert(OwnedKey::from(PARTITION_KEY), Value::String(key.clone()));
    }
    if let Some(at) = message.scheduled_enqueue_time {
        annotations.insert(OwnedKey::from(SCHEDULED_ENQUEUE_TIME), Value::Timestamp(timestamp(at)));
    }
    (!annotations.is_empty()).then_some(annotations)
}

/// The encoded message, as it stands in batches and in `$management` bodies.
pub(crate) fn encode(message: &AmqpMessage) -> Result<Vec<u8>> {
    serde_amqp::to_vec(&Serializable(message))
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, "the message cannot be encoded").with_source(error))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<AmqpMessage> {
    serde_amqp::from_slice::<Deserializable<AmqpMessage>>(bytes)
        .map(|message| message.0)
        .map_err(|error| Error::new(ErrorKind::Other, "a message cannot be decoded").with_source(error))
}

/// A delivery tag is the lock token: a GUID in .NET's byte order.
pub(crate) fn lock_token(tag: &[u8]) -> Option<Uuid> {
    tag.try_into().ok().map(Uuid::from_bytes_le)
}

pub(crate) fn from_amqp(message: AmqpMessage, lock_token: Option<Uuid>, origin: Option<Origin>) -> ReceivedMessage {
    let annotations = message.message_annotations.unwrap_or_default();
    let annotation = |key: &str| annotations.get(&key as &dyn AnnotationKey);
    let number = |key| annotation(key).and_then(integer);
    let string = |key| annotation(key).and_then(text).map(str::to_owned);
    let header = message.header.unwrap_or_default();
    let properties = message.properties.unwrap_or_default();
    let scheduled = annotation(SCHEDULED_ENQUEUE_TIME).and_then(instant);
    ReceivedMessage {
        sequence_number: number(SEQUENCE_NUMBER).unwrap_or_default(),
        enqueued_time: annotation(ENQUEUED_TIME).and_then(instant),
        locked_until: annotation(LOCKED_UNTIL).and_then(instant),
        // The header counts earlier, failed deliveries (AMQP 1.0 section 3.2.1).
        delivery_count: header.delivery_count.saturating_add(1),
        state: match number(MESSAGE_STATE) {
            Some(1) => MessageState::Deferred,
            Some(2) => MessageState::Scheduled,
            _ => MessageState::Active,
        },
        dead_letter_source: string(DEAD_LETTER_SOURCE),
        lock_token,
        origin,
        message: ServiceBusMessage {
            body: body(message.body),
            message_id: properties.message_id.map(id_text),
            session_id: properties.group_id,
            partition_key: string(PARTITION_KEY),
            subject: properties.subject,
            content_type: properties.content_type.map(Symbol::into_inner),
            correlation_id: properties.correlation_id.map(id_text),
            to: properties.to,
            reply_to: properties.reply_to,
            reply_to_session_id: properties.reply_to_group_id,
            time_to_live: header.ttl.map(|ttl| Duration::from_millis(ttl.into())),
            scheduled_enqueue_time: scheduled,
            properties: message
                .application_properties
                .map(|properties| properties.0)
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name, PropertyValue::from_wire(value)?)))
                .collect(),
        },
    }
}

/// One data section is the rule. Several are joined; text and bytes in a value section are what other
/// AMQP clients send, and read as they stand.
fn body(body: Body<Value>) -> Bytes {
    match body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|data| data.0.into_vec());
            match (sections.next(), sections.next()) {
                (None, _) => Bytes::new(),
                (Some(only), None) => only.into(),
                (Some(first), Some(second)) => [first, second]
                    .into_iter()
                    .chain(sections)
                    .flatten()
                    .collect::<Vec<u8>>()
                    .into(),
            }
        }
        Body::Value(value) => match value.0 {
            Value::String(text) => text.into(),
            Value::Binary(bytes) => bytes.into_vec().into(),
            Value::Null => Bytes::new(),
            other => serde_amqp::to_vec(&other).unwrap_or_default().into(),
        },
        Body::Sequence(sequences) => {
            let items: Vec<Value> = sequences.into_iter().flat_map(|sequence| sequence.0).collect();
            serde_amqp::to_vec(&Value::List(items)).unwrap_or_default().into()
        }
        Body::Empty => Bytes::new(),
    }
}

fn id_text(id: MessageId) -> String {
    match id {
        MessageId::String(text) => text,
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(uuid) => Uuid::from_bytes(uuid.into_inner()).to_string(),
        MessageId::Binary(bytes) => hex(&bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn what_is_sent_is_what_is_received() {
        let message = ServiceBusMessage::new("body")
            .with_message_id("id")
            .with_session_id("s")
            .with_partition_key("s")
            .with_subject("subject")
            .with_content_type("text/plain")
            .with_correlation_id("c")
            .with_to("to")
            .with_reply_to("r")
            .with_reply_to_session_id("rs")
            .with_time_to_live(Duration::from_secs(60))
            .with_scheduled_enqueue_time(OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap())
            .with_property("text", "value")
            .with_property("int", 7)
            .with_property("long", 7_i64)
            .with_property("double", 0.5)
            .with_property("flag", true)
            .with_property("uuid", Uuid::from_u128(1))
            .with_property("bytes", Bytes::from_static(b"x"))
            .with_property("at", OffsetDateTime::UNIX_EPOCH);
        let bytes = encode(&to_amqp(&message)).unwrap();
        let received = from_amqp(decode(&bytes).unwrap(), None, None);
        assert_eq!(received.message, message);
        assert_eq!(received.delivery_count(), 1);
    }

    #[test]
    fn a_lock_token_is_a_delivery_tag_in_dotnet_order() {
        let tag = [
            0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15,
        ];
        let token = lock_token(&tag).unwrap();
        assert_eq!(token.to_string(), "00112233-4455-6677-0809-0a0b0c0d0e0f");
        assert_eq!(lock_token(&[1, 2, 3, 4]), None);
    }
}
