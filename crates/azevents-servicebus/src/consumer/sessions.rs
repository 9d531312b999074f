//! Consuming session by session: order within one, many side by side.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Consumer, Pipeline};
use tokio_util::sync::CancellationToken;

use super::adapter::{Adapter, Again, within_circuit};
use super::delayed::DelayedRetry;
use super::options::SessionConsumerOptions;
use crate::client::ServiceBusClient;
use crate::convert;
use crate::processor::{ProcessorControl, ServiceBusSessionProcessor, SessionProcessorOptions};

/// Consumes a queue or subscription with sessions: the messages of one session are handled one after
/// another, in order; several sessions are held at once, and the next one is taken when one has been idle.
///
/// A message that is given back ends the hold on its session, so that what follows it cannot overtake it.
/// A pipeline [in batches](azevents_core::Pipeline::in_batches) is given what waits in a session at once, up to its
/// limits; a batch that fails comes one by one. So much is fetched ahead then.
///
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
    delayed_retry: Option<DelayedRetry>,
}

impl SessionConsumer {
    /// A consumer of a queue or [`subscription`](crate::subscription) that requires sessions.
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over, as everywhere")]
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: SessionConsumerOptions) -> Self {
        let entity = entity.into();
        let delayed_retry = options.delayed_retry;
        // The lock is kept for the handler, and then for the delay.
        let delay = delayed_retry.map(|retry| retry.longest).unwrap_or_default();
        let options = SessionProcessorOptions::default()
            .with_sessions(options.sessions)
            .with_prefetch(options.prefetch)
            .with_idle_timeout(options.idle_timeout)
            .with_accept_timeout(options.accept_timeout)
            .with_max_lock_renewal(options.max_lock_renewal.saturating_add(delay));
        Self {
            processor: ServiceBusSessionProcessor::new(client, entity.as_str(), options),
            entity,
            delayed_retry,
        }
    }

    /// Pauses, resumes and changes the consumer while it runs.
    pub fn control(&self) -> ProcessorControl {
        self.processor.control()
    }

    fn again(&self) -> Again {
        self.delayed_retry.map_or(Again::AtOnce, Again::InPlace)
    }
}

#[async_trait]
impl Consumer for SessionConsumer {
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
