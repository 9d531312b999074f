//! What a message may carry, and what becomes of it on its way through an entity.

use std::collections::BTreeMap;
use std::time::Duration;

use azevents_servicebus::{
    AmqpBody, AmqpValue, ErrorKind, Properties, PropertyValue, ServiceBusMessage, SessionReceiverOptions, Settlement,
    dead_letter_queue,
};
use time::OffsetDateTime;

use crate::support::{client, emulator, id, message, soon};

fn note(text: &str) -> Properties {
    BTreeMap::from([("note".to_owned(), PropertyValue::from(text))])
}

#[tokio::test]
async fn every_kind_of_body_and_property_arrives_as_it_was_sent() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let map = AmqpValue::Map(vec![("k".into(), AmqpValue::List(vec![1_i32.into(), "two".into()]))]);
    let properties = [
        ("u8", PropertyValue::from(7_u8)),
        ("i16", PropertyValue::from(-7_i16)),
        ("u64", PropertyValue::from(u64::MAX)),
        ("f32", PropertyValue::from(0.5_f32)),
        ("char", PropertyValue::from('é')),
        ("at", PropertyValue::from(OffsetDateTime::UNIX_EPOCH)),
        ("id", PropertyValue::from(uuid::Uuid::from_u128(7))),
    ];
    let properties: Properties = properties.map(|(name, value)| (name.to_owned(), value)).into();
    let sent = [
        ServiceBusMessage::new("bytes").with_properties(properties.clone()),
        ServiceBusMessage::from_value("text"),
        ServiceBusMessage::from_value(map),
        ServiceBusMessage::from_sequence(vec![vec![1_i32.into()], vec!["two".into()]]),
    ];
    let (sender, receiver) = (client.create_sender("q"), client.create_receiver("q"));
    for message in &sent {
        soon(sender.send(message)).await.unwrap();
        let received = soon(receiver.receive()).await.unwrap();
        assert_eq!(received.amqp_body(), message.amqp_body());
        assert_eq!(received.body(), message.body());
        soon(receiver.complete(&received)).await.unwrap();
        if matches!(received.amqp_body(), AmqpBody::Data(_)) {
            assert_eq!(received.properties(), &properties);
        }
    }
}

#[tokio::test]
async fn settling_can_set_properties_for_whoever_comes_next() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1).with_property("kept", true)))
        .await
        .unwrap();
    let receiver = client.create_receiver("q");
    let first = soon(receiver.receive()).await.unwrap();
    soon(receiver.settle_with(&first, &Settlement::Abandon, &note("abandoned")))
        .await
        .unwrap();
    let second = soon(receiver.receive()).await.unwrap();
    assert_eq!(second.properties()["note"].as_str(), Some("abandoned"));
    soon(receiver.settle_with(&second, &Settlement::Defer, &note("deferred")))
        .await
        .unwrap();
    let number = [second.sequence_number()];
    let third = soon(receiver.receive_deferred(&number)).await.unwrap().remove(0);
    assert_eq!(third.properties()["note"].as_str(), Some("deferred"));
    // Goes through `$management`, as it came.
    let dead = Settlement::dead_letter("Bad", "very");
    soon(receiver.settle_with(&third, &dead, &note("dead"))).await.unwrap();

    let graveyard = client.create_receiver(&dead_letter_queue("q"));
    let dead = soon(graveyard.receive()).await.unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("Bad"));
    assert_eq!(dead.properties()["note"].as_str(), Some("dead"));
    assert_eq!(dead.properties()["kept"], PropertyValue::Bool(true));
}

#[tokio::test]
async fn a_dead_letter_over_the_link_carries_properties_too() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    let long = "x".repeat(10_000);
    soon(receiver.settle_with(&received, &Settlement::dead_letter(&long, &long), &note("dead")))
        .await
        .unwrap();
    let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!(dead.dead_letter_reason().map(str::len), Some(4096));
    assert_eq!(dead.properties()["note"].as_str(), Some("dead"));
}

#[tokio::test]
async fn several_messages_are_scheduled_and_cancelled_at_once() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let messages: Vec<_> = (0..3).map(message).collect();
    let at = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let numbers = soon(sender.schedule_all(&messages, at)).await.unwrap();
    assert_eq!(numbers.len(), 3);
    soon(sender.cancel_all_scheduled(&numbers[..2])).await.unwrap();
    let left = soon(client.create_receiver("q").peek(0, 10)).await.unwrap();
    assert_eq!((left.len(), id(&left[0])), (1, "2"));
    let error = soon(sender.cancel_scheduled(numbers[0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageNotFound, "{error}");
}

#[tokio::test]
async fn several_locks_are_renewed_at_once() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let mut batch = soon(sender.create_batch()).await.unwrap();
    for n in 0..3 {
        assert!(batch.try_add(&message(n)).unwrap());
    }
    soon(sender.send_batch(batch)).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive_batch(3, Duration::from_secs(5))).await.unwrap();
    let ends = soon(receiver.renew_locks(&received.iter().collect::<Vec<_>>()))
        .await
        .unwrap();
    assert_eq!(ends.len(), received.len());
    assert!(
        received
            .iter()
            .zip(ends)
            .all(|(message, end)| Some(end) >= message.locked_until())
    );
}

#[tokio::test]
async fn a_deferred_message_of_a_session_is_received_and_settled_by_its_holder() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("qs");
    soon(sender.send(&message(1).with_session_id("a"))).await.unwrap();
    assert_eq!(soon(client.list_sessions("qs", 0, 10)).await.unwrap(), ["a"]);
    let session = soon(client.accept_session("qs", "a", &SessionReceiverOptions::default()))
        .await
        .unwrap();
    let received = soon(session.receive_batch(1, Duration::from_secs(5))).await.unwrap();
    soon(session.defer(&received[0])).await.unwrap();
    let numbers = [received[0].sequence_number()];
    let deferred = soon(session.receive_deferred(&numbers)).await.unwrap();
    assert_eq!(id(&deferred[0]), "1");
    soon(session.complete(&deferred[0])).await.unwrap();
    assert!(soon(session.peek(0, 10)).await.unwrap().is_empty());
    assert!(soon(client.list_sessions("qs", 1, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_taken_once_where_the_entity_detects_duplicates() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("dedupe");
    for _ in 0..3 {
        soon(sender.send(&message(1))).await.unwrap();
    }
    assert_eq!(
        soon(client.create_receiver("dedupe").peek(0, 10)).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused_before_it_is_sent() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let long = "x".repeat(129);
    let wrong = [
        message(&long),
        message(1).with_session_id(&long),
        message(1).with_session_id("a").with_partition_key("b"),
    ];
    for message in wrong {
        let error = soon(sender.send(&message)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    let huge = ServiceBusMessage::new(vec![0_u8; 2 * 1024 * 1024]);
    let error = soon(sender.send(&huge)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
    // And the link is still there.
    soon(sender.send(&message(1))).await.unwrap();
}

#[tokio::test]
async fn a_message_of_many_frames_arrives_whole() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    soon(client.create_sender("q").send(&ServiceBusMessage::new(body.clone())))
        .await
        .unwrap();
    let received = soon(client.create_receiver("q").receive()).await.unwrap();
    assert_eq!(received.body().as_ref(), body);
}
