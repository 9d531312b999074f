//! Consuming a topic as a member of a group: many keys at once, each in order, commits without gaps.

mod completion;
mod options;
mod poller;
mod rebalance;
mod session;
mod worker;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Consumer, DeadLetterSink, Error, ErrorKind, Pipeline, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::kafka::Kafka;
use session::{Phase, Session};

pub use options::{ConsumerOptions, StartFrom};

/// A [`Consumer`] of one topic as a member of a consumer group.
///
/// The group shares out partitions by itself (`cooperative-sticky`). A partition that is taken away cancels its
/// running handlers at once, and what of it was finished is committed before another member has it. Records
/// after the last commit come again after a crash.
pub struct KafkaConsumer {
    kafka: Kafka,
    topic: String,
    group: String,
    parking: Arc<dyn DeadLetterSink>,
    options: ConsumerOptions,
}

impl KafkaConsumer {
    pub(crate) fn new(kafka: Kafka, topic: String, group: String, parking: Arc<dyn DeadLetterSink>) -> Self {
        Self {
            kafka,
            topic,
            group,
            parking,
            options: ConsumerOptions::default(),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    fn config(&self) -> rdkafka::ClientConfig {
        let reset = match self.options.start {
            StartFrom::Earliest => "earliest",
            StartFrom::Latest => "latest",
        };
        let mut config = self.kafka.config();
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", reset)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set(
                "session.timeout.ms",
                self.options.session_timeout.as_millis().to_string(),
            );
        config
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
        let session = Arc::new(Session {
            topic: self.topic.clone(),
            group: self.group.clone(),
            options: self.options.clone(),
            pipeline,
            parking: self.parking.clone(),
            halt: stop.child_token(),
            context: self.kafka.context().await?,
            workers: Default::default(),
            runtime: Handle::current(),
            phase: (Phase::Running as u8).into(),
            partitions: Default::default(),
        });
        let running = Running(session.clone());
        let mut poller = start(session.clone(), self.config())?;
        let early = tokio::select! {
            ended = &mut poller => Some(ended),
            () = stop.cancelled() => None,
        };
        if early.is_none() {
            session.set_phase(Phase::Draining);
        }
        session.halt.cancel();
        session.workers.close();
        session.workers.wait().await;
        session.set_phase(Phase::Finished);
        let ended = match early {
            Some(ended) => ended,
            None => poller.await,
        };
        drop(running);
        ended.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Other, "receive", &self.topic).with_message("the polling thread panicked"))
        })
    }
}

/// Starts the poller's thread. What it ends with comes through the channel.
fn start(session: Arc<Session>, config: rdkafka::ClientConfig) -> Result<oneshot::Receiver<Result<()>>> {
    let (ended, end) = oneshot::channel();
    let topic = session.topic.clone();
    let spawned = std::thread::Builder::new()
        .name("azevents-kafka".into())
        .spawn(move || {
            let result = poller::poll(&session, &config);
            // Nobody is there any more after a crash.
            let _ = ended.send(result);
        });
    spawned.map_err(|e| Error::new(ErrorKind::Other, "receive", topic).with_source(e))?;
    Ok(end)
}

/// Ends the thread and the workers when a run is dropped.
struct Running(Arc<Session>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.phase() != Phase::Finished {
            self.0.set_phase(Phase::Crashed);
            self.0.halt.cancel();
        }
        self.0.partitions().clear();
    }
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer")
            .field("kafka", &self.kafka)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
