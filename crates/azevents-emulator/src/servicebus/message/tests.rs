use std::time::Duration;

use bytes::Bytes;
use fe2o3_amqp_types::primitives::{SimpleValue, Value};
use proptest::prelude::*;

use super::{
    Message, PropertyChanges, Stamp,
    testing::{Sample, body, decode},
};
use crate::servicebus::clock::Timestamp;

fn stamp() -> Stamp {
    Stamp {
        sequence_number: 7,
        enqueued_at: Timestamp::from_millis(1_000),
        locked_until: Some(Timestamp::from_millis(61_000)),
        delivery_count: 2,
        state: 0,
    }
}

fn property<'a>(
    message: &'a fe2o3_amqp_types::messaging::Message<fe2o3_amqp_types::messaging::Body<Value>>,
    name: &str,
) -> Option<&'a SimpleValue> {
    message.application_properties.as_ref()?.0.get(name)
}

#[test]
fn the_facts_the_broker_decides_by_are_read_from_the_bytes() {
    let sample = Sample::body("x").id("m1").session("s1").ttl_ms(500).scheduled_at_ms(99);
    let message = sample.message();
    assert_eq!(message.message_id(), Some("m1"));
    assert_eq!(message.session_id().map(|id| &**id), Some("s1"));
    assert_eq!(message.ttl().map(|ttl| ttl.as_millis()), Some(500));
    assert_eq!(message.scheduled_at(), Some(Timestamp::from_millis(99)));
}

#[test]
fn a_delivery_carries_the_brokers_stamp_and_not_the_one_of_an_earlier_life() {
    let message = Sample::body("x").id("m1").message();
    let delivered = decode(&message.encode_whole(&stamp()));
    assert_eq!(delivered.header.unwrap().delivery_count, 2);
    let annotations = delivered.message_annotations.unwrap().0;
    let annotation = |name: &str| {
        let found: Vec<_> = annotations
            .iter()
            .filter(|(key, _)| format!("{key:?}").contains(name))
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(found.len(), 1, "{name} once");
        found[0].clone()
    };
    assert_eq!(annotation("x-opt-sequence-number"), Value::Long(7));
    assert_eq!(annotation("x-opt-message-state"), Value::Int(0));
    assert!(matches!(annotation("x-opt-locked-until"), Value::Timestamp(_)));
}

#[test]
fn what_a_rule_sets_in_front_of_the_body_is_delivered_once_and_the_rest_stays() {
    let mut message = Sample::body("x").id("m1").partition_key("old").ttl_ms(500).message();
    message
        .set_annotation("x-opt-partition-key", Some(b"\xa1\x03new"))
        .unwrap();
    message
        .set_annotation("x-opt-via-partition-key", Some(b"\xa1\x01v"))
        .unwrap();
    message.schedule(Timestamp::from_millis(99)).unwrap();
    message.live_for(Some(Duration::from_secs(9))).unwrap();
    let delivered = decode(&message.encode_whole(&stamp()));
    assert_eq!(delivered.header.as_ref().unwrap().ttl, Some(9000));
    let annotations = format!("{:?}", delivered.message_annotations);
    for (name, times) in [
        ("old", 0),
        ("\"new\"", 1),
        ("scheduled-enqueue-time", 1),
        ("via-partition-key", 1),
    ] {
        assert_eq!(annotations.matches(name).count(), times, "{name} in {annotations}");
    }
    assert_eq!(body(&delivered), b"x");
    message.set_annotation("x-opt-partition-key", None).unwrap();
    assert_eq!(message.annotation("x-opt-partition-key"), Ok(None));
    assert_eq!(message.scheduled_at(), Some(Timestamp::from_millis(99)));
}

#[test]
fn a_time_to_live_is_the_same_wherever_it_is_written() {
    let mut message = Sample::body("x").message();
    let created = [&[0x83][..], &1000_i64.to_be_bytes()].concat();
    message.set_field(9, Some(&created)).unwrap();
    for (ttl, ends) in [(Some(Duration::from_secs(9)), Some(10_000)), (None, None)] {
        message.live_for(ttl).unwrap();
        let properties = decode(&message.encode_whole(&stamp())).properties.unwrap();
        assert_eq!(properties.absolute_expiry_time.map(|at| at.milliseconds()), ends);
        assert_eq!(message.ttl(), ttl);
    }
}

