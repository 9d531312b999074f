//! Consuming messages one by one, many at once.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Consumer, Pipeline};
use tokio_util::sync::CancellationToken;

use super::adapter::{Adapter, Again, within_circuit};
use super::delayed::Later;
use super::options::ConsumerOptions;
use crate::client::ServiceBusClient;
use crate::convert;
use crate::processor::{Prefetch, ProcessorControl, ProcessorOptions, ServiceBusProcessor};

/// Consumes a queue or subscription without sessions: messages are handled side by side, in no order.
///
/// A message's lock is renewed while its handler runs. When the lock is lost, the handler's
/// [`lock_lost`](azevents_core::Delivery::lock_lost) is cancelled and the message is left to come again.
///
/// A pipeline [in batches](azevents_core::Pipeline::in_batches) is given several messages at once, up to its limits;
/// the concurrency is then that of batches, whose messages come one by one where the batch fails.
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_core::{Consumer, Handler, Pipeline};
/// use azevents_servicebus::{ConsumerOptions, ServiceBusClient, ServiceBusConsumer, subscription};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(client: ServiceBusClient, handler: Arc<dyn Handler>) -> azevents_core::Result<()> {
/// let options = ConsumerOptions::default().with_concurrency(32).with_prefetch(64);
/// let consumer = ServiceBusConsumer::new(client, subscription("orders", "billing"), options);
/// consumer.run(Arc::new(Pipeline::new(handler)), CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusConsumer {
    processor: ServiceBusProcessor,
    entity: String,
    later: Option<Later>,
}

impl ServiceBusConsumer {
    /// A consumer of a queue, a [`subscription`](crate::subscription) or a
    /// [`dead_letter_queue`](crate::dead_letter_queue).
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over, as everywhere")]
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: ConsumerOptions) -> Self {
        let entity = entity.into();
        let later = options.delayed_retry.map(|retry| Later::new(&client, &entity, retry));
        let options = ProcessorOptions::default()
            .with_concurrency(options.concurrency)
            .with_prefetch(Prefetch::Fixed(options.prefetch))
            .with_max_lock_renewal(options.max_lock_renewal);
        Self {
            processor: ServiceBusProcessor::new(client, entity.as_str(), options),
            entity,
            later,
        }
    }

    /// Pauses, resumes and changes the consumer while it runs.
    pub fn control(&self) -> ProcessorControl {
        self.processor.control()
    }

    fn again(&self) -> Again {
        match &self.later {
            Some(later) => Again::Later(later.clone()),
            None => Again::AtOnce,
        }
    }
}

#[async_trait]
impl Consumer for ServiceBusConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> azevents_core::Result<()> {
        let adapter = Adapter {
            pipeline: pipeline.clone(),
            again: self.again(),
            stop: stop.clone(),
        };
        let running = self.processor.run(Arc::new(adapter), stop);
        let ended = within_circuit(&pipeline, &self.control(), running).await;
        ended.map_err(|error| convert::error(error, "consume", &self.entity))
    }
}
