//! Scheduling, cancelling, peeking, and fetching deferred messages.

use fe2o3_amqp_types::primitives::Binary;
use serde_amqp::{
    Value,
    primitives::{Array, OrderedMap, Uuid},
};

use super::{Answer, Arguments, Call, field};
use crate::servicebus::{BrokerError, engine::ReceiveMode, links::sender};

/// Messages in one answer, however many are asked for: clients peek on from the last they got.
const MAX_PEEKED: usize = 250;

/// Once an answer has so many bytes, no further message is added.
const MAX_PEEKED_BYTES: usize = 1024 * 1024;

impl Call<'_> {
    pub(super) fn schedule_message(&self) -> Answer {
        let limits = self.node.queue.limits(self.node.limits);
        let mut messages = Vec::new();
        for entry in self.arguments.list("messages")? {
            let encoded = Arguments::of(entry)?
                .binary("message")?
                .ok_or_else(|| BrokerError::Malformed("An entry of 'messages' lacks its 'message'.".into()))?;
            messages.push(sender::decode(&encoded, limits)?);
        }
        let numbers = self.node.queue.send(messages)?;
        let numbers = numbers.into_iter().map(Value::Long).collect();
        Ok(Some(field("sequence-numbers", Value::Array(Array(numbers)))))
    }

    pub(super) fn cancel_scheduled_message(&self) -> Answer {
        let numbers = self.arguments.integers("sequence-numbers")?;
        self.node.queue.cancel_scheduled(&numbers)?;
        Ok(Some(OrderedMap::new()))
    }

    pub(super) fn peek_message(&self) -> Answer {
        let from = self.arguments.required_integer("from-sequence-number")?;
        let count = self.arguments.required_integer("message-count")?;
        let count =
            usize::try_from(count).map_err(|_| BrokerError::Malformed("'message-count' is negative.".into()))?;
        let session = self.arguments.text("session-id")?;
        let peeked = self.node.queue.peek(from, count.min(MAX_PEEKED), session);
        if peeked.is_empty() {
            return Ok(None);
        }
        let mut size = 0;
        let encoded = peeked.into_iter().map(|(message, stamp)| message.encode_whole(&stamp));
        let peeked = encoded
            .take_while(|message| {
                let fits = size < MAX_PEEKED_BYTES;
                size += message.len();
                fits
            })
            .map(|message| Value::Map(field("message", binary(&message))))
            .collect();
        Ok(Some(field("messages", Value::List(peeked))))
    }

    pub(super) fn batch_delete_messages(&self) -> Answer {
        let count = self.arguments.required_integer("message-count")?;
        let count = usize::try_from(count).unwrap_or_default();
        let tier = self.node.limits.tier();
        let most = tier.max_deleted();
        if !(1..=most).contains(&count) {
            return Err(BrokerError::OutOfRange(format!(
                "'message-count' is {count}; in the {} tier it may be from 1 to {most}.",
                tier.name()
            )));
        }
        let before = self.arguments.required_timestamp("enqueued-time-utc")?;
        let session = match self.arguments.text("session-id")? {
            Some(id) => Some((id, self.holder_of(id)?)),
            None => None,
        };
        let deleted = self.node.queue.delete_batch(count, before, session)?;
        let deleted = i32::try_from(deleted).unwrap_or(i32::MAX);
        Ok((deleted > 0).then(|| field("message-count", Value::Int(deleted))))
    }

    pub(super) fn receive_by_sequence_number(&self) -> Answer {
        self.node.queue.check_gives_messages()?;
        let numbers = self.arguments.integers("sequence-numbers")?;
        // The receiver settle mode stands for the receive mode: 0 (first) deletes.
        let mode = match self.arguments.required_integer("receiver-settle-mode")? {
            0 => ReceiveMode::ReceiveAndDelete,
            1 => ReceiveMode::PeekLock,
            other => {
                return Err(BrokerError::Malformed(format!(
                    "'{other}' is not a receiver settle mode."
                )));
            }
        };
        let session = match self.arguments.text("session-id")? {
            Some(id) => Some((id, self.holder_of(id)?)),
            None => None,
        };
        let received = self.node.queue.receive_deferred(&numbers, session, mode)?;
        let received = received
            .into_iter()
            .map(|received| {
                let mut entry = field(
                    "lock-token",
                    Value::Uuid(Uuid::from(received.token.to_uuid().into_bytes())),
                );
                let encoded = received.message.encode_whole(&received.stamp);
                entry.insert(Value::String("message".into()), binary(&encoded));
                Value::Map(entry)
            })
            .collect();
        Ok(Some(field("messages", Value::List(received))))
    }
}

fn binary(bytes: &[u8]) -> Value {
    Value::Binary(Binary::from(bytes.to_vec()))
}
