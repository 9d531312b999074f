//! One message until it is finished: for sources that don't deliver again by themselves, where a message is passed only
//! once it was handled or parked.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::dead_letter::{DeadLetter, DeadLetterSink};
use crate::error::chain;
use crate::handler::Delivery;
use crate::message::Message;
use crate::pipeline::{BatchSettlement, Pipeline, Settlement};
use crate::retry::RetryPolicy;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It was handled.
    Handled,
    /// It can't be handled, and is to be parked.
    DeadLetter(DeadLetter),
    /// It is unfinished: there was to be no further try.
    Halted,
}

/// Delivers messages again until they are finished, or until there is to be no further try.
#[derive(Clone)]
pub struct Redelivery {
    /// Handles them.
    pub pipeline: Arc<Pipeline>,
    /// Keeps those that can't be handled.
    pub parking: Arc<dyn DeadLetterSink>,
    /// Delays between tries. Its number of retries is for the pipeline to decide.
    pub delays: RetryPolicy,
    /// Cancelled when nothing further is to be begun; what runs is finished.
    pub halt: CancellationToken,
    /// Cancelled when the partition is no longer ours: handlers are told.
    pub lost: CancellationToken,
}

impl Redelivery {
    /// Hands a message to the pipeline, again after a delay where it was given back, with the next delivery count.
    pub async fn deliver(&self, message: &Message, enqueued_at: Option<OffsetDateTime>) -> Delivered {
        let mut delays = self.delays.delays();
        let mut count = 1_u32;
        let mut failures = None;
        loop {
            let delivery = self.delivery(count, enqueued_at).after(failures.clone());
            match self.pipeline.process(message, &delivery).await {
                Settlement::Complete => return Delivered::Handled,
                Settlement::DeadLetter(why) => return Delivered::DeadLetter(why),
                Settlement::Release => tokio::select! {
                    biased;
                    () = self.halted() => return Delivered::Halted,
                    () = self.pipeline.ready() => {}
                },
                Settlement::Abandon(so_far) => {
                    failures = Some(so_far);
                    count = count.saturating_add(1);
                    if !self.wait(delays.next()).await {
                        return Delivered::Halted;
                    }
                }
            }
        }
    }

    /// Hands messages to the pipeline at once. `false` where each is to be delivered alone: it takes no batches, or
    /// could not handle this one.
    pub async fn deliver_batch(&self, messages: &[&Message], enqueued_at: Option<OffsetDateTime>) -> bool {
        let delivery = self.delivery(1, enqueued_at);
        self.pipeline.process_batch(messages, &delivery).await == BatchSettlement::Complete
    }

    /// Parks a message, for as long as it takes: a checkpoint must not pass it before. `false` when there was to be no
    /// further try.
    pub async fn park(&self, message: &Message, why: &DeadLetter) -> bool {
        let mut delays = self.delays.delays();
        loop {
            match self.parking.set_aside(message, why).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(id = message.id, %why, error = chain(&error), "message could not be parked, trying again");
                }
            }
            if !self.wait(delays.next()).await {
                return false;
            }
        }
    }

    /// Whether nothing further is to be begun.
    pub fn is_halted(&self) -> bool {
        self.halt.is_cancelled() || self.lost.is_cancelled()
    }

    /// Waits until nothing further is to be begun.
    pub async fn halted(&self) {
        tokio::select! {
            () = self.halt.cancelled() => {}
            () = self.lost.cancelled() => {}
        }
    }

    fn delivery(&self, count: u32, enqueued_at: Option<OffsetDateTime>) -> Delivery {
        let delivery = Delivery::new(count).lock_lost(self.lost.clone());
        match enqueued_at {
            Some(at) => delivery.enqueued_at(at),
            None => delivery,
        }
    }

    /// Waits before another try. `false` if there is to be none.
    async fn wait(&self, delay: Option<Duration>) -> bool {
        tokio::select! {
            biased;
            () = self.halted() => false,
            () = tokio::time::sleep(delay.unwrap_or_default()) => true,
        }
    }
}
