//! Sending, receiving and settling.

use std::collections::BTreeSet;
use std::time::Duration;

use azevents_servicebus::{
    ErrorKind, ReceiveMode, Receiver, ReceiverOptions, ServiceBusMessage, dead_letter_queue, subscription,
};
use futures::FutureExt;
use futures::future::try_join_all;

use crate::support::{PATIENCE, client, emulator, id, message, soon};

const NOTHING: Duration = Duration::from_millis(200);

async fn receive_all(receiver: &Receiver, count: usize) -> Vec<azevents_servicebus::ReceivedMessage> {
    let mut received = Vec::new();
    while received.len() < count {
        let batch = receiver.receive_batch(count - received.len(), PATIENCE).await.unwrap();
        assert!(!batch.is_empty(), "{} of {count} messages came", received.len());
        received.extend(batch);
    }
    received
}

#[tokio::test]
async fn a_completed_message_is_received_whole_and_once() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sent = ServiceBusMessage::new("hello")
        .with_message_id("1")
        .with_subject("greeting")
        .with_content_type("text/plain")
        .with_correlation_id("c")
        .with_property("answer", 42_i64);
    soon(client.create_sender("q").send(&sent)).await.unwrap();

    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    assert_eq!(received.body().as_ref(), b"hello");
    assert_eq!(
        (received.subject(), received.content_type()),
        (Some("greeting"), Some("text/plain"))
    );
    assert_eq!((received.correlation_id(), received.delivery_count()), (Some("c"), 1));
    assert_eq!(received.properties()["answer"].as_i64(), Some(42));
    assert!(received.sequence_number() > 0 && received.enqueued_time().is_some());
    assert!(received.locked_until().is_some() && received.lock_token().is_some());

    soon(receiver.complete(&received)).await.unwrap();
    assert!(receiver.receive_batch(1, NOTHING).await.unwrap().is_empty());
    let error = soon(receiver.complete(&received)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageLockLost, "settling twice is refused");
}

#[tokio::test]
async fn a_batch_arrives_whole_and_in_order_in_every_subscription() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("t");
    let mut batch = soon(sender.create_batch()).await.unwrap();
    for n in 0..50 {
        assert!(
            batch
                .try_add(&message(n).with_session_id(format!("s{}", n % 3)))
                .unwrap()
        );
    }
    soon(sender.send_batch(batch)).await.unwrap();

    let receiver = client.create_receiver(&subscription("t", "a"));
    let received = soon(receive_all(&receiver, 50)).await;
    let ids: Vec<_> = received.iter().map(|message| id(message).to_owned()).collect();
    assert_eq!(ids, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    soon(try_join_all(received.iter().map(|message| receiver.complete(message))))
        .await
        .unwrap();
}

#[tokio::test]
async fn many_sends_and_completions_are_in_flight_at_once() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let messages: Vec<_> = (0..500).map(message).collect();
    soon(try_join_all(messages.iter().map(|message| sender.send(message))))
        .await
        .unwrap();

    let receiver = client.create_receiver_with("q", &ReceiverOptions::default().with_prefetch(200));
    let received = soon(receive_all(&receiver, 500)).await;
    let ids: BTreeSet<_> = received.iter().map(|message| id(message).to_owned()).collect();
    assert_eq!(ids.len(), 500);
    soon(try_join_all(received.iter().map(|message| receiver.complete(message))))
        .await
        .unwrap();
    assert!(receiver.receive_batch(1, NOTHING).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_prefetched_and_not_taken_goes_back_when_the_receiver_is_dropped() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let messages: Vec<_> = (0..10).map(message).collect();
    soon(try_join_all(messages.iter().map(|message| sender.send(message))))
        .await
        .unwrap();
    let hoarder = client.create_receiver_with("q", &ReceiverOptions::default().with_prefetch(100));
    let one = soon(hoarder.receive()).await.unwrap();
    soon(hoarder.complete(&one)).await.unwrap();
    drop(hoarder);
    let others = soon(receive_all(&client.create_receiver("q"), 9)).await;
    assert_eq!(others.len(), 9);
}

#[tokio::test]
async fn abandoning_counts_up_until_the_broker_dead_letters() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    for count in 1..=3 {
        let received = soon(receiver.receive()).await.unwrap();
        assert_eq!(received.delivery_count(), count);
        soon(receiver.abandon(&received)).await.unwrap();
    }
    let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("MaxDeliveryCountExceeded"));
}

