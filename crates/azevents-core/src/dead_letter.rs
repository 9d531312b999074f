//! Where messages go that cannot be handled, and why they went there.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::message::Message;

/// Dead-letter reason: the same message failed too often.
pub const RETRIES_EXHAUSTED: &str = "RetriesExhausted";

/// Header with the id a message had before a copy of it was made under another one, so that duplicate
/// detection would take the copy. Consumers go by it.
pub const ORIGINAL_ID: &str = "azevents-original-id";
/// Header that counts how often a message was sent again from a dead-letter queue.
pub const REDRIVE_COUNT: &str = "azevents-redrive-count";
/// Header with the entity whose dead-letter queue a message was sent again from.
pub const REDRIVEN_FROM: &str = "azevents-redriven-from";
/// Header with the only subscription that a message on a topic is meant for.
pub const REDRIVE_TO: &str = "azevents-redrive-to";

/// Why a message was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// A short name in Pascal case, to count and filter by: `Undecodable`, [`RETRIES_EXHAUSTED`].
    pub reason: String,
    /// What happened, in a sentence: the error and its causes.
    pub description: String,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.description)
    }
}

/// A place for dead letters beside the broker's own: Event Hubs has none, and the relay's events have
/// not reached a broker yet.
///
/// # Contract
/// `Ok` means that the message is kept durably; only then does the caller move past it. Setting aside
/// the same message twice keeps it at least once. Cancellation: it may or may not have been kept.
#[async_trait]
pub trait DeadLetterSink: Send + Sync {
    /// Keeps `message` with the reason.
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()>;
}
