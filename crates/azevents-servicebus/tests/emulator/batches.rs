//! Batch handlers on sessions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    BatchHandler, BatchLimits, Consumer, Delivery, HandlerError, Message, Pipeline, Publisher, RetryPolicy,
};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{
    ServiceBusClient, ServiceBusPublisher, SessionConsumer, SessionConsumerOptions, SessionReceiverOptions,
    dead_letter_queue,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{client, emulator, line, number, soon};

async fn publish(client: &ServiceBusClient, keys: usize, each: usize) {
    let messages: Vec<_> = (0..each)
        .flat_map(|n| (0..keys).map(move |key| line(&format!("order-{key}"), n)))
        .collect();
    soon(ServiceBusPublisher::new(client, "qs").publish(&messages))
        .await
        .unwrap();
}

/// Keeps the batches that it has handled.
#[derive(Default)]
struct Bulk {
    /// What each batch was of: a key, and its numbers.
    done: Mutex<Vec<(String, Vec<usize>)>>,
    changed: Notify,
    /// Refuses every batch with this number in it.
    poison: Option<usize>,
    /// Fails the first batch of several with this number in it, and the first time that it comes alone.
    fragile: Option<usize>,
    panics: bool,
    fragile_alone: Mutex<Vec<u32>>,
    /// Waits to be let go.
    gate: Option<Notify>,
    begun: Notify,
    lost: Notify,
}

#[async_trait]
impl BatchHandler for Bulk {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        let numbers: Vec<_> = messages.iter().copied().map(number).collect();
        self.begun.notify_one();
        if let Some(gate) = &self.gate {
            tokio::select! {
                () = gate.notified() => {}
                () = delivery.lock_lost.cancelled() => {
                    self.lost.notify_one();
                    return Err(HandlerError::transient("lost"));
                }
            }
        }
        if self.poison.is_some_and(|poison| numbers.contains(&poison)) {
            return Err(HandlerError::permanent("Refused", format!("one of {numbers:?}")));
        }
        if self.fragile.is_some_and(|fragile| numbers.contains(&fragile)) {
            if numbers.len() > 1 {
                assert!(!self.panics, "as told");
                return Err(HandlerError::transient("too many"));
            }
            self.fragile_alone.lock().unwrap().push(delivery.count);
            if delivery.count == 1 {
                return Err(HandlerError::transient("not the first time"));
            }
        }
        assert!(messages.iter().all(|message| message.key == messages[0].key));
        self.done.lock().unwrap().push((messages[0].key.clone(), numbers));
        self.changed.notify_one();
        Ok(())
    }
}

impl Bulk {
    /// The numbers of each key, as they were handled.
    fn by_key(&self) -> BTreeMap<String, Vec<usize>> {
        let mut all = BTreeMap::<String, Vec<usize>>::new();
        for (key, numbers) in self.done.lock().unwrap().iter() {
            all.entry(key.clone()).or_default().extend(numbers);
        }
        all
    }

    fn sizes(&self) -> Vec<usize> {
        self.done
            .lock()
            .unwrap()
            .iter()
            .map(|(_, numbers)| numbers.len())
            .collect()
    }

    /// Waits until so many different messages are handled.
    async fn has(&self, count: usize) {
        loop {
            let all = self.by_key().into_values().map(|mut numbers| {
                numbers.sort_unstable();
                numbers.dedup();
                numbers.len()
            });
            if all.sum::<usize>() >= count {
                return;
            }
            self.changed.notified().await;
        }
    }
}

fn limits(messages: usize) -> BatchLimits {
    BatchLimits::default().with_messages(messages)
}

fn pipeline(bulk: &Arc<Bulk>, limits: BatchLimits) -> Arc<Pipeline> {
    Arc::new(Pipeline::in_batches(bulk.clone(), limits).with_retry(RetryPolicy::none()))
}

/// Consumes the sessions of `qs` until `until` is done.
async fn consume(client: &ServiceBusClient, pipeline: Arc<Pipeline>, until: impl Future<Output = ()>) {
    let options = SessionConsumerOptions::default()
        .with_sessions(3)
        .with_idle_timeout(Duration::from_millis(100));
    let consumer = SessionConsumer::new(client.clone(), "qs", options);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { consumer.run(pipeline, stop).await }
    });
    soon(until).await;
    stop.cancel();
    soon(running).await.unwrap().unwrap();
}

async fn left(client: &ServiceBusClient) -> usize {
    soon(client.create_receiver("qs").peek(0, 100)).await.unwrap().len()
}

