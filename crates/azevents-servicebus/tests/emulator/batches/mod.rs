//! Batch handlers: in `sessions` in order, and in `queues` without.

mod queues;
mod sessions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    BatchHandler, BatchLimits, Consumer, Delivery, HandlerError, Message, Pipeline, Publisher, RetryPolicy,
};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{ServiceBusClient, ServiceBusPublisher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{line, number, soon};

async fn publish(client: &ServiceBusClient, entity: &str, keys: usize, each: usize) {
    let messages: Vec<_> = (0..each)
        .flat_map(|n| (0..keys).map(move |key| line(&format!("order-{key}"), n)))
        .collect();
    soon(ServiceBusPublisher::new(client, entity).publish(&messages))
        .await
        .unwrap();
}

/// Keeps the batches that it has handled.
#[derive(Default)]
struct Bulk {
    /// What each batch was of: a key, and its numbers.
    done: Mutex<Vec<(String, Vec<usize>)>>,
    changed: Notify,
    /// Refuses every batch with this number in it.
    poison: Option<usize>,
    /// Fails the first batch of several with this number in it, and the first time that it comes alone.
    fragile: Option<usize>,
    panics: bool,
    fragile_alone: Mutex<Vec<u32>>,
    /// Waits to be let go.
    gate: Option<Notify>,
    begun: Notify,
    lost: Notify,
}

#[async_trait]
impl BatchHandler for Bulk {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        let numbers: Vec<_> = messages.iter().copied().map(number).collect();
        self.begun.notify_one();
        if let Some(gate) = &self.gate {
            tokio::select! {
                () = gate.notified() => {}
                () = delivery.lock_lost.cancelled() => {
                    self.lost.notify_one();
                    return Err(HandlerError::transient("lost"));
                }
            }
        }
        if self.poison.is_some_and(|poison| numbers.contains(&poison)) {
            return Err(HandlerError::permanent("Refused", format!("one of {numbers:?}")));
        }
        if self.fragile.is_some_and(|fragile| numbers.contains(&fragile)) {
            if numbers.len() > 1 {
                assert!(!self.panics, "as told");
                return Err(HandlerError::transient("too many"));
            }
            self.fragile_alone.lock().unwrap().push(delivery.count);
            if delivery.count == 1 {
                return Err(HandlerError::transient("not the first time"));
            }
        }
        assert!(messages.iter().all(|message| message.key == messages[0].key));
        self.done.lock().unwrap().push((messages[0].key.clone(), numbers));
        self.changed.notify_one();
        Ok(())
    }
}

impl Bulk {
    /// One whose batches wait to be let go.
    fn gated() -> Self {
        Self {
            gate: Some(Notify::new()),
            ..Self::default()
        }
    }

    /// Lets one batch go.
    fn let_go(&self) {
        self.gate.as_ref().expect("it is gated").notify_one();
    }

    /// The numbers of each key, as they were handled.
    fn by_key(&self) -> BTreeMap<String, Vec<usize>> {
        let mut all = BTreeMap::<String, Vec<usize>>::new();
        for (key, numbers) in self.done.lock().unwrap().iter() {
            all.entry(key.clone()).or_default().extend(numbers);
        }
        all
    }

    fn sizes(&self) -> Vec<usize> {
        self.done
            .lock()
            .unwrap()
            .iter()
            .map(|(_, numbers)| numbers.len())
            .collect()
    }

    /// Waits until so many different messages are handled.
    async fn has(&self, count: usize) {
        loop {
            let all = self.by_key().into_values().map(|mut numbers| {
                numbers.sort_unstable();
                numbers.dedup();
                numbers.len()
            });
            if all.sum::<usize>() >= count {
                return;
            }
            self.changed.notified().await;
        }
    }
}

fn limits(messages: usize) -> BatchLimits {
    BatchLimits::default().with_messages(messages)
}

fn pipeline(bulk: &Arc<Bulk>, limits: BatchLimits) -> Arc<Pipeline> {
    Arc::new(Pipeline::in_batches(bulk.clone(), limits).with_retry(RetryPolicy::none()))
}

/// Connections and links that break, answers that are lost, messages that come again.
fn trouble() -> FaultPlan {
    FaultPlan::new(5)
        .with(FaultKind::DropConnection, 0.02, 5)
        .with(FaultKind::DetachLink, 0.02, 5)
        .with(FaultKind::LoseOutcome, 0.02, 3)
        .with(FaultKind::RepeatDelivery, 0.02, 10)
}

/// Stops a consumer within its first batch, which waits to be let go: it ends with that batch.
async fn stop_within_a_batch(consumer: impl Consumer + 'static, pipeline: Arc<Pipeline>, bulk: &Bulk) {
    let stop = CancellationToken::new();
    let mut running = tokio::spawn({
        let stop = stop.clone();
        async move { consumer.run(pipeline, stop).await }
    });
    soon(bulk.begun.notified()).await;
    stop.cancel();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut running).await;
    assert!(early.is_err(), "it waits for the batch: {early:?}");
    bulk.let_go();
    soon(running).await.unwrap().unwrap();
}

async fn left(client: &ServiceBusClient, entity: &str) -> usize {
    soon(client.create_receiver(entity).peek(0, 100)).await.unwrap().len()
}
