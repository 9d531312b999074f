//! Handing messages to a broker.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::message::Message;

/// Sends messages to one destination: a topic, a queue, an event hub.
///
/// # Contract
/// - `Ok` means that the broker has acknowledged every message.
/// - Messages with the same key are accepted by the broker in the order of the slice, and calls that
///   follow one another keep that order too. Calls that overlap in time have no order between them.
/// - On error, the first [`accepted`](PublishError::accepted) messages are acknowledged. Of the others
///   any may have been accepted as well, so the caller repeats them, in order: copies can reach
///   consumers, gaps cannot.
/// - A message that can never be sent (too large) fails with a permanent error and is the one at index
///   `accepted`.
/// - Cancellation: dropping the call leaves any of its messages sent or not sent, and the publisher usable.
/// - Implementations retry what the connection itself needs (reconnecting, reopening a link); the caller
///   retries the call.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends `messages`, in order per key.
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError>;
}

#[async_trait]
impl<P: Publisher + ?Sized> Publisher for Arc<P> {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        self.as_ref().publish(messages).await
    }
}

/// A publish that stopped part of the way.
#[derive(Debug)]
pub struct PublishError {
    /// How many messages, from the first on, the broker has acknowledged.
    pub accepted: usize,
    /// What stopped it; when permanent, the message at index `accepted` is to blame.
    pub error: Error,
}

impl PublishError {
    /// `error` after `accepted` acknowledged messages.
    pub fn after(accepted: usize, error: Error) -> Self {
        Self { accepted, error }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} accepted messages: {}", self.accepted, self.error)
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
