//! A mock cluster with one topic, and a handler that remembers what it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::MemoryDeadLetters;
use azevents_core::{
    BatchHandler, Consumer, Delivery, Handled, Handler, HandlerError, Message, Pipeline, Result, RetryPolicy,
};
use azevents_kafka::{ConsumerOptions, Kafka, KafkaConsumer, KafkaPublisher};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TOPIC: &str = "order-events";
pub(crate) const GROUP: &str = "analytics";
/// A condition that has not come true by then never will. (A mock group waits three seconds for members.)
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) parking: MemoryDeadLetters,
}

impl Bench {
    pub(crate) fn start(partitions: i32) -> Self {
        // `RUST_LOG=azevents_kafka=debug` shows what happened, where a test fails.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let cluster = MockCluster::new(3).expect("a mock cluster");
        cluster.create_topic(TOPIC, partitions, 3).expect("a topic");
        Self {
            cluster,
            parking: MemoryDeadLetters::new(),
        }
    }

    pub(crate) fn kafka(&self) -> Kafka {
        Kafka::plaintext(self.cluster.bootstrap_servers())
            .with_setting("reconnect.backoff.max.ms", "200")
            .with_setting("topic.metadata.refresh.fast.interval.ms", "50")
    }

    pub(crate) fn publisher(&self) -> KafkaPublisher {
        self.kafka().publisher(TOPIC)
    }

    pub(crate) fn consumer(&self, options: ConsumerOptions) -> KafkaConsumer {
        let parking = Arc::new(self.parking.clone());
        self.kafka().consumer(TOPIC, GROUP, parking).with_options(options)
    }

    /// How many records all commits together have passed.
    pub(crate) fn committed(&self, partitions: i32) -> i64 {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", GROUP)
            .create()
            .expect("a consumer");
        let mut asked = rdkafka::TopicPartitionList::new();
        asked.add_partition_range(TOPIC, 0, partitions - 1);
        let committed = consumer.committed_offsets(asked, PATIENCE).expect("committed offsets");
        committed
            .elements()
            .iter()
            .filter_map(|element| element.offset().to_raw())
            .filter(|raw| *raw > 0)
            .sum()
    }
}

/// Options that make a test quick: commits are made at once.
pub(crate) fn quick() -> ConsumerOptions {
    ConsumerOptions::default()
        .with_commits(1, Duration::from_millis(50))
        .with_session_timeout(Duration::from_secs(6))
        .with_redelivery(
            RetryPolicy::forever()
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
    pub(crate) fn start(consumer: KafkaConsumer, handler: Arc<dyn Handler>) -> Self {
        Self::through(consumer, Pipeline::new(handler))
    }

    /// With three deliveries and no retries in between.
    pub(crate) fn through(consumer: KafkaConsumer, pipeline: Pipeline) -> Self {
        let pipeline = pipeline.with_retry(RetryPolicy::none()).with_max_deliveries(3);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { consumer.run(Arc::new(pipeline), stopped).await });
        Self { task, stop }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let stopped = tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the consumer stops");
        stopped.expect("it does not panic").expect("and has no error");
    }

    /// Ends it where it stands.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled(), "it was still running");
    }
}

/// What a handler does with one message.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    Poison,
    /// Fails the first deliveries, this many.
    Fail(u32),
    /// Runs until its lock is lost.
    Hang,
}

/// A handler that remembers everything, and behaves as it is told.
#[derive(Clone)]
pub(crate) struct Recorder {
    seen: watch::Sender<Vec<Message>>,
    behaviour: Arc<BTreeMap<String, Behaviour>>,
    pub(crate) interrupted: watch::Sender<usize>,
    /// The sizes of batches.
    pub(crate) batches: watch::Sender<Vec<usize>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            seen: watch::Sender::new(Vec::new()),
            behaviour: Arc::default(),
            interrupted: watch::Sender::new(0),
            batches: watch::Sender::default(),
        }
    }

    pub(crate) fn with(mut self, id: &str, behaviour: Behaviour) -> Self {
        Arc::make_mut(&mut self.behaviour).insert(id.to_owned(), behaviour);
        self
    }

    pub(crate) fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(self.clone())
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.seen.borrow().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    pub(crate) fn distinct(&self) -> usize {
        self.seen
            .borrow()
            .iter()
            .map(|message| message.id.as_str())
            .collect::<BTreeSet<_>>()
            .len()
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
            "{what}: seen {}, {} distinct",
            self.count(),
            self.distinct()
        );
    }
}

/// Several messages at once, none of them if one of several is to fail.
#[async_trait]
impl BatchHandler for Recorder {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        self.batches.send_modify(|sizes| sizes.push(messages.len()));
        if messages.len() > 1 && messages.iter().any(|message| self.behaviour.contains_key(&message.id)) {
            return Err(HandlerError::transient("not all of these"));
        }
        for message in messages {
            self.handle(message, delivery).await?;
        }
        Ok(())
    }
}

/// Counts a handler that was dropped before its end.
struct Interrupted(watch::Sender<usize>);

impl Drop for Interrupted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.seen.send_modify(|seen| seen.push(message.clone()));
        match self.behaviour.get(&message.id) {
            Some(Behaviour::Poison) => Err(HandlerError::permanent("Poison", "cannot be handled")),
            Some(Behaviour::Fail(times)) if delivery.count <= *times => Err(HandlerError::transient("not yet")),
            Some(Behaviour::Hang) => {
                let _interrupted = Interrupted(self.interrupted.clone());
                std::future::pending().await
            }
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

/// Fails unless the first sight of every key's messages is in order, none left out.
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

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}
