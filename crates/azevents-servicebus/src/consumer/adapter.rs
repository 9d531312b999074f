//! A pipeline as a processor's handler.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::dead_letter::REDRIVE_TO;
use azevents_core::{BatchLimits, BatchSettlement, Delivery, Failures, Message, Pipeline, Settlement as Verdict};
use tokio_util::sync::CancellationToken;

use super::delayed::{DelayedRetry, Later, is_unknown};
use crate::client::DEAD_LETTERS;
use crate::convert;
use crate::processor::{BoxError, HeldMessage, MessageHandler, ProcessorControl};
use crate::receiver::Settlement;

/// What is done with a message that is to be tried again.
pub(super) enum Again {
    /// It is given back.
    AtOnce,
    /// A copy comes later in its place.
    Later(Later),
    /// It is given back later; what comes after it waits.
    InPlace(DelayedRetry),
}

/// Settles each message as the pipeline decides. Completion is left to the processor, which in a session
/// waits for the broker's word while the next message is handled.
pub(super) struct Adapter {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) again: Again,
    pub(super) stop: CancellationToken,
}

#[async_trait]
impl MessageHandler for Adapter {
    async fn handle(&self, held: &HeldMessage<'_>) -> Result<(), BoxError> {
        let incoming = convert::incoming(held.message());
        if let Some(other) = meant_for_another(&incoming, held) {
            tracing::debug!(
                id = incoming.id,
                other,
                "a message that was sent again for another subscription"
            );
            return Ok(());
        }
        let delivery = convert::delivery(held.message(), held.lock_lost().clone());
        let verdict = self.pipeline.process(&incoming, &delivery).await;
        // Somebody else may have the message already: the processor leaves it alone.
        if held.lock_lost().is_cancelled() && !matches!(verdict, Verdict::Complete | Verdict::DeadLetter(_)) {
            return Err("the message's lock was lost while it was handled".into());
        }
        match verdict {
            Verdict::Complete => {}
            Verdict::Release => held.release().await,
            Verdict::Abandon(failures) => self.again(held, delivery.count, named(*failures, held)).await?,
            Verdict::DeadLetter(why) => {
                let story = convert::story(&named(*why.failures, held));
                let settlement = Settlement::dead_letter(&why.reason, &why.description);
                held.settle_with(&settlement, &story).await?;
            }
        }
        Ok(())
    }

    fn batch_limits(&self) -> Option<BatchLimits> {
        self.pipeline.batch_limits()
    }

    async fn handle_batch(&self, held: &[HeldMessage<'_>]) -> BatchSettlement {
        let messages: Vec<_> = held.iter().map(|held| convert::incoming(held.message())).collect();
        // Those that are not for this subscription are done when the others are.
        let ours = messages
            .iter()
            .zip(held)
            .filter(|(message, held)| meant_for_another(message, held).is_none());
        let (ours, ours_held): (Vec<_>, Vec<_>) = ours.unzip();
        let Some(first) = ours_held.first() else {
            return BatchSettlement::Complete;
        };
        let delivery = Delivery::new(1).lock_lost(first.lock_lost().clone());
        let delivery = match first.message().enqueued_time() {
            Some(at) => delivery.enqueued_at(at),
            None => delivery,
        };
        self.pipeline.process_batch(&ours, &delivery).await
    }
}

impl Adapter {
    /// Sees to it that a message is tried again.
    async fn again(&self, held: &HeldMessage<'_>, deliveries: u32, failures: Failures) -> Result<(), BoxError> {
        match &self.again {
            Again::AtOnce => {}
            Again::Later(later) => match later.retry(held, deliveries, &failures).await {
                Ok(()) => {
                    held.set_settled(Settlement::Complete);
                    return Ok(());
                }
                // Either the copy comes, or the message itself once its lock has expired.
                Err(error) if is_unknown(&error) => {
                    held.set_settled(Settlement::Abandon);
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::warn!(%error, "no copy could be scheduled, message given back at once");
                }
            },
            Again::InPlace(retry) => tokio::select! {
                () = tokio::time::sleep(retry.delay(deliveries)) => {}
                () = self.stop.cancelled() => {}
                () = held.lock_lost().cancelled() => return Err("the session was lost while its message waited".into()),
            },
        }
        Ok(held
            .settle_with(&Settlement::Abandon, &convert::story(&failures))
            .await?)
    }
}

/// A consumer without a name is called by what it consumes.
fn named(mut failures: Failures, held: &HeldMessage<'_>) -> Failures {
    if failures.consumer.is_empty() {
        held.entity().clone_into(&mut failures.consumer);
    }
    failures
}

/// Polls a processor's run, and has it take no more messages at once than the pipeline's circuit lets through.
pub(super) async fn within_circuit<T>(
    pipeline: &Pipeline,
    control: &ProcessorControl,
    running: impl Future<Output = T>,
) -> T {
    tokio::select! {
        ended = running => ended,
        () = follow_circuit(pipeline, control) => unreachable!("it follows for ever"),
    }
}

async fn follow_circuit(pipeline: &Pipeline, control: &ProcessorControl) {
    let Some(breaker) = pipeline.circuit_breaker() else {
        return std::future::pending().await;
    };
    let mut limit = breaker.limit();
    loop {
        control.limit(limit);
        limit = breaker.limit_changed(limit).await;
    }
}

/// The subscription that a message was sent again for, where it is not the one it is received from.
fn meant_for_another<'a>(message: &'a Message, held: &HeldMessage<'_>) -> Option<&'a str> {
    let subscription = message.headers.get(REDRIVE_TO)?;
    let here = held.entity();
    // A dead-letter queue's messages are meant for those who read it, whoever they were sent to.
    let other = !subscription.eq_ignore_ascii_case(here) && !here.ends_with(DEAD_LETTERS);
    other.then_some(subscription)
}
