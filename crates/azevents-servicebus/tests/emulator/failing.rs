//! What happens to messages whose handler fails: the story they tell, the circuit that opens, the copy that comes later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::dead_letter::{ORIGINAL_ID, RETRY_COUNT};
use azevents_core::failures::{ATTEMPTS, CONSUMER, FIRST_ERROR, FIRST_FAILED_AT, LAST_ERROR, LAST_FAILED_AT};
use azevents_core::{
    CircuitBreaker, CircuitBreakerOptions, CircuitState, Consumer, Delivery, Handled, Handler, HandlerError, Message,
    Pipeline, RetryPolicy,
};
use azevents_emulator::{Emulator, FaultKind, FaultPlan, Queue};
use azevents_servicebus::{
    ConsumerOptions, DelayedRetry, ReceivedMessage, ServiceBusClient, ServiceBusConsumer, SessionConsumer,
    SessionConsumerOptions, dead_letter_queue, subscription,
};
use tokio_util::sync::CancellationToken;

use crate::support::{client, emulator, message, soon};

type Outcome = Result<Handled, HandlerError>;

/// A handler made of a function.
struct Do<F>(F);

#[async_trait]
impl<F: Fn(&Message, &Delivery) -> Outcome + Send + Sync> Handler for Do<F> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Outcome {
        (self.0)(message, delivery)
    }
}

fn pipeline(handler: impl Fn(&Message, &Delivery) -> Outcome + Send + Sync + 'static) -> Pipeline {
    Pipeline::new(Arc::new(Do(handler))).with_retry(RetryPolicy::none())
}

/// Runs a consumer until `done` says so.
async fn run_until(consumer: &dyn Consumer, pipeline: &Arc<Pipeline>, done: impl Fn() -> bool) {
    let stop = CancellationToken::new();
    let watch = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(consumer.run(pipeline.clone(), stop.clone()), watch) }).await;
    ended.expect("a graceful stop");
}

fn text<'a>(message: &'a ReceivedMessage, property: &str) -> &'a str {
    message.properties()[property].as_str().expect("text")
}

#[tokio::test]
async fn a_dead_letter_tells_its_whole_story_over_all_deliveries() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let traced = message(1).with_property("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    soon(client.create_sender("q").send(&traced)).await.unwrap();
    let pipeline = Arc::new(
        pipeline(|_, delivery| Err(HandlerError::transient(format!("failed at {}", delivery.count))))
            .with_consumer("billing")
            .with_max_deliveries(3),
    );
    let consumer = ServiceBusConsumer::new(client.clone(), "q", ConsumerOptions::default());
    run_until(&consumer, &pipeline, || pipeline.stats().dead_lettered == 1).await;
    let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("RetriesExhausted"));
    assert_eq!((text(&dead, CONSUMER), text(&dead, ATTEMPTS)), ("billing", "3"));
    assert!(text(&dead, FIRST_ERROR).contains("failed at 1"));
    assert!(text(&dead, LAST_ERROR).contains("failed at 3"));
    assert!(text(&dead, FIRST_FAILED_AT) < text(&dead, LAST_FAILED_AT));
    assert!(text(&dead, "traceparent").starts_with("00-0af7"));
}

#[tokio::test]
async fn an_endless_error_is_dead_lettered_all_the_same() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let pipeline = Arc::new(pipeline(|_, _| {
        Err(HandlerError::permanent("Endless", "é".repeat(1_000_000)))
    }));
    let consumer = ServiceBusConsumer::new(client.clone(), "q", ConsumerOptions::default());
    run_until(&consumer, &pipeline, || pipeline.stats().dead_lettered == 1).await;
    let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("Endless"));
    assert_eq!(text(&dead, CONSUMER), "q", "called by what it consumes");
}

