//! Handing messages out, and what becomes of them.

use uuid::Uuid;

use super::{Engine, HolderId, State, Timer};
use crate::servicebus::{
    BrokerError,
    clock::Timestamp,
    limits,
    message::{Message, PropertyChanges, Stamp},
};

/// Names one lock on one message. A message that is delivered again gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LockToken(Uuid);

impl LockToken {
    fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// As a delivery tag: the bytes of a .NET GUID, whose first three groups are little-endian.
    pub(crate) fn to_tag(self) -> [u8; 16] {
        self.0.to_bytes_le()
    }

    /// The inverse of [`to_tag`](Self::to_tag).
    pub(crate) fn from_tag(tag: [u8; 16]) -> Self {
        Self(Uuid::from_bytes_le(tag))
    }

    /// As an AMQP `uuid`, the form `$management` requests use.
    pub(crate) fn to_uuid(self) -> Uuid {
        self.0
    }

    /// The inverse of [`to_uuid`](Self::to_uuid).
    pub(crate) fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// Whether a receiver settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveMode {
    /// The message stays, locked, until it is settled.
    PeekLock,
    /// The message is gone with its delivery.
    ReceiveAndDelete,
}

/// A message handed out.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Settles it. Of no use after receive-and-delete.
    pub(crate) token: LockToken,
    /// The message.
    pub(crate) message: Message,
    /// What the broker says about it.
    pub(crate) stamp: Stamp,
}

/// What a receiver decided about a message it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Done with: remove it.
    Complete,
    /// Failed: deliver it again, counted, with these properties set.
    Abandon(PropertyChanges),
    /// Not looked at: deliver it again, not counted (AMQP 1.0 section 3.4.4).
    Release,
    /// Set aside, to be fetched by sequence number.
    Defer(PropertyChanges),
    /// Move it to the dead-letter queue.
    DeadLetter {
        /// Becomes `DeadLetterReason`.
        reason: Option<String>,
        /// Becomes `DeadLetterErrorDescription`.
        description: Option<String>,
        /// Further properties to set.
        properties: PropertyChanges,
    },
}

impl Engine {
    /// Takes up to `max` messages, oldest first; none if there are none now.
    pub(in super::super) fn receive(&mut self, max: usize, mode: ReceiveMode, now: Timestamp) -> Vec<Received> {
        self.advance(now);
        let mut received = Vec::new();
        while received.len() < max {
            let Some(sequence) = self.pop_ready() else {
                break;
            };
            received.extend(self.hand_out(sequence, mode, now));
        }
        received
    }

    /// As [`receive`](Self::receive), from a session the caller holds.
    pub(in super::super) fn receive_from_session(
        &mut self,
        session: &str,
        holder: HolderId,
        max: usize,
        mode: ReceiveMode,
        now: Timestamp,
    ) -> Result<Vec<Received>, BrokerError> {
        self.advance(now);
        let mut received = Vec::new();
        while received.len() < max {
            let Some(sequence) = self.sessions.held_by(session, holder)?.pop_ready() else {
                break;
            };
            received.extend(self.hand_out(sequence, mode, now));
        }
        Ok(received)
    }

    /// Whether a message's lock holds.
    pub(in super::super) fn check_locked(&mut self, token: LockToken, now: Timestamp) -> Result<(), BrokerError> {
        self.advance(now);
        if self.locks.contains_key(&token) {
            Ok(())
        } else {
            Err(BrokerError::MessageLockLost)
        }
    }

    /// Whether a message can be settled like this now.
    pub(in super::super) fn check_settlement(
        &mut self,
        token: LockToken,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        self.check_locked(token, now)?;
        if self.rules.is_dead_letter_queue && matches!(settlement, Settlement::DeadLetter { .. }) {
            return Err(BrokerError::NotAllowed(
                "A message in a dead-letter queue cannot be dead-lettered.".into(),
            ));
        }
        // The sender's properties may be in no form that can be changed. That must come out before anything
        // that is settled together with it.
        let entry = self.locks.get(&token).and_then(|sequence| self.entries.get(sequence));
        if let (Some(changes), Some(entry)) = (changes(settlement), entry)
            && !changes.is_empty()
        {
            entry.message.clone().change_properties(changes)?;
        }
        Ok(())
    }

    /// Settles a message under its lock.
    pub(in super::super) fn settle(
        &mut self,
        token: LockToken,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        self.check_settlement(token, settlement, now)?;
        let sequence = *self.locks.get(&token).ok_or(BrokerError::MessageLockLost)?;
        if let (Some(changes), Some(entry)) = (changes(settlement), self.entries.get_mut(&sequence))
            && !changes.is_empty()
        {
            entry.message.change_properties(changes)?;
            self.changes.message(sequence);
            let goes_on = !matches!(settlement, Settlement::DeadLetter { .. }) && !self.rules.is_dead_letter_queue;
            if goes_on && limits::has_too_large_header(&entry.message) {
                self.dead_letter(
                    sequence,
                    Some(limits::HEADER_SIZE_EXCEEDED.0),
                    Some(limits::HEADER_SIZE_EXCEEDED.1),
                );
                return Ok(());
            }
        }
        match settlement {
            Settlement::Complete => {
                self.remove(sequence);
            }
            Settlement::Abandon(_) => self.put_back(sequence, true, now),
            Settlement::Release => self.put_back(sequence, false, now),
            Settlement::Defer(_) => {
                let was_deferred = self.unlock(sequence);
                self.deferred += usize::from(!was_deferred);
                self.changes.place(sequence);
                if let Some(entry) = self.entries.get_mut(&sequence) {
                    entry.state = State::Deferred;
                }
            }
            Settlement::DeadLetter {
                reason, description, ..
            } => {
                self.dead_letter(sequence, reason.as_deref(), description.as_deref());
            }
        }
        Ok(())
    }

