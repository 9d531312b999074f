//! A topic with subscriptions, in memory: keeps order per key and redelivers what is not settled.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{MemoryDeadLetters, lock};
use crate::consumer::Consumer;
use crate::dead_letter::DeadLetterSink;
use crate::error::Result;
use crate::handler::Delivery;
use crate::message::Message;
use crate::pipeline::{Pipeline, Settlement};
use crate::publisher::{PublishError, Publisher};

/// A topic. Every subscription made from it gets every message published after that. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryBus {
    subscriptions: Arc<Mutex<Vec<Arc<Subscription>>>>,
}

#[derive(Debug, Default)]
struct Subscription {
    queue: Mutex<Queue>,
    changed: Notify,
    dead: MemoryDeadLetters,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Message, u32)>,
    /// Keys with a message in flight: the next one of the key has to wait.
    busy: HashSet<String>,
}

impl Queue {
    /// The first message whose key has none in flight.
    fn take(&mut self) -> Option<(Message, u32)> {
        let next = self
            .waiting
            .iter()
            .position(|(message, _)| !self.busy.contains(&message.key))?;
        let (message, count) = self.waiting.remove(next)?;
        self.busy.insert(message.key.clone());
        Some((message, count))
    }
}

impl MemoryBus {
    /// A topic without subscriptions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A consumer that gets every message from now on, and handles up to `concurrency` keys at once.
    pub fn subscribe(&self, concurrency: usize) -> MemoryConsumer {
        let subscription = Arc::new(Subscription::default());
        lock(&self.subscriptions).push(subscription.clone());
        MemoryConsumer {
            subscription,
            concurrency: concurrency.max(1),
        }
    }
}

#[async_trait]
impl Publisher for MemoryBus {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        for subscription in lock(&self.subscriptions).iter() {
            lock(&subscription.queue)
                .waiting
                .extend(messages.iter().map(|message| (message.clone(), 0)));
            subscription.changed.notify_waiters();
        }
        Ok(())
    }
}

/// A subscription of a [`MemoryBus`]. Clones compete for its messages.
#[derive(Debug, Clone)]
pub struct MemoryConsumer {
    subscription: Arc<Subscription>,
    concurrency: usize,
}

impl MemoryConsumer {
    /// What could not be handled.
    pub fn dead_letters(&self) -> &MemoryDeadLetters {
        &self.subscription.dead
    }

    /// Messages neither handled nor set aside.
    pub fn backlog(&self) -> usize {
        let queue = lock(&self.subscription.queue);
        queue.waiting.len() + queue.busy.len()
    }
}

/// A message out of its queue. Dropped without having been settled (its handler was dropped), it goes
/// back to its place, as a broker does when a lock expires.
struct Taken {
    subscription: Arc<Subscription>,
    message: Option<Message>,
    count: u32,
}

impl Taken {
    fn finish(&mut self, back: bool) {
        let Some(message) = self.message.take() else { return };
        {
            let mut queue = lock(&self.subscription.queue);
            queue.busy.remove(&message.key);
            if back {
                // At the front: whatever waits of this key was published later.
                queue.waiting.push_front((message, self.count));
            }
        }
        self.subscription.changed.notify_waiters();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.finish(true);
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
        let mut running: JoinSet<Result<()>> = JoinSet::new();
        while !stop.is_cancelled() {
            let changed = self.subscription.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a message published in between is not missed.
            changed.as_mut().enable();
            let room = running.len() < self.concurrency;
            if let Some((message, count)) = room.then(|| lock(&self.subscription.queue).take()).flatten() {
                let taken = Taken {
                    subscription: self.subscription.clone(),
                    message: Some(message),
                    count: count + 1,
                };
                running.spawn(deliver(taken, pipeline.clone(), stop.clone()));
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = changed, if room => {}
                Some(ended) = running.join_next() => ended.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?,
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
        }
        Ok(())
    }
}

async fn deliver(mut taken: Taken, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
    let Some(message) = taken.message.clone() else {
        return Ok(());
    };
    match pipeline.process(&message, &Delivery::new(taken.count)).await {
        Settlement::Complete => taken.finish(false),
        Settlement::Abandon(_) => taken.finish(true),
        Settlement::Release => {
            tokio::select! {
                () = stop.cancelled() => {}
                () = pipeline.ready() => {}
            }
            taken.count = taken.count.saturating_sub(1);
            taken.finish(true);
        }
        Settlement::DeadLetter(why) => {
            taken.subscription.dead.set_aside(&message, &why).await?;
            taken.finish(false);
        }
    }
    Ok(())
}
