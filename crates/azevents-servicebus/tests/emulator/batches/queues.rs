//! Batches of what is there, where there are no sessions.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::Publisher;
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{
    ConsumerOptions, ServiceBusClient, ServiceBusConsumer, ServiceBusPublisher, dead_letter_queue,
};

use super::{Bulk, left, limits, pipeline, publish, stop_within_a_batch, trouble};
use crate::support::{client, emulator, line, run_until, soon};

fn consumer(client: &ServiceBusClient, concurrency: usize) -> ServiceBusConsumer {
    let options = ConsumerOptions::default().with_concurrency(concurrency);
    ServiceBusConsumer::new(client.clone(), "q", options)
}

/// The numbers of the only key, each once.
fn numbers(bulk: &Bulk) -> Vec<usize> {
    let mut numbers = bulk.by_key().remove("order-0").unwrap_or_default();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[tokio::test]
async fn a_batch_is_what_is_there_up_to_its_limit_and_all_of_it_is_completed() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "q", 1, 100).await;
    let bulk = Arc::new(Bulk::default());
    let pipeline = pipeline(&bulk, limits(16));
    run_until(consumer(&client, 3), pipeline.clone(), bulk.has(100)).await;
    assert!(numbers(&bulk).into_iter().eq(0..100));
    let sizes = bulk.sizes();
    assert!(sizes.contains(&16) && sizes.iter().all(|size| *size <= 16), "{sizes:?}");
    assert_eq!((pipeline.stats().handled, left(&client, "q").await), (100, 0));
}

#[tokio::test]
async fn a_batch_waits_for_others_and_nobody_takes_them_away() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let bulk = Arc::new(Bulk::default());
    let pipeline = pipeline(&bulk, limits(5).with_linger(Duration::from_secs(60)));
    run_until(consumer(&client, 8), pipeline, async {
        let publisher = ServiceBusPublisher::new(&client, "q");
        for n in 0..10 {
            publisher.publish(&[line("order-0", n)]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bulk.has(10).await;
    })
    .await;
    assert_eq!(bulk.sizes(), [5, 5]);
}

#[tokio::test]
async fn of_a_batch_that_fails_the_poison_is_set_aside_alone_and_the_rest_is_handled() {
    for panics in [false, true] {
        let emulator = emulator().await;
        let client = client(&emulator);
        publish(&client, "q", 1, 30).await;
        let bulk = Arc::new(Bulk {
            poison: Some(7),
            fragile: Some(13),
            panics,
            ..Bulk::default()
        });
        run_until(consumer(&client, 1), pipeline(&bulk, limits(10)), bulk.has(29)).await;
        assert!(numbers(&bulk).into_iter().eq((0..30).filter(|n| *n != 7)));
        assert_eq!(bulk.by_key()["order-0"].len(), 29, "each once");
        assert_eq!(*bulk.fragile_alone.lock().unwrap(), [1, 2], "it was given back alone");
        assert!(bulk.sizes().contains(&1) && bulk.sizes().iter().any(|size| *size > 1));
        let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
            .await
            .unwrap();
        assert_eq!(dead.message_id(), Some("order-0-7"));
        assert_eq!(dead.dead_letter_reason(), Some("Refused"));
        assert_eq!(left(&client, "q").await, 0);
    }
}

#[tokio::test]
async fn stopping_finishes_the_batches_that_run_and_gives_back_what_waits() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "q", 1, 10).await;
    let bulk = Arc::new(Bulk::gated());
    stop_within_a_batch(consumer(&client, 1), pipeline(&bulk, limits(4)), &bulk).await;
    let done = numbers(&bulk).len();
    assert!((1..=4).contains(&done), "{done}");
    let receiver = client.create_receiver("q");
    let mut rest = Vec::new();
    while rest.len() < 10 - done {
        rest.extend(soon(receiver.receive_batch(10, Duration::from_secs(10))).await.unwrap());
    }
    assert!(rest.iter().all(|message| message.delivery_count() == 1));
}

#[tokio::test]
async fn a_batch_one_of_whose_locks_is_lost_is_told_and_nothing_is_lost() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "q", 1, 4).await;
    let bulk = Arc::new(Bulk::gated());
    // Renewed half-way through its five seconds.
    let plan = FaultPlan::new(1).with(FaultKind::ExpireLock, 1.0, 2);
    emulator.faults().set_plan(plan);
    run_until(consumer(&client, 1), pipeline(&bulk, limits(4)), async {
        bulk.lost.notified().await;
        tokio::join!(bulk.has(4), async {
            while numbers(&bulk).len() < 4 {
                bulk.let_go();
                tokio::task::yield_now().await;
            }
        });
    })
    .await;
    assert!(numbers(&bulk).into_iter().eq(0..4));
    assert_eq!(left(&client, "q").await, 0);
}

#[tokio::test]
async fn batches_survive_faults_with_nothing_lost() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, "q", 1, 300).await;
    emulator.faults().set_plan(trouble());
    let bulk = Arc::new(Bulk::default());
    run_until(consumer(&client, 2), pipeline(&bulk, limits(8)), bulk.has(300)).await;
    assert!(numbers(&bulk).into_iter().eq(0..300));
}
