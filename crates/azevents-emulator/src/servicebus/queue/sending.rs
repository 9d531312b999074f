//! What is sent to a queue.

use super::Queue;
use crate::{
    faults::FaultKind,
    servicebus::{BrokerError, message::Message},
};

/// Why a message goes to the dead-letter queue at once: reason and description.
pub(in super::super) struct DeadLetterReason(pub(in super::super) &'static str, pub(in super::super) String);

impl Queue {
    /// Stores messages in this order, all or none. Returns their sequence numbers.
    ///
    /// # Errors
    /// [`BrokerError::ServerBusy`] if a fault says so, or whatever makes one of them inadmissible.
    pub(crate) fn send(&self, mut messages: Vec<Message>) -> Result<Vec<i64>, BrokerError> {
        self.check_takes_messages()?;
        if self.faults.decide(FaultKind::ServerBusy) {
            return Err(BrokerError::ServerBusy);
        }
        for message in &mut messages {
            message.ensure_id()?;
        }
        self.with(|engine, now| {
            self.usage.note(now);
            for message in &messages {
                engine.admit(message)?;
            }
            Ok(messages
                .into_iter()
                .map(|message| engine.enqueue(message, now))
                .collect())
        })
    }

    /// Messages that [`enqueue_admitted`](Self::enqueue_admitted) will take.
    pub(in super::super) fn admitted(&self, mut messages: Vec<Message>) -> Result<Vec<Message>, BrokerError> {
        self.check_takes_messages()?;
        for message in &mut messages {
            message.ensure_id()?;
        }
        self.usage.touch();
        self.with(|engine, _| messages.iter().try_for_each(|message| engine.admit(message)))?;
        Ok(messages)
    }

    /// Whether one transaction may send all of these.
    pub(in super::super) fn check_together<'a>(
        &self,
        messages: impl Iterator<Item = &'a Message>,
    ) -> Result<(), BrokerError> {
        self.guarded().engine.check_together(messages)
    }

    /// Stores messages that were [admitted](Self::admitted).
    pub(in super::super) fn enqueue_admitted(&self, messages: Vec<Message>) {
        self.with(|engine, now| {
            for message in messages {
                engine.enqueue(message, now);
            }
        });
    }

    /// Takes a subscription's copies. They were admitted at the topic. Those with a reason are for the dead-letter
    /// queue.
    pub(in super::super) fn take_copies(&self, copies: impl Iterator<Item = (Message, Option<DeadLetterReason>)>) {
        self.with(|engine, now| {
            for (copy, failure) in copies {
                match failure {
                    None => {
                        engine.enqueue(copy, now);
                    }
                    Some(DeadLetterReason(reason, why)) => engine.enqueue_dead(copy, reason, &why, now),
                }
            }
        });
    }

    /// Takes back scheduled messages, all or none.
    pub(crate) fn cancel_scheduled(&self, sequences: &[i64]) -> Result<(), BrokerError> {
        self.with(|engine, now| engine.cancel_scheduled(sequences, now))
    }
}
