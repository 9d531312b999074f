//! From a topic to one effect: pipeline, idempotency and the in-memory bus together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::dead_letter::DEAD_LETTER_REASON;
use azevents_core::failures::{ATTEMPTS, CONSUMER};
use azevents_core::gather::Gather;
use azevents_core::memory::{MemoryBus, MemoryConsumer, MemoryInbox};
use azevents_core::{
    BatchHandler, BatchLimits, BatchSettlement, CircuitBreaker, CircuitBreakerOptions, CircuitState, Consumer,
    Delivery, Handled, Handler, HandlerError, Idempotent, Inbox, InboxKey, Message, Pipeline, Publisher, RetryPolicy,
    Settlement, Stats,
};
use tokio_util::sync::CancellationToken;

fn message(id: u32, key: &str) -> Message {
    Message {
        id: id.to_string(),
        key: key.into(),
        event_type: "Counted".into(),
        content_type: "application/json".into(),
        body: id.to_string().into(),
        headers: BTreeMap::new(),
    }
}

/// A handler made of a function.
struct Do<F>(F);

#[async_trait]
impl<F> Handler for Do<F>
where
    F: Fn(&Message, &Delivery) -> Result<Handled, HandlerError> + Send + Sync,
{
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        (self.0)(message, delivery)
    }
}

fn pipeline<F>(handler: F) -> Arc<Pipeline>
where
    F: Fn(&Message, &Delivery) -> Result<Handled, HandlerError> + Send + Sync + 'static,
{
    Arc::new(Pipeline::new(Arc::new(Do(handler))).with_retry(RetryPolicy::default().with_retries(3)))
}

