//! What the user of a processor writes, and what the processor tells about failures.

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use azevents_core::{BatchLimits, BatchSettlement};

use super::HeldMessage;

/// Any error of a handler.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Handles a processor's messages.
///
/// # Contract
/// - `Ok` completes the message, unless it was settled or auto-complete is off. An error, or a panic, is
///   reported and gives the message back, unless it was settled or its lock is lost.
/// - Stop soon when [`HeldMessage::lock_lost`] is cancelled: another receiver may already have the message.
/// - A message can come more than once.
/// - The future runs to its end when the processor is stopped. It is dropped, at any await, only when the
///   processor's own future is.
#[async_trait]
pub trait MessageHandler: Send + Sync {
    /// Does what the message asks for.
    async fn handle(&self, message: &HeldMessage<'_>) -> Result<(), BoxError>;

    /// How many messages it takes at once, by [`handle_batch`](Self::handle_batch): of one session, or any where there
    /// are no sessions. By default each comes alone.
    fn batch_limits(&self) -> Option<BatchLimits> {
        None
    }

    /// Does what several messages ask for; those of a session are in order. [`BatchSettlement::Complete`] completes
    /// those that were not settled, as after [`handle`](Self::handle); after [`BatchSettlement::OneByOne`], or a
    /// panic, those that were not settled come to that, each alone, in order.
    async fn handle_batch(&self, messages: &[HeldMessage<'_>]) -> BatchSettlement {
        let _ = messages;
        BatchSettlement::OneByOne
    }

    /// Learns of a failure, for logs and alarms; the processor deals with it by itself. Must return at
    /// once. By default it is logged as a warning.
    fn on_error(&self, error: &ProcessorError) {
        tracing::warn!(%error, "processor");
    }
}

/// During what a processor's failure happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorSource {
    /// Receiving messages.
    Receive,
    /// Prolonging the lock of a message or session.
    RenewLock,
    /// Completing a message after its handler.
    Complete,
    /// Giving a message back after its handler failed.
    Abandon,
    /// The user's handler.
    UserCallback,
    /// Locking a session.
    AcceptSession,
}

impl fmt::Display for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receive => "receive",
            Self::RenewLock => "renew lock",
            Self::Complete => "complete",
            Self::Abandon => "abandon",
            Self::UserCallback => "user callback",
            Self::AcceptSession => "accept session",
        })
    }
}

/// A failure within a processor.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProcessorError {
    /// During what it happened.
    pub source: ErrorSource,
    /// The queue or subscription.
    pub entity: String,
    /// The session, where there was one.
    pub session_id: Option<String>,
    /// The message, where there was one.
    pub message_id: Option<String>,
    /// What happened: a [`crate::Error`], or the handler's own error.
    pub error: BoxError,
}

impl ProcessorError {
    pub(super) fn new(source: ErrorSource, entity: &str, error: impl Into<BoxError>) -> Self {
        Self {
            source,
            entity: entity.to_owned(),
            session_id: None,
            message_id: None,
            error: error.into(),
        }
    }

    pub(super) fn in_session(mut self, session: Option<&str>) -> Self {
        self.session_id = session.map(str::to_owned);
        self
    }

    pub(super) fn of_message(mut self, message: Option<&str>) -> Self {
        self.message_id = message.map(str::to_owned);
        self
    }
}

impl fmt::Display for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source, self.entity)?;
        if let Some(session) = &self.session_id {
            write!(f, ", session {session}")?;
        }
        if let Some(message) = &self.message_id {
            write!(f, ", message {message}")?;
        }
        write!(f, ": {}", self.error)
    }
}

impl StdError for ProcessorError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.error.as_ref())
    }
}
