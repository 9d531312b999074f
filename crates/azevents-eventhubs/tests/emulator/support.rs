//! An emulator with one hub, and a handler that remembers what it was given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::{MemoryDeadLetters, MemoryLeases};
use azevents_core::{
    Consumer, Delivery, Handled, Handler, HandlerError, LeaseStore, Message, Pipeline, Result, RetryPolicy,
};
use azevents_emulator::{Emulator, EventHub};
use azevents_eventhubs::{ConsumerOptions, EventHubConsumer, EventHubPublisher, EventHubs};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const HUB: &str = "order-events";
pub(crate) const GROUP: &str = "analytics";
/// A condition that has not come true by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) leases: MemoryLeases,
    pub(crate) parking: MemoryDeadLetters,
}

impl Bench {
    pub(crate) async fn start(partitions: u32) -> Self {
        // `RUST_LOG=azevents_eventhubs=debug` shows what happened, where a test fails.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let hub = EventHub::new(HUB)
            .with_partition_count(partitions)
            .with_consumer_group(GROUP);
        let emulator = Emulator::builder()
            .event_hub(hub)
            .start()
            .await
            .expect("the emulator starts");
        Self::on(emulator)
    }

    /// On an emulator of the test's own.
    pub(crate) fn on(emulator: Emulator) -> Self {
        Self {
            emulator,
            leases: MemoryLeases::new(),
            parking: MemoryDeadLetters::new(),
        }
    }

    pub(crate) fn hubs(&self) -> EventHubs {
        let eventhubs = &self.emulator.ready().eventhubs;
        EventHubs::from_connection_string(&eventhubs.connection_string).expect("an emulator's connection string")
    }

    pub(crate) fn publisher(&self) -> EventHubPublisher {
        self.hubs().publisher(HUB)
    }

    pub(crate) fn consumer(&self, options: ConsumerOptions) -> EventHubConsumer {
        let (leases, parking) = (Arc::new(self.leases.clone()), Arc::new(self.parking.clone()));
        self.hubs().consumer(HUB, GROUP, leases, parking).with_options(options)
    }

    /// How many events all checkpoints together have passed.
    pub(crate) async fn checkpointed(&self) -> u64 {
        let leases = self
            .leases
            .list(&format!("eventhub/{HUB}/{GROUP}"))
            .await
            .expect("a list of leases");
        leases
            .iter()
            .filter_map(|lease| lease.checkpoint.as_ref())
            .map(|checkpoint| checkpoint.events)
            .sum()
    }
}

/// Options that make a test quick: partitions are asked for often and checkpoints written at once.
pub(crate) fn quick() -> ConsumerOptions {
    ConsumerOptions::default()
        .with_acquire_interval(Duration::from_millis(100))
        .with_checkpoints(1, Duration::from_millis(100))
        .with_redelivery(
            RetryPolicy::default()
                .with_base(Duration::from_millis(20))
                .with_cap(Duration::from_millis(50)),
        )
}

/// A consumer that runs in the background.
pub(crate) struct Running {
    task: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

impl Running {
    pub(crate) fn start(consumer: EventHubConsumer, handler: Arc<dyn Handler>) -> Self {
        Self::through(consumer, Pipeline::new(handler))
    }

    /// With three deliveries and no retries in between.
    pub(crate) fn through(consumer: EventHubConsumer, pipeline: Pipeline) -> Self {
        let pipeline = pipeline.with_retry(RetryPolicy::none()).with_max_deliveries(3);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { consumer.run(Arc::new(pipeline), stopped).await });
        Self { task, stop }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the consumer stops")
            .expect("it does not panic")
    }

    /// Ends it where it stands.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled(), "it was still running");
    }
}

/// A handler that remembers everything, and fails where it is told to.
#[derive(Clone)]
pub(crate) struct Recorder {
    seen: watch::Sender<Vec<(Message, u32)>>,
    fail: Arc<Mutex<BTreeMap<String, Failure>>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Failure {
    Permanent,
    /// At the first deliveries, this many.
    Times(u32),
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            seen: watch::Sender::new(Vec::new()),
            fail: Arc::default(),
        }
    }

    pub(crate) fn failing(self, id: &str, failure: Failure) -> Self {
        self.fail.lock().unwrap().insert(id.to_owned(), failure);
        self
    }

    /// Whether it is to fail with a message, at some delivery.
    pub(crate) fn fails(&self, id: &str) -> bool {
        self.fail.lock().unwrap().contains_key(id)
    }

    pub(crate) fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(self.clone())
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.seen.borrow().iter().map(|(message, _)| message.clone()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen
            .borrow()
            .iter()
            .map(|(message, _)| message.id.clone())
            .collect()
    }

    /// The deliveries of one message, by count.
    pub(crate) fn deliveries(&self, id: &str) -> Vec<u32> {
        self.seen
            .borrow()
            .iter()
            .filter(|(message, _)| message.id == id)
            .map(|(_, count)| *count)
            .collect()
    }

    pub(crate) fn distinct(&self) -> usize {
        let ids: std::collections::BTreeSet<_> = self.ids().into_iter().collect();
        ids.len()
    }

    /// Waits until what was seen fulfils a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.seen.subscribe();
        let waiting = async {
            while !condition(self) {
                changes.changed().await.expect("the recorder lives");
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "{what}: seen {} messages, {} distinct",
            self.ids().len(),
            self.distinct()
        );
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.seen
            .send_modify(|seen| seen.push((message.clone(), delivery.count)));
        match self.fail.lock().unwrap().get(&message.id) {
            Some(Failure::Permanent) => Err(HandlerError::permanent("Poison", "cannot be handled")),
            Some(Failure::Times(times)) if delivery.count <= *times => Err(HandlerError::transient("not yet")),
            _ => Ok(Handled::Done),
        }
    }
}

pub(crate) fn message(key: &str, number: usize) -> Message {
    Message {
        id: format!("{key}/{number}"),
        key: key.to_owned(),
        event_type: "LineAdded".to_owned(),
        content_type: "application/json".to_owned(),
        body: format!("{{\"line\":{number}}}").into(),
        headers: [("azevents-version".to_owned(), (number + 1).to_string())].into(),
    }
}

/// `each` messages of `keys` keys, the keys taking turns.
pub(crate) fn interleaved(keys: usize, each: usize) -> Vec<Message> {
    (0..each)
        .flat_map(|number| (0..keys).map(move |key| message(&format!("order-{key}"), number)))
        .collect()
}

/// Fails unless the first sight of every key's messages is in order, none left out. Copies may come in
/// between: they are what at-least-once means.
pub(crate) fn assert_in_order(seen: &[Message]) {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    for message in seen {
        let number: usize = message.id.rsplit('/').next().unwrap().parse().unwrap();
        let next = next.entry(&message.key).or_default();
        assert!(
            number <= *next,
            "{} came before its predecessor, {next} was next",
            message.id
        );
        *next = (*next).max(number + 1);
    }
}

/// Waits until an asynchronous condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}
