//! Consuming session by session: order within one, many side by side.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Consumer, Pipeline};
use tokio_util::sync::CancellationToken;

use super::adapter::Adapter;
use super::options::SessionConsumerOptions;
use crate::client::ServiceBusClient;
use crate::convert;
use crate::processor::{ProcessorControl, ServiceBusSessionProcessor, SessionProcessorOptions};

/// Consumes a queue or subscription with sessions: the messages of one session are handled one after
/// another, in order; several sessions are held at once, and the next one is taken when one has been idle.
///
/// A message that is given back ends the hold on its session, so that what follows it cannot overtake it.
/// The session's lock is renewed while a handler runs; when it is lost, the handler's
/// [`lock_lost`](azevents_core::Delivery::lock_lost) is cancelled.
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_core::{Consumer, Handler, Pipeline};
/// use azevents_servicebus::{ServiceBusClient, SessionConsumer, SessionConsumerOptions, subscription};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(client: ServiceBusClient, handler: Arc<dyn Handler>) -> azevents_core::Result<()> {
/// let options = SessionConsumerOptions::default().with_sessions(16);
/// let consumer = SessionConsumer::new(client, subscription("orders", "fulfilment"), options);
/// consumer.run(Arc::new(Pipeline::new(handler)), CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SessionConsumer {
    processor: ServiceBusSessionProcessor,
    entity: String,
}

impl SessionConsumer {
    /// A consumer of a queue or [`subscription`](crate::subscription) that requires sessions.
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over, as everywhere")]
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: SessionConsumerOptions) -> Self {
        let entity = entity.into();
        let options = SessionProcessorOptions::default()
            .with_sessions(options.sessions)
            .with_prefetch(options.prefetch)
            .with_idle_timeout(options.idle_timeout)
            .with_accept_timeout(options.accept_timeout)
            .with_max_lock_renewal(options.max_lock_renewal);
        Self {
            processor: ServiceBusSessionProcessor::new(client, entity.as_str(), options),
            entity,
        }
    }

    /// Pauses, resumes and changes the consumer while it runs.
    pub fn control(&self) -> ProcessorControl {
        self.processor.control()
    }
}

#[async_trait]
impl Consumer for SessionConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> azevents_core::Result<()> {
        let ended = self.processor.run(Arc::new(Adapter(pipeline)), stop).await;
        ended.map_err(|error| convert::error(error, "consume", &self.entity))
    }
}