    /// Whether the message could come once more without being dead-lettered for it: an injected
    /// fault must not look like a consumer's failure.
    pub(in super::super) fn can_repeat(&mut self, token: LockToken, now: Timestamp) -> bool {
        self.advance(now);
        let entry = self.locks.get(&token).and_then(|seq| self.entries.get(seq));
        let max = self.rules.max_delivery_count.unwrap_or(u32::MAX);
        entry.is_some_and(|entry| entry.delivery_count + 1 < max)
    }

    /// Extends a message's lock by the entity's lock duration, from now.
    pub(in super::super) fn renew_lock(&mut self, token: LockToken, now: Timestamp) -> Result<Timestamp, BrokerError> {
        self.advance(now);
        let sequence = *self.locks.get(&token).ok_or(BrokerError::MessageLockLost)?;
        let entry = self.entries.get_mut(&sequence).ok_or(BrokerError::MessageLockLost)?;
        if entry.session.is_some() {
            return Err(BrokerError::NotAllowed(
                "A message of a session is locked by its session; renew the session's lock.".into(),
            ));
        }
        if let State::Locked { until, .. } = &mut entry.state {
            self.timers.remove(&(*until, Timer::Lock(sequence)));
            *until = now + self.rules.lock_duration;
            self.timers.insert((*until, Timer::Lock(sequence)));
            return Ok(*until);
        }
        Err(BrokerError::MessageLockLost)
    }

    /// Hands out a message that is ready (and already out of the ready set) or deferred.
    pub(super) fn hand_out(&mut self, sequence: i64, mode: ReceiveMode, now: Timestamp) -> Option<Received> {
        let token = LockToken::random();
        if mode == ReceiveMode::ReceiveAndDelete {
            let entry = self.remove(sequence)?;
            return Some(Received {
                token,
                stamp: entry.stamp(sequence),
                message: entry.message,
            });
        }
        let entry = self.entries.get_mut(&sequence)?;
        let until = if let Some(session) = &entry.session {
            // A session's messages are locked for as long as the session is.
            self.sessions.lock_message(session, sequence)?
        } else {
            let until = now + self.rules.lock_duration;
            self.timers.insert((until, Timer::Lock(sequence)));
            until
        };
        entry.state = State::Locked {
            token,
            until,
            deferred: entry.state == State::Deferred,
        };
        self.locks.insert(token, sequence);
        Some(Received {
            token,
            stamp: entry.stamp(sequence),
            message: entry.message.clone(),
        })
    }

    /// Ends a message's lock and makes it available again, or what its history demands instead.
    pub(super) fn put_back(&mut self, sequence: i64, failed: bool, now: Timestamp) {
        let was_deferred = self.unlock(sequence);
        let Some(entry) = self.entries.get_mut(&sequence) else {
            return;
        };
        entry.delivery_count += u32::from(failed);
        if failed {
            self.changes.place(sequence);
        }
        let (count, expires_at) = (entry.delivery_count, entry.expires_at);
        if was_deferred {
            entry.state = State::Deferred;
        } else {
            entry.state = State::Ready;
        }
        match self.rules.max_delivery_count {
            Some(max) if failed && count >= max => self.dead_letter(
                sequence,
                Some("MaxDeliveryCountExceeded"),
                Some(&format!("Message could not be consumed after {max} delivery attempts.")),
            ),
            // It outlived its time under the lock, where it could not expire.
            _ if !was_deferred && expires_at.is_some_and(|at| at <= now) => self.expire(sequence),
            _ if was_deferred => {}
            _ => self.make_ready(sequence),
        }
    }

    /// Removes the lock. The caller gives the message its next state. Returns whether it was
    /// deferred before it was locked.
    fn unlock(&mut self, sequence: i64) -> bool {
        let Some(entry) = self.entries.get(&sequence) else {
            return false;
        };
        let State::Locked { token, until, deferred } = entry.state else {
            return false;
        };
        self.locks.remove(&token);
        match &entry.session {
            Some(session) => self.sessions.unlock_message(session, sequence),
            None => {
                self.timers.remove(&(until, Timer::Lock(sequence)));
            }
        }
        deferred
    }
}

/// What a settlement changes of the message's properties.
fn changes(settlement: &Settlement) -> Option<&PropertyChanges> {
    match settlement {
        Settlement::Abandon(changes)
        | Settlement::Defer(changes)
        | Settlement::DeadLetter {
            properties: changes, ..
        } => Some(changes),
        Settlement::Complete | Settlement::Release => None,
    }
}