#[test]
fn changed_properties_replace_and_extend_the_senders() {
    for sample in [
        Sample::body("body").id("m").property("kept", "1").property("n", "old"),
        Sample::body("body").id("m"),
    ] {
        let mut message = sample.message();
        let mut changes = PropertyChanges::default();
        changes.set_text("n", "first");
        changes.set_text("n", "new");
        changes.set_text("m", &"long".repeat(100));
        message.change_properties(&changes).unwrap();
        // Changing twice must find the section where the first change put it.
        message.change_properties(&changes).unwrap();
        let delivered = decode(&message.encode_whole(&stamp()));
        assert_eq!(property(&delivered, "n"), Some(&SimpleValue::String("new".into())));
        assert_eq!(
            property(&delivered, "m"),
            Some(&SimpleValue::String("long".repeat(100)))
        );
        assert_eq!(property(&delivered, "kept").is_some(), !sample.properties.is_empty());
        assert_eq!(body(&delivered), b"body");
        assert_eq!(message.message_id(), Some("m"));
    }
}

#[test]
fn a_message_without_an_id_gets_one_and_keeps_everything_else() {
    for sample in [Sample::body("x").session("s").property("a", "b"), Sample::body("x")] {
        let mut message = sample.message();
        message.ensure_id().unwrap();
        let id = message.message_id().unwrap().to_owned();
        message.ensure_id().unwrap();
        let mut changes = PropertyChanges::default();
        changes.set_text("later", "too");
        message.change_properties(&changes).unwrap();
        let delivered = decode(&message.encode_whole(&stamp()));
        assert_eq!(property(&delivered, "a").is_some(), !sample.properties.is_empty());
        assert!(property(&delivered, "later").is_some());
        assert_eq!(body(&delivered), b"x");
        let properties = delivered.properties.unwrap();
        assert_eq!(properties.message_id, Some(id.into()));
        assert_eq!(properties.group_id, sample.session);
    }
    // No properties section at all: a body only.
    let bare = Bytes::from_static(&[0x00, 0x53, 0x75, 0xa0, 1, b'x']);
    let mut message = Message::decode(&bare).unwrap();
    message.ensure_id().unwrap();
    let delivered = decode(&message.encode_whole(&stamp()));
    assert!(delivered.properties.as_ref().unwrap().message_id.is_some());
    assert_eq!(body(&delivered), b"x");
}

#[test]
fn a_batch_is_taken_apart_into_its_messages() {
    let mut envelope = Vec::new();
    for i in 0..3 {
        let inner = Sample::body(format!("b{i}")).id(&format!("m{i}")).encode();
        envelope.extend([0x00, 0x53, 0x75, 0xb0]);
        envelope.extend((inner.len() as u32).to_be_bytes());
        envelope.extend(&inner);
    }
    let messages = Message::decode_batch(&Bytes::from(envelope)).unwrap();
    let ids: Vec<_> = messages.iter().map(|m| m.message_id().unwrap()).collect();
    assert_eq!(ids, ["m0", "m1", "m2"]);
}

proptest! {
    #[test]
    fn the_bare_message_passes_through_untouched(
        id in proptest::option::of(".{0,40}"),
        session in proptest::option::of("[a-z]{1,300}"),
        properties in proptest::collection::vec(("[a-z]{1,8}", ".{0,300}"), 0..4),
        content in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let sample = Sample { id, session, properties, body: content, ..Sample::default() };
        let message = sample.message();
        let encoded = sample.encode();
        prop_assert!(encoded.ends_with(message.bare()));
        let delivered = decode(&message.encode_whole(&stamp()));
        prop_assert_eq!(body(&delivered), sample.body);
        prop_assert_eq!(delivered.properties.unwrap().group_id, sample.session);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let _ = Message::decode(&Bytes::from(bytes.clone()));
        let _ = Message::decode_batch(&Bytes::from(bytes));
        let whole = Sample::body("hello").id("m").property("a", "b").encode();
        let _ = Message::decode(&whole.slice(..cut.index(whole.len())));
    }
}
