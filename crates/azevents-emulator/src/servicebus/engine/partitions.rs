//! Entities with partitions ("Partitioned queues and topics" in the service's documentation).
//!
//! The service keeps each partition in a store of its own. What clients see of that is here: a message's partition is in
//! the upper 16 bits of its number; messages with the same session id or partition key share one, and keep their order
//! in it; those of different partitions have no order, because a receiver gets them from the partitions in turn. Which
//! partition a key belongs to is the service's secret, and so it is another one here.
//!
//! One counter gives the lower bits for all partitions: numbers rise within one, but have gaps.

use std::borrow::Cow;

use super::Engine;
use crate::servicebus::{
    BrokerError,
    message::{Message, text},
};

/// Partitions of an entity, as many as the service makes in the Standard tier.
pub(crate) const PARTITIONS: u64 = 16;

/// Bits of a number below its partition.
const BITS: u32 = 48;

impl Engine {
    /// The number of the next message, which belongs to the partition of this one.
    pub(super) fn next_sequence(&mut self, message: &Message) -> i64 {
        self.last_sequence += 1;
        if !self.rules.partitioned {
            return self.last_sequence;
        }
        let partition = match self.partition_key(message) {
            Some(key) => u64::from(crc32fast::hash(key.as_bytes())),
            None => self.last_sequence.unsigned_abs(),
        };
        self.number_in(partition % PARTITIONS)
    }

    /// The number of a message that leaves this one's place, in the same partition.
    pub(super) fn next_sequence_beside(&mut self, sequence: i64) -> i64 {
        self.last_sequence += 1;
        if !self.rules.partitioned {
            return self.last_sequence;
        }
        self.number_in(partition_of(sequence))
    }

    fn number_in(&self, partition: u64) -> i64 {
        first_of(partition) | self.last_sequence
    }

    /// The session id, the partition key, and where duplicates are detected the message id: the first of them that there
    /// is.
    fn partition_key<'a>(&self, message: &'a Message) -> Option<&'a str> {
        let detects = self.duplicates.is_some();
        let id = || message.message_id().filter(|_| detects);
        let session = message.session_id().map(AsRef::as_ref);
        session.or_else(|| given_key(message)).or_else(id)
    }

    /// Refuses messages of one transaction that don't say, all of them and in the same way, which partition they are for
    /// ("Partitioned queues and topics", use transactions with partitioned entities).
    pub(in super::super) fn check_together<'a>(
        &self,
        mut messages: impl Iterator<Item = &'a Message>,
    ) -> Result<(), BrokerError> {
        if !self.rules.partitioned {
            return Ok(());
        }
        let first = messages.next().map(|message| self.partition_key(message));
        let same = |key| first.is_none_or(|first| first == key);
        if first == Some(None) || !messages.all(|message| same(self.partition_key(message))) {
            return Err(BrokerError::NotAllowed(format!(
                "'{}' has partitions: all messages that a transaction sends to it must have the same partition key.",
                self.rules.path
            )));
        }
        Ok(())
    }

    /// What duplicates have in common: the id, and with partitions the key beside it ("Duplicate detection").
    pub(super) fn duplicate_id<'a>(&self, message: &'a Message) -> Option<Cow<'a, str>> {
        let id = message.message_id()?;
        let key = given_key(message).filter(|_| self.rules.partitioned);
        Some(key.map_or(Cow::Borrowed(id), |key| Cow::Owned(format!("{key}\0{id}"))))
    }

    /// Refuses a message that two partitions could be meant for.
    pub(super) fn check_partition(&self, message: &Message) -> Result<(), BrokerError> {
        let (session, key) = (message.session_id(), given_key(message));
        match (session, key) {
            (Some(session), Some(key)) if self.rules.partitioned && **session != *key => {
                Err(BrokerError::NotAllowed(format!(
                    "The PartitionKey '{key}' of a message is not its SessionId '{session}'; '{}' has partitions, so they \
                     must be the same.",
                    self.rules.path
                )))
            }
            _ => Ok(()),
        }
    }

    /// Takes the number of the message that is to be received next, from the next partition that has one.
    pub(super) fn pop_ready(&mut self) -> Option<i64> {
        if !self.rules.partitioned {
            return self.ready.pop_first();
        }
        let from = first_of(self.turn);
        let next = self.ready.range(from..).next().or_else(|| self.ready.first());
        let next = *next?;
        self.ready.remove(&next);
        self.turn = (partition_of(next) + 1) % PARTITIONS;
        Some(next)
    }
}

fn given_key(message: &Message) -> Option<&str> {
    message.annotation("x-opt-partition-key").ok()?.and_then(text)
}

fn first_of(partition: u64) -> i64 {
    (partition as i64) << BITS
}

fn partition_of(sequence: i64) -> u64 {
    sequence.unsigned_abs() >> BITS
}