#[tokio::test]
async fn a_batch_is_of_one_session_in_order_and_all_of_it_is_completed() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, 5, 40).await;
    let bulk = Arc::new(Bulk::default());
    let pipeline = pipeline(&bulk, limits(16).with_linger(Duration::from_millis(20)));
    consume(&client, pipeline.clone(), bulk.has(200)).await;
    for (key, numbers) in bulk.by_key() {
        assert!(numbers.iter().copied().eq(0..40), "{key}: {numbers:?}");
    }
    assert!(bulk.sizes().contains(&16) && bulk.sizes().iter().all(|size| *size <= 16));
    assert_eq!((pipeline.stats().handled, left(&client).await), (200, 0));
}

#[tokio::test]
async fn of_a_batch_that_fails_the_poison_is_set_aside_alone_and_the_rest_is_handled_in_order() {
    for panics in [false, true] {
        let emulator = emulator().await;
        let client = client(&emulator);
        publish(&client, 1, 30).await;
        let bulk = Arc::new(Bulk {
            poison: Some(7),
            fragile: Some(13),
            panics,
            ..Bulk::default()
        });
        let limits = limits(10).with_linger(Duration::from_millis(50));
        consume(&client, pipeline(&bulk, limits), bulk.has(29)).await;
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
        assert_eq!(left(&client).await, 0);
    }
}

#[tokio::test]
async fn stopping_finishes_the_batch_and_gives_back_what_waits() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, 1, 10).await;
    let bulk = Arc::new(Bulk {
        gate: Some(Notify::new()),
        ..Bulk::default()
    });
    let consumer = SessionConsumer::new(client.clone(), "qs", SessionConsumerOptions::default());
    let stop = CancellationToken::new();
    let limits = limits(4).with_linger(Duration::from_secs(60));
    let pipeline = pipeline(&bulk, limits);
    let mut running = tokio::spawn({
        let stop = stop.clone();
        async move { consumer.run(pipeline, stop).await }
    });
    soon(bulk.begun.notified()).await;
    stop.cancel();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut running).await;
    assert!(early.is_err(), "it waits for the batch: {early:?}");
    bulk.gate.as_ref().unwrap().notify_one();
    soon(running).await.unwrap().unwrap();
    assert_eq!(bulk.by_key()["order-0"], [0, 1, 2, 3]);
    assert_eq!(left(&client).await, 6);
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
    publish(&first, 1, 10).await;
    let bulk = Arc::new(Bulk {
        gate: Some(Notify::new()),
        ..Bulk::default()
    });
    let consumer = SessionConsumer::new(first.clone(), "qs", SessionConsumerOptions::default());
    let running = consumer.run(pipeline(&bulk, limits(10)), CancellationToken::new());
    tokio::select! {
        ended = running => panic!("{ended:?}"),
        () = soon(bulk.begun.notified()) => {}
    }
    first.close().await;
    let (second, after) = (client(&emulator), Arc::new(Bulk::default()));
    consume(&second, pipeline(&after, limits(10)), after.has(10)).await;
    assert!(after.by_key()["order-0"].iter().copied().eq(0..10));
    assert_eq!((bulk.by_key().len(), left(&second).await), (0, 0));
}

#[tokio::test]
async fn losing_the_session_cancels_its_batch_which_comes_again() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, 1, 10).await;
    let bulk = Arc::new(Bulk {
        gate: Some(Notify::new()),
        ..Bulk::default()
    });
    consume(&client, pipeline(&bulk, limits(10)), async {
        bulk.begun.notified().await;
        emulator
            .faults()
            .set_plan(FaultPlan::new(1).with(FaultKind::DropConnection, 1.0, 1));
        // Something for the fault to strike, on the connection that both share.
        let _ = ServiceBusPublisher::new(&client, "q").publish(&[line("", 1)]).await;
        bulk.lost.notified().await;
        tokio::join!(bulk.has(10), async {
            loop {
                bulk.gate.as_ref().unwrap().notify_one();
                tokio::task::yield_now().await;
                if bulk.sizes().iter().sum::<usize>() >= 10 {
                    break;
                }
            }
        });
    })
    .await;
    assert!(bulk.by_key()["order-0"].iter().copied().eq(0..10));
    assert_eq!(left(&client).await, 0);
}

#[tokio::test]
async fn batches_survive_faults_with_nothing_lost_and_sessions_in_order() {
    let emulator = emulator().await;
    let client = client(&emulator);
    publish(&client, 10, 30).await;
    let plan = FaultPlan::new(5)
        .with(FaultKind::DropConnection, 0.02, 5)
        .with(FaultKind::DetachLink, 0.02, 5)
        .with(FaultKind::LoseOutcome, 0.02, 3)
        .with(FaultKind::RepeatDelivery, 0.02, 10);
    emulator.faults().set_plan(plan);
    let bulk = Arc::new(Bulk::default());
    consume(&client, pipeline(&bulk, limits(8)), bulk.has(300)).await;
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