/// An outage of what a handler needs, over a hundred messages in ten sessions.
async fn outage(client: &ServiceBusClient, entity: &str, consumer: &dyn Consumer) {
    let to = entity.split('/').next().expect("a name");
    for n in 0..100 {
        let message = message(n).with_session_id((n % 10).to_string());
        soon(client.create_sender(to).send(&message)).await.unwrap();
    }
    let (down, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let breaker = CircuitBreaker::new(
        CircuitBreakerOptions::default().with_pause(Duration::from_millis(50), Duration::from_millis(200)),
    );
    let handler = {
        let (down, calls, counts) = (down.clone(), calls.clone(), counts.clone());
        move |message: &Message, delivery: &Delivery| {
            if down.load(Ordering::Relaxed) {
                calls.fetch_add(1, Ordering::Relaxed);
                return Err(HandlerError::transient("the database is away"));
            }
            counts.lock().unwrap().insert(message.id.clone(), delivery.count);
            Ok(Handled::Done)
        }
    };
    // For as long as it takes until others have failed as well: what is given up on before is nobody's fault.
    let retry = RetryPolicy::forever()
        .with_base(Duration::from_millis(20))
        .with_cap(Duration::from_millis(100));
    let pipeline = Arc::new(
        pipeline(handler)
            .with_retry(retry)
            .with_circuit_breaker(breaker.clone()),
    );
    let mended = AtomicBool::new(false);
    run_until(consumer, &pipeline, || {
        // Down until it has been probed many times over.
        if calls.load(Ordering::Relaxed) > 40 && !mended.swap(true, Ordering::Relaxed) {
            assert_ne!(breaker.state(), CircuitState::Closed);
            down.store(false, Ordering::Relaxed);
        }
        counts.lock().unwrap().len() == 100
    })
    .await;
    assert_eq!(breaker.state(), CircuitState::Closed);
    assert_eq!((pipeline.stats().dead_lettered, pipeline.stats().abandoned), (0, 0));
    assert!(counts.lock().unwrap().values().all(|count| *count == 1), "{counts:?}");
}

#[tokio::test]
async fn while_a_dependency_is_down_no_delivery_is_counted() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let options = ConsumerOptions::default().with_prefetch(20);
    let consumer = ServiceBusConsumer::new(client.clone(), "q", options);
    outage(&client, "q", &consumer).await;
}

#[tokio::test]
async fn while_a_dependency_is_down_sessions_keep_their_deliveries() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let options = SessionConsumerOptions::default().with_idle_timeout(Duration::from_millis(20));
    let consumer = SessionConsumer::new(client.clone(), "qs", options);
    outage(&client, "qs", &consumer).await;
}

