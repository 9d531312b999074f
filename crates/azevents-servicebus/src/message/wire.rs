//! Messages as AMQP carries them (Azure Service Bus AMQP protocol guide, "Message properties").

use std::time::Duration;

use bytes::Bytes;
use fe2o3_amqp::types::messaging::annotations::{AnnotationKey, OwnedKey};
use fe2o3_amqp::types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp::types::messaging::{
    AmqpSequence, AmqpValue as AmqpBodyValue, ApplicationProperties, Batch, Body, Data, Header, Message,
    MessageAnnotations, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{Binary, Symbol, Value};
use serde::Serialize;
use serde_amqp::ser::Serializer;
use uuid::Uuid;

use super::value::Structured;
use super::{AmqpValue, MessageState, PropertyValue, ReceivedMessage, ServiceBusMessage};
use crate::amqp::guard;
use crate::amqp::nesting::Nesting;
use crate::amqp::values::{instant, integer, millis, text, timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::receiver::Origin;

pub(crate) type AmqpMessage = Message<Body<Value>>;

const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
const LOCKED_UNTIL: &str = "x-opt-locked-until";
const SCHEDULED_ENQUEUE_TIME: &str = "x-opt-scheduled-enqueue-time";
const PARTITION_KEY: &str = "x-opt-partition-key";
const VIA_PARTITION_KEY: &str = "x-opt-via-partition-key";
const ENQUEUE_SEQUENCE_NUMBER: &str = "x-opt-enqueue-sequence-number";
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
        body: to_body(message),
        footer: None,
    }
}

fn to_body(message: &ServiceBusMessage) -> Body<Value> {
    match message.structured.as_deref() {
        None => Body::Data(Batch::from(vec![Data(Binary::from(message.body.to_vec()))])),
        Some(Structured::Value(value)) => Body::Value(AmqpBodyValue(value.to_wire())),
        Some(Structured::Sequence(sections)) => Body::Sequence(Batch::from(
            sections
                .iter()
                .map(|section| AmqpSequence(section.iter().map(AmqpValue::to_wire).collect()))
                .collect::<Vec<_>>(),
        )),
    }
}

pub(crate) fn annotations(message: &ServiceBusMessage) -> Option<MessageAnnotations> {
    let mut annotations = MessageAnnotations::default();
    if let Some(key) = &message.partition_key {
        annotations.insert(OwnedKey::from(PARTITION_KEY), Value::String(key.clone()));
    }
    if let Some(key) = &message.transaction_partition_key {
        annotations.insert(OwnedKey::from(VIA_PARTITION_KEY), Value::String(key.clone()));
    }
    if let Some(at) = message.scheduled_enqueue_time {
        annotations.insert(OwnedKey::from(SCHEDULED_ENQUEUE_TIME), Value::Timestamp(timestamp(at)));
    }
    (!annotations.is_empty()).then_some(annotations)
}

/// The encoded message, as it stands in batches and in `$management` bodies.
pub(crate) fn encode(message: &AmqpMessage) -> Result<Vec<u8>> {
    // So that it need not grow, and be copied, for most messages.
    let mut encoded = Vec::with_capacity(body_bytes(message) + USUAL_SECTIONS);
    Serializable(message)
        .serialize(&mut Serializer::new(&mut encoded))
        .map_err(|error| Error::new(ErrorKind::InvalidArgument, "the message cannot be encoded").with_source(error))?;
    Ok(encoded)
}

/// Bytes that all but the body usually takes.
const USUAL_SECTIONS: usize = 256;

