//! Batches of one session, in order.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Consumer, Publisher};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{
    ServiceBusClient, ServiceBusPublisher, SessionConsumer, SessionConsumerOptions, SessionReceiverOptions,
    dead_letter_queue,
};
use tokio_util::sync::CancellationToken;

use super::{Bulk, left, limits, pipeline, publish, stop_within_a_batch, trouble};
use crate::support::{client, emulator, line, run_until, soon};

fn consumer(client: &ServiceBusClient) -> SessionConsumer {
    let options = SessionConsumerOptions::default()
        .with_sessions(3)
        .with_idle_timeout(Duration::from_millis(100));
    SessionConsumer::new(client.clone(), "qs", options)
}

#[tokio::test]
async fn a_batch_is_of_one_session_in_order_and_all_of_it_is_completed() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "qs", 5, 40).await;
    let bulk = Arc::new(Bulk::default());
    let pipeline = pipeline(&bulk, limits(16).with_linger(Duration::from_millis(20)));
    run_until(consumer(&client), pipeline.clone(), bulk.has(200)).await;
    for (key, numbers) in bulk.by_key() {
        assert!(numbers.iter().copied().eq(0..40), "{key}: {numbers:?}");
    }
    assert!(bulk.sizes().contains(&16) && bulk.sizes().iter().all(|size| *size <= 16));
    assert_eq!((pipeline.stats().handled, left(&client, "qs").await), (200, 0));
}

#[tokio::test]
async fn of_a_batch_that_fails_the_poison_is_set_aside_alone_and_the_rest_is_handled_in_order() {
    for panics in [false, true] {
        let emulator = emulator().await;
        let client = client(&emulator);
        publish(&client, "qs", 1, 30).await;
        let bulk = Arc::new(Bulk {
            poison: Some(7),
            fragile: Some(13),
            panics,
            ..Bulk::default()
        });
        let limits = limits(10).with_linger(Duration::from_millis(50));
        run_until(consumer(&client), pipeline(&bulk, limits), bulk.has(29)).await;
        let expected: Vec<_> = (0..30).filter(|n| *n != 7).collect();
        assert_eq!(bulk.by_key()["order-0"], expected, "each once, in order");
        assert_eq!(*bulk.fragile_alone.lock().unwrap(), [1, 2], "it was given back alone");
        assert!(bulk.sizes().contains(&1) && bulk.sizes().iter().any(|size| *size > 1));
        let dead = soon(client.create_receiver(&dead_letter_queue("qs")).receive())
            .await
            .unwrap();
        assert_eq!(dead.message_id(), Some("order-0-7"));
        assert_eq!(dead.dead_letter_reason(), Some("Refused"));
        assert!(dead.dead_letter_error_description().unwrap().contains("[7]"));
        assert_eq!(left(&client, "qs").await, 0);
    }
}

#[tokio::test]
async fn stopping_finishes_the_batch_and_gives_back_what_waits() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "qs", 1, 10).await;
    let bulk = Arc::new(Bulk::gated());
    let consumer = SessionConsumer::new(client.clone(), "qs", SessionConsumerOptions::default());
    let limits = limits(4).with_linger(Duration::from_secs(60));
    stop_within_a_batch(consumer, pipeline(&bulk, limits), &bulk).await;
    assert_eq!(bulk.by_key()["order-0"], [0, 1, 2, 3]);
    assert_eq!(left(&client, "qs").await, 6);
    // As soon as it is let go.
    let accept = SessionReceiverOptions::default();
    let session = soon(client.accept_next_session("qs", &accept))
        .await
        .unwrap()
        .expect("it has messages");
    let next = soon(session.receive_batch(1, Duration::from_secs(10))).await.unwrap();
    assert_eq!((next[0].message_id(), next[0].delivery_count()), (Some("order-0-4"), 1));
}

#[tokio::test]
async fn a_batch_whose_process_is_killed_comes_again_in_order() {
    let emulator = emulator().await;
    let first = client(&emulator);
    publish(&first, "qs", 1, 10).await;
    let bulk = Arc::new(Bulk::gated());
    let killed = consumer(&first);
    let running = killed.run(pipeline(&bulk, limits(10)), CancellationToken::new());
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = soon(bulk.begun.notified()) => {}
    }
    first.close().await;
    let (second, after) = (client(&emulator), Arc::new(Bulk::default()));
    run_until(consumer(&second), pipeline(&after, limits(10)), after.has(10)).await;
    assert!(after.by_key()["order-0"].iter().copied().eq(0..10));
    assert_eq!((bulk.by_key().len(), left(&second, "qs").await), (0, 0));
}

#[tokio::test]
async fn losing_the_session_cancels_its_batch_which_comes_again() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "qs", 1, 10).await;
    let bulk = Arc::new(Bulk::gated());
    run_until(consumer(&client), pipeline(&bulk, limits(10)), async {
        bulk.begun.notified().await;
        emulator
            .faults()
            .set_plan(FaultPlan::new(1).with(FaultKind::DropConnection, 1.0, 1));
        // Something for the fault to strike, on the connection that both share.
        let _ = ServiceBusPublisher::new(&client, "q").publish(&[line("", 1)]).await;
        bulk.lost.notified().await;
        tokio::join!(bulk.has(10), async {
            loop {
                bulk.let_go();
                tokio::task::yield_now().await;
                if bulk.sizes().iter().sum::<usize>() >= 10 {
                    break;
                }
            }
        });
    })
    .await;
    assert!(bulk.by_key()["order-0"].iter().copied().eq(0..10));
    assert_eq!(left(&client, "qs").await, 0);
}

#[tokio::test]
async fn batches_survive_faults_with_nothing_lost_and_sessions_in_order() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "qs", 10, 30).await;
    emulator.faults().set_plan(trouble());
    let bulk = Arc::new(Bulk::default());
    run_until(consumer(&client), pipeline(&bulk, limits(8)), bulk.has(300)).await;
    for (key, numbers) in bulk.by_key() {
        let mut seen = Vec::new();
        // What comes again was there before: no number is new behind a higher one.
        for number in numbers {
            if !seen.contains(&number) {
                assert_eq!(number, seen.len(), "{key}");
                seen.push(number);
            }
        }
        assert_eq!(seen.len(), 30, "{key}");
    }
}