#[tokio::test]
async fn a_users_pause_and_a_circuits_do_not_undo_each_other() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let consumer = ServiceBusConsumer::new(client.clone(), "q", ConsumerOptions::default());
    consumer.control().pause();
    let breaker = CircuitBreaker::new(CircuitBreakerOptions::default());
    let pipeline = Arc::new(pipeline(|_, _| Ok(Handled::Done)).with_circuit_breaker(breaker));
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (consumer, pipeline, stop) = (consumer.clone(), pipeline.clone(), stop.clone());
        async move { consumer.run(pipeline, stop).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((consumer.control().is_paused(), pipeline.stats().handled), (true, 0));
    consumer.control().resume();
    soon(async {
        while pipeline.stats().handled == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    stop.cancel();
    soon(running).await.unwrap().unwrap();
}

/// Delays that are long for a test and yet over soon.
fn delayed() -> DelayedRetry {
    DelayedRetry::default().with_delays(Duration::from_millis(200), Duration::from_millis(400))
}

async fn peek(client: &ServiceBusClient, entity: &str) -> Vec<ReceivedMessage> {
    soon(client.create_receiver(entity).peek(0, 250)).await.unwrap()
}

/// The id a message had in the beginning.
fn original(message: &ReceivedMessage) -> String {
    let id = message.properties().get(ORIGINAL_ID).and_then(|value| value.as_str());
    id.or(message.message_id()).expect("an id").to_owned()
}

#[tokio::test]
async fn a_copy_comes_later_in_the_messages_place_and_past_duplicate_detection() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(
        client
            .create_sender("dedupe")
            .send(&message(1).with_property("n", 7_i64)),
    )
    .await
    .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pipeline = {
        let seen = seen.clone();
        Arc::new(pipeline(move |message, delivery| {
            let before = message.headers.get(ATTEMPTS).cloned().unwrap_or_default();
            seen.lock()
                .unwrap()
                .push((message.id.clone(), message.headers["n"].clone(), delivery.count, before));
            if delivery.count < 3 {
                return Err(HandlerError::transient("not yet"));
            }
            Ok(Handled::Done)
        }))
    };
    let options = ConsumerOptions::default().with_delayed_retry(delayed());
    let consumer = ServiceBusConsumer::new(client.clone(), "dedupe", options);
    let begun = std::time::Instant::now();
    run_until(&consumer, &pipeline, || pipeline.stats().handled == 1).await;
    assert!(begun.elapsed() > Duration::from_millis(500), "it was waited for");
    let deliveries = [(1, ""), (2, "1"), (3, "2")];
    let expected = deliveries.map(|(count, before)| ("1".to_owned(), "7".to_owned(), count, before.to_owned()));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert!(peek(&client, "dedupe").await.is_empty());
}

#[tokio::test]
async fn delayed_retries_end_in_the_dead_letters_with_their_whole_story() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let pipeline = pipeline(|_, _| Err(HandlerError::transient("never"))).with_max_deliveries(4);
    let pipeline = Arc::new(pipeline);
    let short = DelayedRetry::default().with_delays(Duration::from_millis(10), Duration::from_millis(20));
    let consumer = ServiceBusConsumer::new(
        client.clone(),
        "q",
        ConsumerOptions::default().with_delayed_retry(short),
    );
    run_until(&consumer, &pipeline, || pipeline.stats().dead_lettered == 1).await;
    let dead = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!((text(&dead, ATTEMPTS), original(&dead).as_str()), ("4", "1"));
    assert_eq!(dead.properties()[RETRY_COUNT].as_i64(), Some(3));
}

#[tokio::test]
async fn a_subscriptions_copy_is_handled_by_no_other_subscription() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("t").send(&message(1).with_session_id("a")))
        .await
        .unwrap();
    let failing = Arc::new(pipeline(|_, delivery| match delivery.count {
        1 => Err(HandlerError::transient("not yet")),
        _ => Ok(Handled::Done),
    }));
    let options = ConsumerOptions::default().with_delayed_retry(delayed());
    let consumer = ServiceBusConsumer::new(client.clone(), subscription("t", "a"), options);
    run_until(&consumer, &failing, || failing.stats().handled == 1).await;
    let other = Arc::new(pipeline(|_, _| Ok(Handled::Done)));
    let consumer = SessionConsumer::new(
        client.clone(),
        subscription("t", "s"),
        SessionConsumerOptions::default(),
    );
    let settled = soon(client.create_receiver("q").peek(0, 1)).await.unwrap();
    assert!(settled.is_empty());
    run_until(&consumer, &other, || other.stats().handled == 1).await;
    assert_eq!(other.stats().handled, 1, "the original, and not the copy");
}

#[tokio::test]
async fn in_a_session_nothing_overtakes_a_message_that_is_tried_again_later() {
    let emulator = emulator().await;
    let client = client(&emulator);
    for n in 0..12 {
        let message = message(n).with_session_id((n % 2).to_string());
        soon(client.create_sender("qs").send(&message)).await.unwrap();
    }
    let seen = Arc::new(Mutex::new(BTreeMap::<String, Vec<u32>>::new()));
    let pipeline = {
        let seen = seen.clone();
        Arc::new(pipeline(move |message, delivery| {
            let n: u32 = message.id.parse().unwrap();
            if n.is_multiple_of(4) && delivery.count < 3 {
                return Err(HandlerError::transient("not yet"));
            }
            seen.lock().unwrap().entry(message.key.clone()).or_default().push(n);
            Ok(Handled::Done)
        }))
    };
    let options = SessionConsumerOptions::default()
        .with_idle_timeout(Duration::from_millis(20))
        .with_delayed_retry(delayed());
    let consumer = SessionConsumer::new(client, "qs", options);
    run_until(&consumer, &pipeline, || pipeline.stats().handled == 12).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen["0"], [0, 2, 4, 6, 8, 10]);
    assert_eq!(seen["1"], [1, 3, 5, 7, 9, 11]);
}

