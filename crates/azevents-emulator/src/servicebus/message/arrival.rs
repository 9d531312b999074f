//! A message on its way through a topic: what its subscriptions' rules are asked about.

use super::Message;
use crate::servicebus::clock::Timestamp;

/// A message that a topic passes on, with what the broker says of it there. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(in super::super) struct Arrival {
    pub(in super::super) message: Message,
    /// Its number in the topic; each subscription gives its copy another one.
    pub(in super::super) sequence_number: i64,
    /// When it became part of the topic.
    pub(in super::super) enqueued_at: Timestamp,
}

impl Arrival {
    /// When it ends, if ever. A topic's time to live is the message's by now.
    pub(in super::super) fn expires_at(&self) -> Option<Timestamp> {
        self.message.ttl().map(|ttl| self.enqueued_at + ttl)
    }
}
