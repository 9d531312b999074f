//! What a message counts for in the size of its topic, however many subscriptions have a copy.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Message;

/// Bytes of all messages of a topic that are in one of its subscriptions.
pub(in super::super) type TopicSize = Arc<AtomicU64>;

/// Counts until the last copy is gone.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: u64,
    size: TopicSize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.size.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Message {
    /// The message as its topic gives it to subscriptions.
    pub(in super::super) fn charged(&self, size: &TopicSize) -> Self {
        let bytes = self.size();
        size.fetch_add(bytes, Ordering::Relaxed);
        let size = Arc::clone(size);
        Self {
            charge: Some(Arc::new(Charge { bytes, size })),
            ..self.clone()
        }
    }

    /// It leaves its topic: for a dead-letter queue, or for another entity.
    pub(in super::super) fn release_charge(&mut self) {
        self.charge = None;
    }
}
