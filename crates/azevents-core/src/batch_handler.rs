//! The user's code where it is cheaper to do several messages at once: a bulk insert, one transaction.

use std::sync::Arc;

use async_trait::async_trait;

use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::Message;

/// Handles messages several at a time. Given to consumers with [`Pipeline::in_batches`](crate::Pipeline::in_batches).
///
/// # Contract
/// - A batch is never empty. Its messages are in the source's order, so those of one key are in order; the batches of
///   one key come one after another.
/// - `Ok` means that every message is handled. After an error, whatever it left behind, the batch comes again as long
///   as the error is transient and the pipeline has retries; then each of its messages comes alone, in order, so that
///   one that can't be handled is set aside alone. So a message may come again although its effect was made: wrap the
///   handler in [`Idempotent`](crate::Idempotent), or make the whole batch one transaction.
/// - All but that is as [`Handler`] has it, cancellation too.
///
/// ```
/// use azevents_core::{BatchHandler, Delivery, HandlerError, Message};
///
/// struct Warehouse;
///
/// #[async_trait::async_trait]
/// impl BatchHandler for Warehouse {
///     async fn handle_batch(&self, messages: &[&Message], _: &Delivery) -> Result<(), HandlerError> {
///         let rows = messages.iter().map(|message| message.json::<serde_json::Value>());
///         let rows = rows.collect::<Result<Vec<_>, _>>()?;
///         println!("one insert of {} rows", rows.len());
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait BatchHandler: Send + Sync {
    /// Does what the messages ask for. The delivery is that of them all: its `count` is 1, its `enqueued_at` the first
    /// one's.
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError>;
}

#[async_trait]
impl<H: BatchHandler + ?Sized> BatchHandler for Arc<H> {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        self.as_ref().handle_batch(messages, delivery).await
    }
}

/// A batch handler that takes each message alone.
pub(crate) struct Alone(pub(crate) Arc<dyn BatchHandler>);

#[async_trait]
impl Handler for Alone {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.0.handle_batch(&[message], delivery).await.map(|()| Handled::Done)
    }
}
