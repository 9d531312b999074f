//! Where messages go that cannot be handled, and why they went there.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::failures::Failures;
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

/// Header on a dead letter that lies in a queue or topic of messages: the reason.
pub const DEAD_LETTER_REASON: &str = "azevents-dead-letter-reason";
/// Header on such a dead letter: the description.
pub const DEAD_LETTER_DESCRIPTION: &str = "azevents-dead-letter-description";
/// Header on a message that was parked by its consumer: where from, `eventhub/<hub>/<consumer group>/<partition>` or
/// `kafka/<topic>/<group>/<partition>`.
pub const PARKED_SOURCE: &str = "azevents-source";
/// Header on a message that was parked by an event hub's consumer: its sequence number in the partition.
pub const PARKED_SEQUENCE_NUMBER: &str = "azevents-sequence-number";
/// Header on a parked message: its offset in the partition.
pub const PARKED_OFFSET: &str = "azevents-offset";

/// Header that counts how often a message was sent again, later, by its consumer.
pub const RETRY_COUNT: &str = "azevents-retry-count";

/// Why a message was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// A short name in Pascal case, to count and filter by: `Undecodable`, [`RETRIES_EXHAUSTED`].
    pub reason: String,
    /// What happened, in a sentence: the error and its causes.
    pub description: String,
    /// What was tried before; empty where no handler was called.
    pub failures: Box<Failures>,
}

impl DeadLetter {
    /// A dead letter without a story.
    pub fn new(reason: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            description: description.into(),
            failures: Box::default(),
        }
    }

    /// Adds what was tried before.
    #[must_use]
    pub fn after(mut self, failures: Failures) -> Self {
        self.failures = Box::new(failures);
        self
    }

    /// A copy of `message` that says in its headers why it was set aside, and what was tried before, for places that
    /// hold nothing but messages.
    #[must_use]
    pub fn mark(&self, message: &Message) -> Message {
        let mut letter = message.clone();
        letter.headers.extend(self.failures.headers());
        letter
            .headers
            .insert(DEAD_LETTER_REASON.to_owned(), self.reason.clone());
        letter
            .headers
            .insert(DEAD_LETTER_DESCRIPTION.to_owned(), self.description.clone());
        letter
    }
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
