//! The streams that were set aside: everything behind the event that could not be published follows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::feed::{Checkpoint, ParkedStream};
use crate::message::Message;

/// The parked streams of one range. Every lane asks it, and every checkpoint carries it.
#[derive(Debug, Default)]
pub(super) struct ParkedStreams(Mutex<BTreeMap<String, ParkedStream>>);

impl From<Option<&Checkpoint>> for ParkedStreams {
    fn from(checkpoint: Option<&Checkpoint>) -> Self {
        Self(Mutex::new(checkpoint.map(|c| c.parked.clone()).unwrap_or_default()))
    }
}

impl ParkedStreams {
    /// The place of the first message that stands behind one that was set aside. Messages that have no version,
    /// because they are no stream's events, stop nothing and are held up with the stream whose key they bear.
    pub(super) fn first_held(&self, messages: &[Message]) -> Option<usize> {
        let streams = self.lock();
        if streams.is_empty() {
            return None;
        }
        messages.iter().position(|message| {
            // After a crash what was published before the stream stopped comes again, and is published again.
            streams
                .get(&message.key)
                .is_some_and(|stream| message.version().is_none_or(|version| version >= stream.first))
        })
    }

    /// A stream stops at this message.
    pub(super) fn stop(&self, message: &Message) {
        if let Some(version) = message.version() {
            let stopped = ParkedStream {
                first: version,
                last: version,
            };
            self.lock().entry(message.key.clone()).or_insert(stopped);
        }
    }

    /// This message of a stopped stream was set aside.
    pub(super) fn passed(&self, message: &Message) {
        if let (Some(stream), Some(version)) = (self.lock().get_mut(&message.key), message.version()) {
            stream.last = stream.last.max(version);
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, ParkedStream> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ParkedStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
