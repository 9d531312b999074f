//! A pipeline as a processor's handler.

use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{Pipeline, Settlement as Verdict};

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
