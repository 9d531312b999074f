//! Messages on the wire: which AMQP field carries what.

use std::collections::BTreeMap;

use azevents_core::{DeadLetter, Message};
use azure_core_amqp::message::{AmqpMessageBody, AmqpMessageId, AmqpMessageProperties};
use azure_core_amqp::{AmqpMessage, AmqpSimpleValue};
use azure_messaging_eventhubs::models::ReceivedEventData;
use bytes::Bytes;

/// The annotation that picks the partition: same key, same partition (Event Hubs AMQP protocol guide).
const PARTITION_KEY: &str = "x-opt-partition-key";

/// Application property that repeats the key of an event sent to a partition's own link. A batch there holds
/// many keys, and the SDK puts the first event's key on the batch as a whole; nothing says that the service
/// then keeps the other events' own.
const KEY: &str = "azevents-key";

/// A message as Event Hubs takes it. `to_partition` when its link is a partition's own.
pub(crate) fn encode(message: &Message, to_partition: bool) -> AmqpMessage {
    let properties = AmqpMessageProperties {
        message_id: Some(message.id.as_str().into()),
        subject: Some(message.event_type.clone()),
        content_type: Some(message.content_type.as_str().into()),
        ..AmqpMessageProperties::default()
    };
    let mut builder = AmqpMessage::builder()
        .with_properties(properties)
        .with_body(AmqpMessageBody::Binary(vec![message.body.to_vec()]));
    for (name, value) in &message.headers {
        builder = builder.add_application_property(name.clone(), value.as_str());
    }
    if to_partition && !message.key.is_empty() {
        builder = builder.add_application_property(KEY.to_owned(), message.key.as_str());
    }
    let mut encoded = builder.build();
    if !message.key.is_empty() {
        encoded.add_message_annotation(PARTITION_KEY.into(), message.key.clone());
    }
    encoded
}

/// A received event as a message. Events of other publishers may lack what ours always carry:
/// `fallback_id` then identifies the event. A body that is not bytes comes with the reason to set the
/// event aside, the rest of it with what could be read.
pub(crate) fn decode(event: &ReceivedEventData, fallback_id: impl FnOnce() -> String) -> (Message, Option<DeadLetter>) {
    let raw = event.raw_amqp_message();
    let properties = raw.properties.as_ref();
    let headers = raw
        .application_properties
        .iter()
        .flat_map(|properties| properties.0.iter());
    let mut message = Message {
        id: properties
            .and_then(|p| p.message_id.as_ref())
            .map_or_else(fallback_id, id_text),
        key: event.partition_key().clone().unwrap_or_default(),
        event_type: properties.and_then(|p| p.subject.clone()).unwrap_or_default(),
        content_type: properties
            .and_then(|p| p.content_type.as_ref())
            .map(|t| t.0.clone())
            .unwrap_or_default(),
        body: Bytes::new(),
        headers: headers
            .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect::<BTreeMap<_, _>>(),
    };
    if let Some(key) = message.headers.remove(KEY) {
        message.key = key;
    }
    match &raw.body {
        AmqpMessageBody::Binary(sections) => message.body = sections.concat().into(),
        AmqpMessageBody::Empty => {}
        AmqpMessageBody::Value(_) | AmqpMessageBody::Sequence(_) => {
            let why = DeadLetter::new(
                "Undecodable",
                "the event's body is an AMQP value or sequence, not bytes",
            );
            return (message, Some(why));
        }
    }
    (message, None)
}

fn id_text(id: &AmqpMessageId) -> String {
    match id {
        AmqpMessageId::String(text) => text.clone(),
        AmqpMessageId::Uuid(id) => id.to_string(),
        AmqpMessageId::Ulong(number) => number.to_string(),
        AmqpMessageId::Binary(bytes) => bytes
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
    }
}

/// A property as text; `None` for what has no natural one.
fn text(value: &AmqpSimpleValue) -> Option<String> {
    use AmqpSimpleValue as V;
    Some(match value {
        V::String(text) => text.clone(),
        V::Symbol(symbol) => symbol.0.clone(),
        V::Uuid(id) => id.to_string(),
        V::Char(char) => char.to_string(),
        V::Boolean(value) => value.to_string(),
        V::UByte(value) => value.to_string(),
        V::Byte(value) => value.to_string(),
        V::UShort(value) => value.to_string(),
        V::Short(value) => value.to_string(),
        V::UInt(value) => value.to_string(),
        V::Int(value) => value.to_string(),
        V::ULong(value) => value.to_string(),
        V::Long(value) => value.to_string(),
        V::Float(value) => value.to_string(),
        V::Double(value) => value.to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: "7f".into(),
            key: "order-536365".into(),
            event_type: "LineAdded".into(),
            content_type: "application/json".into(),
            body: Bytes::from_static(b"{}"),
            headers: [("azevents-version".to_owned(), "3".to_owned())].into(),
        }
    }

    #[test]
    fn every_field_survives_the_wire() {
        for to_partition in [false, true] {
            let received = ReceivedEventData::from(encode(&message(), to_partition));
            assert_eq!(decode(&received, || "unused".into()), (message(), None));
        }
    }

    #[test]
    fn an_event_of_another_publisher_gets_an_id_and_its_numbers_as_text() {
        let foreign = AmqpMessage::builder()
            .add_application_property("attempt".to_owned(), 3i32)
            .with_body(AmqpMessageBody::Binary(vec![b"a".to_vec(), b"b".to_vec()]))
            .build();
        let (decoded, _) = decode(&ReceivedEventData::from(foreign), || "hub/0/17".into());
        assert_eq!(
            (decoded.id.as_str(), decoded.key.as_str(), &decoded.body[..]),
            ("hub/0/17", "", &b"ab"[..])
        );
        assert_eq!(decoded.headers["attempt"], "3");
    }

    #[test]
    fn a_body_that_is_not_bytes_is_set_aside_not_guessed() {
        let foreign = AmqpMessage::builder()
            .with_body(AmqpMessageBody::Value("text".into()))
            .build();
        let (_, why) = decode(&ReceivedEventData::from(foreign), || "hub/0/17".into());
        assert_eq!(why.unwrap().reason, "Undecodable");
    }
}
