//! Consuming messages one by one, many at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Consumer, Pipeline, Settlement as Verdict};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::options::ConsumerOptions;
use super::{renewal, settlement};
use crate::client::ServiceBusClient;
use crate::convert;
use crate::message::ReceivedMessage;
use crate::receiver::{Receiver, ReceiverOptions};

/// How long one receive waits before it starts over; nothing is lost either way.
const RECEIVE_WAIT: Duration = Duration::from_secs(60);

/// Consumes a queue or subscription without sessions: messages are handled side by side, in no order.
///
/// A message's lock is renewed while its handler runs. When the lock is lost, the handler's
/// [`lock_lost`](azevents_core::Delivery::lock_lost) is cancelled and the message is left to come again.
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
    client: ServiceBusClient,
    entity: String,
    options: ConsumerOptions,
}

impl ServiceBusConsumer {
    /// A consumer of a queue, a [`subscription`](crate::subscription) or a
    /// [`dead_letter_queue`](crate::dead_letter_queue).
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: ConsumerOptions) -> Self {
        Self {
            client,
            entity: entity.into(),
            options,
        }
    }
}

#[async_trait]
impl Consumer for ServiceBusConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> azevents_core::Result<()> {
        let options = ReceiverOptions::default().with_prefetch(self.options.prefetch);
        let receiver = Arc::new(self.client.create_receiver_with(&self.entity, &options));
        let slots = Arc::new(Semaphore::new(self.options.concurrency.max(1)));
        // Dropped with this future: then the handlers are dropped too, as after a crash.
        let mut running = JoinSet::new();
        let mut backoff = Backoff::new(self.client.retry());
        let result = loop {
            while running.try_join_next().is_some() {}
            let slot = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break Ok(()) };
            let max = 1 + slots.available_permits();
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                received = receiver.receive_batch(max, RECEIVE_WAIT) => received,
            };
            match received {
                Ok(messages) => {
                    backoff.succeeded();
                    self.start(messages, slot, &slots, &receiver, &pipeline, &mut running)
                        .await;
                }
                Err(error) => {
                    if let Err(error) = backoff.failed(error, &stop).await {
                        break Err(convert::error(error, "consume", &self.entity));
                    }
                }
            }
        };
        // What runs is waited for, and settled: stopping is not a reason to do it twice.
        while running.join_next().await.is_some() {}
        if let Some(receiver) = Arc::into_inner(receiver) {
            receiver.close().await;
        }
        result
    }
}

impl ServiceBusConsumer {
    async fn start(
        &self,
        messages: Vec<ReceivedMessage>,
        slot: OwnedSemaphorePermit,
        slots: &Arc<Semaphore>,
        receiver: &Arc<Receiver>,
        pipeline: &Arc<Pipeline>,
        running: &mut JoinSet<()>,
    ) {
        let mut first = Some(slot);
        for message in messages {
            let slot = match first.take() {
                Some(slot) => slot,
                // There is one: only this task takes them, and it asked for no more than there were.
                None => match Arc::clone(slots).acquire_owned().await {
                    Ok(slot) => slot,
                    Err(_) => return,
                },
            };
            let handling = handle(
                message,
                Arc::clone(receiver),
                Arc::clone(pipeline),
                self.options.max_lock_renewal,
            );
            running.spawn(async move {
                handling.await;
                drop(slot);
            });
        }
    }
}

/// Handles one message and settles it as the pipeline decided.
async fn handle(message: ReceivedMessage, receiver: Arc<Receiver>, pipeline: Arc<Pipeline>, max_renewal: Duration) {
    let lock_lost = CancellationToken::new();
    let delivery = convert::delivery(&message, lock_lost.clone());
    let incoming = convert::incoming(&message);
    let give_up = Instant::now() + max_renewal;
    let locked_until = message.locked_until().unwrap_or_else(OffsetDateTime::now_utc);
    let keeping = renewal::keep(
        locked_until,
        || Some(give_up),
        lock_lost.clone(),
        || receiver.renew_lock(&message),
    );
    let verdict = tokio::select! {
        biased;
        verdict = pipeline.process(&incoming, &delivery) => verdict,
        () = keeping => unreachable!("renewal waits to be dropped"),
    };
    // Somebody else may have the message already: there is nothing to give back.
    if lock_lost.is_cancelled() && verdict == Verdict::Abandon {
        return;
    }
    if let Err(error) = receiver.settle(&message, &settlement(&verdict)).await {
        tracing::warn!(%error, id = incoming.id, "a message could not be settled and comes again");
    }
}