#[tokio::test]
async fn a_dead_letter_carries_reason_and_description() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1).with_property("kept", "yes")))
        .await
        .unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    soon(receiver.dead_letter(&received, "UnknownCurrency", "GBX is no currency"))
        .await
        .unwrap();

    let graveyard = client.create_receiver(&dead_letter_queue("q"));
    let dead = soon(graveyard.receive()).await.unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("UnknownCurrency"));
    assert_eq!(dead.dead_letter_error_description(), Some("GBX is no currency"));
    assert_eq!(dead.properties()["kept"].as_str(), Some("yes"));
    soon(graveyard.complete(&dead)).await.unwrap();
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_no_message() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let receiver = client.create_receiver("q");
    // Polled, so that its demand is known, and dropped before anything has arrived.
    assert!(receiver.receive_batch(10, PATIENCE).now_or_never().is_none());
    assert!(tokio::time::timeout(NOTHING, receiver.receive()).await.is_err());

    let sender = client.create_sender("q");
    let messages: Vec<_> = (0..20).map(message).collect();
    soon(try_join_all(messages.iter().map(|message| sender.send(message))))
        .await
        .unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 20 {
        // Dropped at any point of its life, often before it is done.
        let patience = Duration::from_micros(seen.len() as u64 * 100);
        if let Ok(received) = tokio::time::timeout(patience, receiver.receive()).await {
            let received = received.unwrap();
            soon(receiver.complete(&received)).await.unwrap();
            assert!(seen.insert(id(&received).to_owned()), "no copies");
            assert_eq!(received.delivery_count(), 1, "none was lost and came again");
        }
    }
}

#[tokio::test]
async fn received_and_deleted_means_gone() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let options = ReceiverOptions::default().with_mode(ReceiveMode::ReceiveAndDelete);
    let receiver = client.create_receiver_with("q", &options);
    let received = soon(receiver.receive()).await.unwrap();
    assert_eq!(
        soon(receiver.complete(&received)).await.unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_alone() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let mut batch = soon(sender.create_batch()).await.unwrap();
    let huge = ServiceBusMessage::new(vec![0_u8; batch.max_size_in_bytes() + 1]).with_message_id("huge");
    let error = batch.try_add(&huge).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
    assert!(error.to_string().contains("message huge has "), "{error}");
    assert!(batch.is_empty());
}

#[tokio::test]
async fn a_renewed_lock_outlives_its_first_end() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    let first_end = received.locked_until().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let end = soon(receiver.renew_lock(&received)).await.unwrap();
    assert!(end > first_end);
}

#[tokio::test]
async fn deferred_messages_are_received_by_their_number() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    soon(receiver.defer(&received)).await.unwrap();
    assert!(receiver.receive_batch(1, NOTHING).await.unwrap().is_empty());
    let deferred = soon(receiver.receive_deferred(&[received.sequence_number()]))
        .await
        .unwrap();
    assert_eq!(id(&deferred[0]), "1");
    soon(receiver.complete(&deferred[0])).await.unwrap();
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_scheduled_message_can_be_taken_back() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let later = time::OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let number = soon(sender.schedule(&message(1), later)).await.unwrap();
    let receiver = client.create_receiver("q");
    assert_eq!(soon(receiver.peek(0, 10)).await.unwrap()[0].sequence_number(), number);
    soon(sender.cancel_scheduled(number)).await.unwrap();
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_entity_that_is_missing_is_named() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let error = soon(client.create_sender("nowhere").send(&message(1)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.entity()),
        (ErrorKind::EntityNotFound, Some("nowhere"))
    );
    let error = soon(client.create_receiver("nowhere").receive()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.entity()),
        (ErrorKind::EntityNotFound, Some("nowhere"))
    );
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    soon(sender.send(&message(1))).await.unwrap();
    soon(client.close()).await;
    assert_eq!(
        soon(sender.send(&message(2))).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[tokio::test]
async fn a_receiver_that_nobody_asks_keeps_no_messages_from_others() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let idle = client.create_receiver("q");
    assert!(idle.receive_batch(10, NOTHING).await.unwrap().is_empty());
    // It has asked the broker for ten; soon it takes that back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sender = client.create_sender("q");
    let messages: Vec<_> = (0..10).map(message).collect();
    soon(try_join_all(messages.iter().map(|message| sender.send(message))))
        .await
        .unwrap();
    let busy = client.create_receiver("q");
    for received in soon(receive_all(&busy, 10)).await {
        assert_eq!(received.delivery_count(), 1);
        soon(busy.complete(&received)).await.unwrap();
    }
    // And goes on when it is asked again.
    soon(sender.send(&message("last"))).await.unwrap();
    assert_eq!(id(&soon(idle.receive()).await.unwrap()), "last");
}
