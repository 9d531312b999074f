//! What a queue doesn't keep: a topic's messages at once, those that are forwarded soon after.

use super::Queue;
use crate::servicebus::{
    BrokerError,
    engine::DeadLetter,
    message::{Arrival, Message, TopicSize},
};

/// Where messages go at once that an entity doesn't keep. Called under the entity's lock, so that
/// their order holds; must not call back into it.
pub(in super::super) type Forward = Box<dyn Fn(&[Arrival]) + Send + Sync>;

/// What passes messages on, and what of them still counts for it.
pub(in super::super) struct PassingOn {
    pub(in super::super) forward: Forward,
    pub(in super::super) size: TopicSize,
}

impl Queue {
    /// Where it passes its messages on to.
    pub(in super::super) fn forwards_to(&self) -> Option<String> {
        self.guarded().engine.rules().forwarding.to.clone()
    }

    /// Takes messages out that are to be passed on, and where to.
    pub(in super::super) fn take_forwarded(&self, max: usize) -> Option<(String, Vec<DeadLetter>)> {
        self.with(|engine, now| {
            engine.advance(now);
            engine.take_forwards(max)
        })
    }

    /// Takes a message that another entity passes on.
    pub(in super::super) fn take_forward(&self, message: &Message) -> Result<(), BrokerError> {
        self.check_takes_messages()?;
        self.with(|engine, now| {
            self.usage.note(now);
            engine.admit(message)?;
            engine.enqueue(message.clone(), now);
            Ok(())
        })
    }

    /// Sets a message aside that could not be passed on.
    pub(in super::super) fn dead_letter_transfer(&self, letter: DeadLetter, reason: &str, description: &str) {
        // Whatever forwards has one.
        if let Some(transfer) = &self.transfer_dead_letters {
            transfer.take_over(vec![letter.explained(reason, description)]);
        }
    }
}