/// No message is there twice, and each is there or was handled.
async fn none_lost_none_doubled(client: &ServiceBusClient, all: &BTreeSet<String>, handled: &Mutex<BTreeSet<String>>) {
    let mut there = BTreeSet::new();
    for message in peek(client, "q").await {
        let id = original(&message);
        assert!(there.insert(id.clone()), "{id} is there twice");
    }
    let handled = handled.lock().unwrap();
    let lost: Vec<_> = all
        .iter()
        .filter(|id| !there.contains(*id) && !handled.contains(*id))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Kills consumers that retry later, again and again, with the faults of `plan`.
async fn crashes(plan: impl Fn(u64) -> Option<FaultPlan>) {
    // Killed processes cost deliveries, which are not what this is about.
    let queue = Queue::new("q")
        .with_lock_duration(Duration::from_secs(5))
        .with_max_delivery_count(1000)
        .with_duplicate_detection(Duration::from_secs(3600));
    let emulator = &Emulator::builder()
        .queue(queue)
        .start()
        .await
        .expect("the emulator starts");
    let client = client(emulator);
    let all: BTreeSet<String> = (0..30).map(|n: u32| n.to_string()).collect();
    for id in &all {
        soon(client.create_sender("q").send(&message(id))).await.unwrap();
    }
    let handled = Arc::new(Mutex::new(BTreeSet::new()));
    let pipeline = {
        let handled = handled.clone();
        Arc::new(
            pipeline(move |message, delivery| {
                if delivery.count < 4 {
                    return Err(HandlerError::transient("not yet"));
                }
                handled.lock().unwrap().insert(message.id.clone());
                Ok(Handled::Done)
            })
            .with_max_deliveries(1000),
        )
    };
    let retry = DelayedRetry::default().with_delays(Duration::from_millis(5), Duration::from_millis(10));
    let options = ConsumerOptions::default().with_concurrency(4).with_delayed_retry(retry);
    for round in 0..25_u64 {
        if let Some(plan) = plan(round) {
            emulator.faults().set_plan(plan);
        }
        // A process of its own, killed at another moment each time.
        let process = self::client(emulator);
        let consumer = ServiceBusConsumer::new(process.clone(), "q", options.clone());
        let running = consumer.run(pipeline.clone(), CancellationToken::new());
        let _ = tokio::time::timeout(Duration::from_millis(3 + 7 * round), running).await;
        drop(process);
        none_lost_none_doubled(&client, &all, &handled).await;
        // The locks of the dead expire.
        emulator.clock().advance(Duration::from_secs(6));
    }
    emulator.faults().set_plan(FaultPlan::new(0));
    let consumer = ServiceBusConsumer::new(client.clone(), "q", options);
    let stop = CancellationToken::new();
    let watch = async {
        while !peek(&client, "q").await.is_empty() {
            emulator.clock().advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(consumer.run(pipeline, stop.clone()), watch) }).await;
    ended.unwrap();
    assert_eq!(*handled.lock().unwrap(), all);
}

#[tokio::test]
async fn wherever_a_process_dies_no_retried_message_is_lost_or_doubled() {
    crashes(|_| None).await;
}

#[tokio::test]
async fn wherever_a_connection_is_lost_no_retried_message_is_lost_or_doubled() {
    crashes(|round| {
        Some(
            FaultPlan::new(round)
                .with(FaultKind::DropConnection, 0.05, 3)
                .with(FaultKind::DetachLink, 0.05, 3)
                .with(FaultKind::LoseOutcome, 0.05, 3)
                .with(FaultKind::ServerBusy, 0.05, 3),
        )
    })
    .await;
}
