//! A pipeline as a processor's handler.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::dead_letter::REDRIVE_TO;
use azevents_core::{Message, Pipeline, Settlement as Verdict};

use crate::client::DEAD_LETTERS;
use crate::convert;
use crate::processor::{BoxError, HeldMessage, MessageHandler};
use crate::receiver::Settlement;

/// Settles each message as the pipeline decides. Completion is left to the processor, which in a session
/// waits for the broker's word while the next message is handled.
pub(super) struct Adapter(pub(super) Arc<Pipeline>);

#[async_trait]
impl MessageHandler for Adapter {
    async fn handle(&self, held: &HeldMessage<'_>) -> Result<(), BoxError> {
        let incoming = convert::incoming(held.message());
        if let Some(other) = meant_for_another(&incoming, held) {
            tracing::debug!(
                id = incoming.id,
                other,
                "a message that was redriven for another subscription"
            );
            return Ok(());
        }
        let delivery = convert::delivery(held.message(), held.lock_lost().clone());
        let settlement = match self.0.process(&incoming, &delivery).await {
            Verdict::Complete => return Ok(()),
            // Somebody else may have the message already: the processor leaves it alone.
            Verdict::Abandon if held.lock_lost().is_cancelled() => {
                return Err("the message's lock was lost while it was handled".into());
            }
            Verdict::Abandon => Settlement::Abandon,
            Verdict::DeadLetter(why) => Settlement::dead_letter(&why.reason, &why.description),
        };
        Ok(held.settle(&settlement).await?)
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
