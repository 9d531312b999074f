//! One accepted message, from a caller to a lane.

use std::sync::Arc;

use azevents_core::{Error, Message};
use tokio::sync::OwnedSemaphorePermit;

use super::call::Call;

/// An accepted message. Its call hears of it exactly once: by one of the methods, or when it is dropped with
/// a lane that panicked or a runtime that ended.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    call: Arc<Call>,
    /// Its place in the call.
    index: usize,
    told: bool,
    /// Its share of the buffer, given back when its fate is known.
    _room: OwnedSemaphorePermit,
}

impl Entry {
    pub(super) fn new(call: &Arc<Call>, index: usize, message: &Message, room: OwnedSemaphorePermit) -> Self {
        Self {
            message: message.clone(),
            call: call.clone(),
            index,
            told: false,
            _room: room,
        }
    }

    /// Whether a message of its call and key has failed before it.
    pub(super) fn is_blocked(&self) -> bool {
        self.call.blocks(&self.message.key)
    }

    /// The service has it.
    pub(super) fn acknowledge(mut self) {
        self.told = true;
        self.call.acknowledge(self.index);
    }

    /// It can never be sent.
    pub(super) fn refuse(mut self, error: Error) {
        self.told = true;
        self.call.refuse(self.index, &self.message.key, error);
    }

    /// It was not sent, for a reason that is not its own.
    pub(super) fn stop(mut self, error: &Arc<Error>) {
        self.told = true;
        self.call.stop(&self.message.key, error);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.told {
            self.call.give_up(1);
        }
    }
}
