//! The user's code: what is done with one message.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::failures::Failures;
use crate::message::Message;

/// Handles messages.
///
/// # Contract
/// - A message can come more than once, and after a crash it will. Wrap the handler in
///   [`Idempotent`](crate::Idempotent) or write its effects through a [`ReadModel`](crate::ReadModel).
/// - Messages with the same key come one after another, in order, from sources that keep order.
/// - Stop soon when [`Delivery::lock_lost`] is cancelled: another consumer may already have the message.
/// - The future is dropped when the process stops or the lock is lost, at any await.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Does what the message asks for.
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError>;
}

#[async_trait]
impl<H: Handler + ?Sized> Handler for Arc<H> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.as_ref().handle(message, delivery).await
    }
}

/// How a message was dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Its effect was made now.
    Done,
    /// Its effect had been made before: this was a copy.
    Duplicate,
}

/// How a message reached the handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// How often the broker has delivered it, this time included.
    pub count: u32,
    /// When the broker took it in.
    pub enqueued_at: Option<OffsetDateTime>,
    /// Cancelled when the message no longer belongs to this consumer.
    pub lock_lost: CancellationToken,
    /// How earlier deliveries failed, where the consumer keeps that itself. Else the message's headers say it.
    pub failures: Option<Box<Failures>>,
}

impl Delivery {
    /// The `count`th delivery of a message.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            enqueued_at: None,
            lock_lost: CancellationToken::new(),
            failures: None,
        }
    }

    /// Sets how earlier deliveries failed.
    #[must_use]
    pub fn after(mut self, failures: Option<Box<Failures>>) -> Self {
        self.failures = failures;
        self
    }

    /// Sets when the broker took the message in.
    #[must_use]
    pub fn enqueued_at(mut self, at: OffsetDateTime) -> Self {
        self.enqueued_at = Some(at);
        self
    }

    /// Sets the token that is cancelled when the lock is lost.
    #[must_use]
    pub fn lock_lost(mut self, token: CancellationToken) -> Self {
        self.lock_lost = token;
        self
    }
}

/// Why a handler could not handle a message, and whether trying again can help.
#[derive(Debug)]
pub struct HandlerError {
    transient: bool,
    reason: Cow<'static, str>,
    source: Box<dyn StdError + Send + Sync>,
}

impl HandlerError {
    /// Trying again can help: a store is busy, a service is away.
    pub fn transient(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            transient: true,
            reason: "HandlerFailed".into(),
            source: source.into(),
        }
    }

    /// Trying again cannot help. `reason` becomes the dead-letter reason: a short name in Pascal case.
    pub fn permanent(reason: impl Into<Cow<'static, str>>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            transient: false,
            reason: reason.into(),
            source: source.into(),
        }
    }

    /// Whether trying again can help.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The dead-letter reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.source)
    }
}

impl StdError for HandlerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

impl From<Error> for HandlerError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Corrupt => Self::permanent("Undecodable", error),
            ErrorKind::InvalidInput | ErrorKind::TooLarge | ErrorKind::Unsupported => {
                Self::permanent("Rejected", error)
            }
            // A missing container or a refused credential is the operator's to mend, not the message's fault.
            _ => Self::transient(error),
        }
    }
}