fn body_bytes(message: &AmqpMessage) -> usize {
    match &message.body {
        Body::Data(sections) => sections.iter().map(|section| section.0.len()).sum(),
        _ => 0,
    }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<AmqpMessage> {
    guard::decode::<Deserializable<AmqpMessage>>(bytes)
        .map(|message| message.0)
        .map_err(|error| Error::new(ErrorKind::Other, "a message cannot be decoded").with_source(error))
}

/// Decodes for somebody who only looks: one whose body cannot be decoded is given without a body.
pub(crate) fn glance(bytes: &[u8]) -> Result<AmqpMessage> {
    decode(bytes).or_else(|error| {
        let message = decode(&[before_body(bytes), EMPTY_BODY].concat()).map_err(|_| error)?;
        tracing::warn!("a message is shown without its body, which cannot be decoded");
        Ok(message)
    })
}

/// A data section (AMQP 1.0 section 3.2.6) of no bytes.
const EMPTY_BODY: &[u8] = &[0, 0x53, 0x75, 0xa0, 0];

/// The sections of a message in front of its body's (AMQP 1.0 section 3.2).
fn before_body(message: &[u8]) -> &[u8] {
    let mut rest = message;
    while !matches!(rest, [] | [0, 0x53, 0x75..=0x77, ..])
        && let Some(section) = Nesting::first(rest)
    {
        rest = &rest[section..];
    }
    &message[..message.len() - rest.len()]
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
    let (body, structured) = from_body(message.body);
    let scheduled = annotation(SCHEDULED_ENQUEUE_TIME).and_then(instant);
    ReceivedMessage {
        sequence_number: number(SEQUENCE_NUMBER).unwrap_or_default(),
        enqueued_sequence_number: number(ENQUEUE_SEQUENCE_NUMBER),
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
            body,
            structured: structured.map(Box::new),
            message_id: properties.message_id.map(id_text),
            session_id: properties.group_id,
            partition_key: string(PARTITION_KEY),
            transaction_partition_key: string(VIA_PARTITION_KEY),
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

/// One data section is the rule. Several are joined.
fn from_body(body: Body<Value>) -> (Bytes, Option<Structured>) {
    let structured = match body {
        Body::Data(sections) => {
            let mut sections = sections.into_iter().map(|data| data.0.into_vec());
            let bytes = match (sections.next(), sections.next()) {
                (None, _) => Bytes::new(),
                (Some(only), None) => only.into(),
                (Some(first), Some(second)) => [first, second]
                    .into_iter()
                    .chain(sections)
                    .flatten()
                    .collect::<Vec<u8>>()
                    .into(),
            };
            return (bytes, None);
        }
        Body::Value(value) => Structured::Value(AmqpValue::from_wire(value.0)),
        Body::Sequence(sequences) => Structured::Sequence(
            sequences
                .into_iter()
                .map(|sequence| sequence.0.into_iter().map(AmqpValue::from_wire).collect())
                .collect(),
        ),
        Body::Empty => return (Bytes::new(), None),
    };
    (bytes_of(&structured), Some(structured))
}

/// A structured body for readers of bytes: text and bytes as they stand, all else as AMQP encodes it.
pub(super) fn bytes_of(body: &Structured) -> Bytes {
    let encoded = |value: &Value| serde_amqp::to_vec(value).unwrap_or_default().into();
    match body {
        Structured::Value(AmqpValue::Simple(PropertyValue::String(text))) => Bytes::copy_from_slice(text.as_bytes()),
        Structured::Value(AmqpValue::Simple(PropertyValue::Binary(bytes))) => bytes.clone(),
        Structured::Value(AmqpValue::Simple(PropertyValue::Null)) => Bytes::new(),
        Structured::Value(value) => encoded(&value.to_wire()),
        Structured::Sequence(sections) => encoded(&Value::List(
            sections.iter().flatten().map(AmqpValue::to_wire).collect(),
        )),
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
            .with_property("at", OffsetDateTime::UNIX_EPOCH)
            .with_property("byte", -7_i8)
            .with_property("short", -7_i16)
            .with_property("ubyte", 7_u8)
            .with_property("ushort", 7_u16)
            .with_property("uint", 7_u32)
            .with_property("ulong", u64::MAX)
            .with_property("float", 0.5_f32)
            .with_property("char", 'é')
            .with_property("symbol", PropertyValue::Symbol("name".into()))
            .with_property("decimal", PropertyValue::Decimal128([7; 16]))
            .with_property("null", PropertyValue::Null)
            .with_property(
                "timespan",
                PropertyValue::Described(Box::new((
                    PropertyValue::Symbol("com.microsoft:timespan".into()),
                    PropertyValue::Long(7),
                ))),
            )
            .with_transaction_partition_key("via");
        let bytes = encode(&to_amqp(&message)).unwrap();
        let received = from_amqp(decode(&bytes).unwrap(), None, None);
        assert_eq!(received.message, message);
        assert_eq!(received.delivery_count(), 1);
    }

    #[test]
    fn a_body_of_values_keeps_its_kind_and_reads_as_bytes() {
        let map = AmqpValue::Map(vec![(AmqpValue::from("n"), AmqpValue::from(1_i64))]);
        let described = AmqpValue::Described(Box::new((PropertyValue::Ulong(7), AmqpValue::from("x"))));
        let array = AmqpValue::Array(vec![AmqpValue::from(1_i32), AmqpValue::from(2_i32)]);
        for message in [
            ServiceBusMessage::from_value("text"),
            ServiceBusMessage::from_value(map.clone()),
            ServiceBusMessage::from_value(AmqpValue::List(vec![map, described, array])),
            ServiceBusMessage::from_sequence(vec![vec![AmqpValue::from(1_i32)], vec![AmqpValue::from("two")]]),
        ] {
            let bytes = encode(&to_amqp(&message)).unwrap();
            let received = from_amqp(decode(&bytes).unwrap(), None, None);
            assert_eq!(received.message.amqp_body(), message.amqp_body());
            assert_eq!(received.body(), message.body());
        }
        assert_eq!(ServiceBusMessage::from_value("text").body().as_ref(), b"text");
    }

    proptest::proptest! {
        #[test]
        fn whatever_bytes_come_are_a_message_or_an_error(
            noise in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0_usize..200,
        ) {
            let _ = decode(&noise).map(|message| from_amqp(message, None, None));
            // A message that is right but for a few bytes.
            let value = AmqpValue::List(vec![1_i32.into(), "two".into(), AmqpValue::Map(Vec::new())]);
            let message = ServiceBusMessage::from_value(value).with_session_id("s").with_property("p", 7_i64);
            let mut bytes = encode(&to_amqp(&message)).unwrap();
            let start = at % bytes.len();
            for (byte, wrong) in bytes[start..].iter_mut().zip(noise.iter().take(3)) {
                *byte = *wrong;
            }
            if let Ok(message) = decode(&bytes) {
                let received = from_amqp(message, None, None);
                let _ = (received.expires_at(), encode(&to_amqp(&received.to_message())));
            }
        }
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
