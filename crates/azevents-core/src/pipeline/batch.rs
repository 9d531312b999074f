//! Several messages through a pipeline at once, and apart where that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pipeline, guarded};
use crate::batch_handler::{Alone, BatchHandler};
use crate::error::chain;
use crate::handler::Delivery;
use crate::message::Message;

/// How much a batch may be. A batch has at least one message, whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// At most this many messages.
    pub messages: usize,
    /// At most this many bytes, by [`Message::size`].
    pub bytes: usize,
    /// How long the first message waits for others. Zero takes what is there: what comes while a batch is handled makes
    /// the next one, so under load batches are full all the same.
    pub linger: Duration,
}

impl Default for BatchLimits {
    /// 100 messages, 1 MB, no linger.
    fn default() -> Self {
        Self {
            messages: 100,
            bytes: 1_000_000,
            linger: Duration::ZERO,
        }
    }
}

impl BatchLimits {
    /// Sets the number of messages; at least 1.
    #[must_use]
    pub fn with_messages(mut self, messages: usize) -> Self {
        self.messages = messages.max(1);
        self
    }

    /// Sets the number of bytes.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long the first message waits.
    #[must_use]
    pub fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

/// What a consumer does with a batch once the pipeline has dealt with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSettlement {
    /// All were handled: take them off the broker.
    Complete,
    /// It did not work with all at once: pass each to [`Pipeline::process`], in order.
    OneByOne,
}

/// The handler of batches and what it is given.
pub(super) struct Batches {
    handler: Arc<dyn BatchHandler>,
    limits: BatchLimits,
}

impl Pipeline {
    /// A pipeline that handles several messages at once, where its consumer can; else one by one.
    #[must_use]
    pub fn in_batches(handler: Arc<dyn BatchHandler>, limits: BatchLimits) -> Self {
        Self {
            batches: Some(Batches {
                handler: handler.clone(),
                limits,
            }),
            ..Self::new(Arc::new(Alone(handler)))
        }
    }

    /// How many messages are to be handled at once; `None` where each is to be handled alone.
    pub fn batch_limits(&self) -> Option<BatchLimits> {
        self.batches.as_ref().map(|batches| batches.limits)
    }

    /// Handles several messages at once, with the pipeline's retries as long as the error is transient. Dropping it is
    /// a crash of the handler at that point. One message, and any where the pipeline takes no batches, is answered with
    /// [`BatchSettlement::OneByOne`] at once.
    pub async fn process_batch(&self, messages: &[&Message], delivery: &Delivery) -> BatchSettlement {
        let Some(batches) = self.batches.as_ref().filter(|_| messages.len() > 1) else {
            return BatchSettlement::OneByOne;
        };
        let mut pass = match &self.breaker {
            None => None,
            Some(breaker) => match breaker.enter() {
                Some(pass) => Some(pass),
                None => return BatchSettlement::OneByOne,
            },
        };
        let mut delays = self.retry.delays();
        loop {
            let error = match guarded(batches.handler.handle_batch(messages, delivery), delivery).await {
                Ok(()) => {
                    if let Some(pass) = pass.take() {
                        pass.succeeded();
                    }
                    self.counters
                        .handled
                        .fetch_add(messages.len() as u64, Ordering::Relaxed);
                    return BatchSettlement::Complete;
                }
                Err(error) => error,
            };
            if error.is_transient() && !delivery.lock_lost.is_cancelled() {
                for message in messages {
                    if let Some(pass) = &mut pass
                        && pass.failed(&message.id).await
                    {
                        return BatchSettlement::OneByOne;
                    }
                }
            }
            let delay = delays.next().filter(|_| error.is_transient());
            tracing::debug!(
                messages = messages.len(),
                ?delay,
                error = chain(&error),
                "batch failed, trying again, or one by one"
            );
            let Some(delay) = delay else {
                return BatchSettlement::OneByOne;
            };
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = delivery.lock_lost.cancelled() => return BatchSettlement::OneByOne,
            }
        }
    }
}