async fn process(pipeline: &Pipeline, count: u32) -> Settlement {
    pipeline.process(&message(1, "a"), &Delivery::new(count)).await
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_in_place() {
    let tries = AtomicU32::new(0);
    let pipeline = pipeline(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0..2 => Err(HandlerError::transient("busy")),
        _ => Ok(Handled::Done),
    });
    assert_eq!(process(&pipeline, 1).await, Settlement::Complete);
    assert_eq!(
        pipeline.stats(),
        Stats {
            handled: 1,
            retries: 2,
            ..Stats::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_goes_back_to_the_broker_and_in_the_end_to_the_dead_letters() {
    let pipeline = pipeline(|_, _| Err(HandlerError::transient("store is away")));
    assert!(matches!(process(&pipeline, 1).await, Settlement::Abandon(_)));
    let Settlement::DeadLetter(why) = process(&pipeline, 10).await else {
        panic!("dead-lettered at the tenth delivery")
    };
    assert_eq!(why.reason, "RetriesExhausted");
    assert!(why.description.contains("store is away"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_tells_its_whole_story() {
    let pipeline = Pipeline::new(Arc::new(Do(|_: &Message, delivery: &Delivery| {
        Err(HandlerError::transient(format!(
            "failed at delivery {}",
            delivery.count
        )))
    })))
    .with_retry(RetryPolicy::default().with_retries(1))
    .with_max_deliveries(2)
    .with_consumer("billing");
    let Settlement::Abandon(failures) = process(&pipeline, 1).await else {
        panic!("given back")
    };
    let again = Delivery::new(2).after(Some(failures));
    let Settlement::DeadLetter(why) = pipeline.process(&message(1, "a"), &again).await else {
        panic!("dead-lettered")
    };
    assert_eq!((why.failures.attempts, why.failures.consumer.as_str()), (4, "billing"));
    assert!(why.failures.first_error.contains("delivery 1"), "{why:?}");
    assert!(why.failures.last_error.contains("delivery 2"), "{why:?}");
    let mut letter = why.mark(&message(1, "a"));
    assert_eq!(
        (letter.headers[ATTEMPTS].as_str(), letter.headers[CONSUMER].as_str()),
        ("4", "billing")
    );
    assert_eq!(letter.headers[DEAD_LETTER_REASON], "RetriesExhausted");
    azevents_core::parked::unmark(&mut letter);
    assert_eq!(letter, message(1, "a"));
}

#[tokio::test(start_paused = true)]
async fn while_a_dependency_is_down_no_message_is_dead_lettered_and_no_delivery_counted() {
    let bus = MemoryBus::new();
    let consumer = bus.subscribe(4);
    let messages: Vec<_> = (0..100).map(|n| message(n, &format!("key-{}", n % 4))).collect();
    bus.publish(&messages).await.expect("published");
    let (down, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let counts = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (down, calls, counts) = (down.clone(), calls.clone(), counts.clone());
        Do(move |_: &Message, delivery: &Delivery| {
            if down.load(Ordering::Relaxed) {
                calls.fetch_add(1, Ordering::Relaxed);
                return Err(HandlerError::transient("the database is away"));
            }
            counts.lock().unwrap().push(delivery.count);
            Ok(Handled::Done)
        })
    };
    let breaker = CircuitBreaker::new(CircuitBreakerOptions::default());
    let pipeline = Arc::new(
        Pipeline::new(Arc::new(handler))
            .with_retry(RetryPolicy::default().with_retries(3))
            .with_circuit_breaker(breaker.clone()),
    );
    let outage = async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_ne!(breaker.state(), CircuitState::Closed);
        down.store(false, Ordering::Relaxed);
    };
    tokio::join!(drain(&consumer, pipeline.clone()), outage);
    assert_eq!(breaker.state(), CircuitState::Closed);
    assert_eq!((pipeline.stats().handled, pipeline.stats().dead_lettered), (100, 0));
    assert!(counts.lock().unwrap().iter().all(|count| *count == 1), "{counts:?}");
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls < 100, "{calls} calls in two minutes");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_succeed_is_not_retried() {
    let pipeline = pipeline(|message, _| {
        message.json::<BTreeMap<String, String>>()?;
        Ok(Handled::Done)
    });
    let Settlement::DeadLetter(why) = process(&pipeline, 1).await else {
        panic!("dead-lettered at once")
    };
    assert_eq!(why.reason, "Undecodable");
    assert_eq!(
        pipeline.stats(),
        Stats {
            dead_lettered: 1,
            ..Stats::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_one_message() {
    let pipeline = pipeline(|_, _| panic!("index out of bounds"));
    let Settlement::DeadLetter(why) = process(&pipeline, 10).await else {
        panic!("dead-lettered")
    };
    assert!(
        why.description.contains("the handler panicked: index out of bounds"),
        "{why}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_lock_ends_the_handler_and_never_dead_letters() {
    let lost = CancellationToken::new();
    let pipeline = Pipeline::new(Arc::new(Do(|_: &Message, _: &Delivery| {
        Err(HandlerError::transient("busy"))
    })))
    .with_retry(RetryPolicy::forever());
    let (key, delivery) = (message(1, "a"), Delivery::new(10).lock_lost(lost.clone()));
    let (settlement, ()) = tokio::join!(pipeline.process(&key, &delivery), async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        lost.cancel();
    });
    assert!(matches!(settlement, Settlement::Abandon(_)));
}

#[tokio::test(start_paused = true)]
async fn two_copies_at_once_have_one_effect() {
    let effects = Arc::new(AtomicU32::new(0));
    let inbox = MemoryInbox::new();
    let handler = {
        let effects = effects.clone();
        Do(move |_: &Message, _: &Delivery| {
            effects.fetch_add(1, Ordering::Relaxed);
            Ok(Handled::Done)
        })
    };
    let pipeline = Pipeline::new(Arc::new(Idempotent::new("billing", handler, inbox)));
    let (copy, delivery) = (message(1, "a"), Delivery::new(1));
    let settlements = tokio::join!(pipeline.process(&copy, &delivery), pipeline.process(&copy, &delivery));
    assert_eq!(settlements, (Settlement::Complete, Settlement::Complete));
    assert_eq!(effects.load(Ordering::Relaxed), 1);
    assert_eq!((pipeline.stats().handled, pipeline.stats().duplicates), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_handler_leaves_no_mark() {
    let inbox = MemoryInbox::new();
    let handler = Do(|_: &Message, _: &Delivery| Err(HandlerError::permanent("Refused", "no")));
    let guarded = Idempotent::new("billing", handler, inbox.clone());
    let delivery = Delivery::new(1);
    assert!(guarded.handle(&message(1, "a"), &delivery).await.is_err());
    let key = InboxKey::new("billing", "1");
    assert!(matches!(
        inbox.begin(&key, Duration::from_secs(1)).await,
        Ok(azevents_core::Begin::Granted(_))
    ));
}

/// What a handler has seen, by key.
type Seen = Arc<Mutex<BTreeMap<String, Vec<u32>>>>;

/// Runs a consumer until nothing is left.
async fn drain(consumer: &MemoryConsumer, pipeline: Arc<Pipeline>) {
    let stop = CancellationToken::new();
    let watch = async {
        while consumer.backlog() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(consumer.run(pipeline, stop.clone()), watch);
    ended.expect("a graceful stop");
}

async fn publish(bus: &MemoryBus, keys: &[&str], each: u32) {
    let messages: Vec<_> = (0..each)
        .flat_map(|n| keys.iter().map(move |key| message(n, key)))
        .collect();
    bus.publish(&messages).await.expect("published");
}

#[tokio::test(start_paused = true)]
async fn order_per_key_survives_failures() {
    let bus = MemoryBus::new();
    let consumer = bus.subscribe(4);
    publish(&bus, &["a", "b", "c"], 20).await;
    let seen = Seen::default();
    let pipeline = {
        let seen = seen.clone();
        // Every third message fails until its third delivery.
        let handler = Do(move |message: &Message, delivery: &Delivery| {
            let n: u32 = message.json()?;
            if n.is_multiple_of(3) && delivery.count < 3 {
                return Err(HandlerError::transient("not yet"));
            }
            seen.lock().unwrap().entry(message.key.clone()).or_default().push(n);
            Ok(Handled::Done)
        });
        Arc::new(Pipeline::new(Arc::new(handler)).with_retry(RetryPolicy::none()))
    };
    drain(&consumer, pipeline).await;
    for (key, numbers) in seen.lock().unwrap().iter() {
        assert_eq!(*numbers, (0..20).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_dies_loses_nothing() {
    let bus = MemoryBus::new();
    let consumer = bus.subscribe(4);
    publish(&bus, &["a", "b"], 30).await;
    let seen = Seen::default();
    let pipeline = {
        let seen = seen.clone();
        pipeline(move |message, _| {
            seen.lock()
                .unwrap()
                .entry(message.key.clone())
                .or_default()
                .push(message.json()?);
            Ok(Handled::Done)
        })
    };
    for _ in 0..10 {
        // Dropped in the middle of its work.
        let running = consumer.run(pipeline.clone(), CancellationToken::new());
        let _ = tokio::time::timeout(Duration::from_millis(3), running).await;
    }
    drain(&consumer, pipeline).await;
    for (key, numbers) in seen.lock().unwrap().iter_mut() {
        numbers.dedup();
        assert_eq!(
            *numbers,
            (0..30).collect::<Vec<_>>(),
            "{key}: copies, but no gap and no change of order"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_poison_message_is_set_aside_and_the_rest_of_its_key_goes_on() {
    let bus = MemoryBus::new();
    let consumer = bus.subscribe(2);
    publish(&bus, &["a"], 5).await;
    let pipeline = pipeline(|message, _| match message.id.as_str() {
        "2" => Err(HandlerError::permanent("Poison", "two")),
        _ => Ok(Handled::Done),
    });
    drain(&consumer, pipeline.clone()).await;
    let dead: Vec<_> = consumer
        .dead_letters()
        .all()
        .into_iter()
        .map(|(message, why)| (message.id, why.reason))
        .collect();
    assert_eq!(dead, [("2".to_owned(), "Poison".to_owned())]);
    assert_eq!(pipeline.stats().handled, 4);
}

/// A batch handler that remembers the sizes of its batches, and refuses a poison message.
#[derive(Default)]
struct Batches {
    sizes: Mutex<Vec<usize>>,
    effects: Mutex<Vec<String>>,
    busy: AtomicU32,
}

#[async_trait]
impl BatchHandler for Batches {
    async fn handle_batch(&self, messages: &[&Message], _: &Delivery) -> Result<(), HandlerError> {
        self.sizes.lock().unwrap().push(messages.len());
        let busy = |left: u32| left.checked_sub(1);
        if self
            .busy
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, busy)
            .is_ok()
        {
            return Err(HandlerError::transient("busy"));
        }
        if messages.iter().any(|message| message.key == "poison") {
            return Err(HandlerError::permanent("Poison", "not this one"));
        }
        let ids = messages.iter().map(|message| message.id.clone());
        self.effects.lock().unwrap().extend(ids);
        Ok(())
    }
}

impl Batches {
    /// Passes messages as a consumer does: at once, and where that fails one by one.
    async fn pass(self: &Arc<Self>, handler: Arc<dyn BatchHandler>, messages: &[Message]) -> (Vec<Settlement>, Stats) {
        let pipeline = Pipeline::in_batches(handler, BatchLimits::default());
        let all: Vec<_> = messages.iter().collect();
        let mut settlements = Vec::new();
        if pipeline.process_batch(&all, &Delivery::new(1)).await == BatchSettlement::OneByOne {
            for message in messages {
                settlements.push(pipeline.process(message, &Delivery::new(1)).await);
            }
        }
        (settlements, pipeline.stats())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_while_its_error_is_transient() {
    let batches = Arc::new(Batches::default());
    batches.busy.store(2, Ordering::Relaxed);
    let messages: Vec<_> = (0..5).map(|id| message(id, "a")).collect();
    let (settlements, stats) = batches.pass(batches.clone(), &messages).await;
    assert_eq!(settlements, [], "handled at once");
    assert_eq!(*batches.sizes.lock().unwrap(), [5, 5, 5]);
    assert_eq!((stats.handled, stats.retries), (5, 2));
}

#[tokio::test(start_paused = true)]
async fn one_poison_message_is_set_aside_alone() {
    let batches = Arc::new(Batches::default());
    let messages = [message(0, "a"), message(1, "poison"), message(2, "a")];
    let (settlements, stats) = batches.pass(batches.clone(), &messages).await;
    assert!(matches!(
        &settlements[..],
        [Settlement::Complete, Settlement::DeadLetter(why), Settlement::Complete] if why.reason == "Poison"
    ));
    assert_eq!((stats.handled, stats.dead_lettered), (2, 1));
    assert_eq!(*batches.sizes.lock().unwrap(), [3, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn copies_are_left_out_of_a_batch_also_after_it_fell_apart() {
    let batches = Arc::new(Batches::default());
    let guarded: Arc<dyn BatchHandler> = Arc::new(Idempotent::new("billing", batches.clone(), MemoryInbox::new()));
    let all: Vec<_> = (0..4).map(|id| message(id, "a")).collect();
    batches.pass(guarded.clone(), &all[..2]).await;
    // Two copies, one of them twice, and new ones between which one is poison.
    let mut more = all.clone();
    more.extend([message(1, "a"), message(9, "poison"), message(3, "a")]);
    let (settlements, _) = batches.pass(guarded.clone(), &more).await;
    assert_eq!(
        settlements
            .iter()
            .filter(|s| !matches!(s, Settlement::Complete))
            .count(),
        1,
        "{settlements:?}"
    );
    batches.pass(guarded, &all).await;
    assert_eq!(*batches.effects.lock().unwrap(), ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_more_no_longer_than_its_linger() {
    let (sender, mut queue) = tokio::sync::mpsc::channel(10);
    let limits = BatchLimits::default().with_linger(Duration::from_millis(50));
    let queue = futures::stream::poll_fn(move |cx| queue.poll_recv(cx));
    let mut gather = Gather::new(queue, limits, |_: &u32| 1);
    let begun = tokio::time::Instant::now();
    let sending = async {
        for n in 0..4 {
            sender.send(n).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ((), batch) = tokio::join!(sending, async {
        let batch = gather.next().await;
        (batch, begun.elapsed())
    });
    assert_eq!(batch, (Some(vec![0, 1, 2]), Duration::from_millis(50)));
    assert_eq!(gather.next().await, Some(vec![3]));
}
