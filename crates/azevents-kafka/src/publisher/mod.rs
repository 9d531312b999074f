//! Publishing to a topic: one idempotent producer, never a gap.
//!
//! librdkafka keeps the order of a partition over its own retries as long as no message fails by itself. The
//! one way it can is its own time limit, which is therefore off: whoever waited too long gives up the
//! producer with everything in it, and the next call begins with a new one. So nothing that stood behind a
//! failed message arrives before its repetition.

mod call;
mod options;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Error, ErrorKind, Message, PublishError, Publisher, Result};
use rdkafka::producer::{FutureProducer, Producer, PurgeConfig};
use tokio::sync::Mutex;

use crate::client::Context;
use crate::error::from_kafka;
use crate::kafka::Kafka;
use call::Call;

pub use options::PublisherOptions;

const OPERATION: &str = "publish";
type Client = FutureProducer<Context>;

/// A [`Publisher`] to one topic, with the message's key as record key. Messages without one are spread.
///
/// Acknowledged means: by all in-sync replicas.
pub struct KafkaPublisher {
    kafka: Kafka,
    topic: String,
    options: PublisherOptions,
    /// `None` before the first call and after one that failed in a way only a new producer mends.
    client: Mutex<Option<Arc<Client>>>,
}

impl KafkaPublisher {
    pub(crate) fn new(kafka: Kafka, topic: String) -> Self {
        Self {
            kafka,
            topic,
            options: PublisherOptions::default(),
            client: Mutex::new(None),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(self, options: PublisherOptions) -> Self {
        Self {
            options,
            client: Mutex::new(None),
            ..self
        }
    }

    /// Sends what dropped calls have left and ends the connections. The next call opens new ones.
    ///
    /// # Errors
    /// When not everything was acknowledged within the delivery timeout.
    pub async fn close(&self) -> Result<()> {
        let Some(client) = self.client.lock().await.take() else {
            return Ok(());
        };
        let (limit, topic) = (self.options.delivery_timeout, self.topic.clone());
        let closing = tokio::task::spawn_blocking(move || {
            let flushed = client.flush(limit);
            flushed.map_err(|e| from_kafka("close", &topic, e))
        });
        closing
            .await
            .map_err(|panic| Error::new(ErrorKind::Other, "close", &self.topic).with_source(panic))?
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if let Some(open) = &*client {
            return Ok(open.clone());
        }
        let context = self.kafka.context().await?;
        let mut config = self.kafka.config();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            // A key's partition as the Java client finds it; records without a key are spread.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "0")
            .set("linger.ms", self.options.linger.as_millis().to_string())
            .set("message.max.bytes", self.options.max_message_bytes.to_string())
            .set(
                "queue.buffering.max.kbytes",
                (self.options.buffer_bytes >> 10).max(1).to_string(),
            );
        let open: Result<Client, _> = config.create_with_context(context);
        let open = Arc::new(open.map_err(|e| from_kafka("connect", &self.topic, e))?);
        *client = Some(open.clone());
        Ok(open)
    }

    /// Gives up a producer with everything in it, unless another call has done so already.
    async fn give_up(&self, failed: &Arc<Client>) {
        let mut client = self.client.lock().await;
        if client.as_ref().is_some_and(|open| Arc::ptr_eq(open, failed)) {
            failed.purge(PurgeConfig::default().queue().inflight());
            // Its end waits for threads.
            let ended = client.take();
            tokio::task::spawn_blocking(move || drop(ended));
        }
    }

    /// A broker refuses a batch as a whole where one message is too large for it: whether it is the one at
    /// `accepted` shows when that one goes alone.
    async fn blame(&self, messages: &[Message], accepted: usize, error: Error) -> Result<(), PublishError> {
        let client = self
            .client()
            .await
            .map_err(|error| PublishError::after(accepted, error))?;
        let mut call = Call::new(self, &client);
        call.send(&messages[accepted..=accepted]).await;
        call.wait().await;
        if call.is_over() || client.client().fatal_error().is_some() {
            self.give_up(&client).await;
        }
        match call.first_failure() {
            Some((_, error)) => Err(PublishError::after(accepted, error)),
            None if accepted + 1 == messages.len() => Ok(()),
            None => Err(PublishError::after(
                accepted + 1,
                Error::new(ErrorKind::OutcomeUnknown, OPERATION, &self.topic)
                    .with_message("the broker refused the batch of another message; repeat the rest")
                    .with_source(error),
            )),
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let client = self.client().await.map_err(|error| PublishError::after(0, error))?;
        let mut call = Call::new(self, &client);
        call.send(messages).await;
        call.wait().await;
        if call.is_over() || client.client().fatal_error().is_some() {
            self.give_up(&client).await;
        }
        let Some((accepted, error)) = call.first_failure() else {
            return Ok(());
        };
        if error.kind() == ErrorKind::TooLarge && messages[accepted].size() <= self.options.max_message_bytes {
            return self.blame(messages, accepted, error).await;
        }
        Err(PublishError::after(accepted, error))
    }
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher")
            .field("kafka", &self.kafka)
            .field("topic", &self.topic)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
