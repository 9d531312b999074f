//! Messages coming in: at once, for later, and as dead letters of another engine.

use std::{sync::Arc, time::Duration};

use super::{DeadLetter, DuplicateHistory, Engine, Entry, State, Timer};
use crate::servicebus::{
    BrokerError,
    clock::Timestamp,
    limits,
    message::{Arrival, Message},
};

impl Engine {
    /// Whether the entity would take the message. Checked for a whole batch before any of it is
    /// enqueued.
    pub(in super::super) fn admit(&self, message: &Message) -> Result<(), BrokerError> {
        limits::check_message(message)?;
        self.check_partition(message)?;
        if let Some(max) = self.rules.max_size
            && self.size() + message.size() > max
        {
            return Err(BrokerError::QuotaExceeded(format!(
                "The maximum entity size has been reached or exceeded for '{}'. Size of entity in bytes: {}, max \
                 entity size in bytes: {max}.",
                self.rules.path,
                self.size()
            )));
        }
        if self.rules.requires_session && message.session_id().is_none() && !self.rules.dead_letter_null_session {
            return Err(BrokerError::NotAllowed(format!(
                "The SessionId was not set on a message, and it cannot be sent to the entity. \
                 '{}' requires sessions.",
                self.rules.path
            )));
        }
        Ok(())
    }

    /// Stores a message that was [admitted](Self::admit), now or for the time it is scheduled for.
    /// Returns its sequence number; a duplicate gets one too, and is not stored.
    pub(in super::super) fn enqueue(&mut self, message: Message, now: Timestamp) -> i64 {
        self.advance(now);
        let sequence = self.next_sequence(&message);
        let id = self.duplicate_id(&message);
        let is_new = self
            .duplicates
            .as_mut()
            .is_none_or(|history| history.is_new(id.as_deref(), now));
        if is_new {
            if let Some((id, until)) = self.duplicates.as_ref().and_then(DuplicateHistory::latest) {
                self.changes.seen(id, until);
            }
            match message.scheduled_at().filter(|at| *at > now) {
                Some(at) => self.insert_scheduled(sequence, message, at, now),
                None => self.insert_active(sequence, message, now),
            }
        }
        sequence
    }

    /// Takes back a scheduled message before its time.
    pub(in super::super) fn cancel_scheduled(&mut self, sequences: &[i64], now: Timestamp) -> Result<(), BrokerError> {
        self.advance(now);
        let is_scheduled = |sequence: &i64| {
            self.entries
                .get(sequence)
                .is_some_and(|entry| matches!(entry.state, State::Scheduled(_)))
        };
        if let Some(missing) = sequences.iter().find(|sequence| !is_scheduled(sequence)) {
            return Err(BrokerError::MessageNotFound(*missing));
        }
        for sequence in sequences {
            self.remove(*sequence);
        }
        Ok(())
    }

    /// Takes over what another engine dead-lettered.
    pub(in super::super) fn take_over(&mut self, letter: DeadLetter) {
        self.last_sequence = self.last_sequence.max(letter.sequence);
        self.changes.new_message(letter.sequence);
        let size = letter.message.size();
        self.size += size;
        self.entries.insert(
            letter.sequence,
            Entry {
                size,
                message: letter.message,
                state: State::Ready,
                delivery_count: letter.delivery_count,
                enqueued_at: letter.enqueued_at,
                expires_at: None,
                session: None,
            },
        );
        self.make_ready(letter.sequence);
    }

    /// Takes out everything that is active: what a topic passes on. A topic's time to live goes
    /// with the messages.
    pub(in super::super) fn take_active(&mut self) -> Vec<Arrival> {
        let mut active = Vec::new();
        while let Some(sequence) = self.ready.pop_first() {
            if let Some(mut entry) = self.remove(sequence) {
                let ttl = self.time_to_live(&entry.message);
                entry.message.set_ttl(ttl);
                active.push(Arrival {
                    message: entry.message,
                    sequence_number: sequence,
                    enqueued_at: entry.enqueued_at,
                });
            }
        }
        active
    }

    /// Whether messages wait to be passed on.
    pub(in super::super) fn has_forwards(&self) -> bool {
        self.rules.forwarding.to.is_some() && !self.ready.is_empty()
    }

    /// Takes up to `max` messages that are to be passed on, and where to.
    pub(in super::super) fn take_forwards(&mut self, max: usize) -> Option<(String, Vec<DeadLetter>)> {
        let to = self.rules.forwarding.to.clone()?;
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(sequence) = self.pop_ready()
        {
            if let Some(mut entry) = self.remove(sequence) {
                entry.message.set_ttl(self.time_to_live(&entry.message));
                entry.message.forwarded(sequence);
                entry.message.release_charge();
                taken.push(DeadLetter::new(sequence, entry));
            }
        }
        (!taken.is_empty()).then_some((to, taken))
    }

    /// A scheduled message's time has come. It joins the end of the queue under a new number, as
    /// if it had been sent now ("Message sequencing and timestamps" in the service's documentation).
    pub(super) fn activate(&mut self, sequence: i64, at: Timestamp) {
        if let Some(entry) = self.remove(sequence) {
            let sequence = self.next_sequence_beside(sequence);
            self.insert_active(sequence, entry.message, at);
        }
    }

    fn insert_active(&mut self, sequence: i64, message: Message, now: Timestamp) {
        let expires_at = self.time_to_live(&message).map(|ttl| now + ttl);
        let lacks_session = self.rules.requires_session && message.session_id().is_none();
        self.insert(sequence, message, State::Ready, now, expires_at);
        if lacks_session {
            self.dead_letter(
                sequence,
                Some("Session ID is null"),
                Some("Session enabled entity doesn't allow a message whose session identifier is null."),
            );
            return;
        }
        if let Some(expires_at) = expires_at {
            self.timers.insert((expires_at, Timer::Expiry(sequence)));
        }
        self.make_ready(sequence);
    }

    /// Keeps a message for the dead-letter queue only.
    pub(in super::super) fn enqueue_dead(&mut self, message: Message, reason: &str, description: &str, now: Timestamp) {
        self.advance(now);
        let sequence = self.next_sequence(&message);
        self.insert(sequence, message, State::Ready, now, None);
        self.dead_letter(sequence, Some(reason), Some(description));
    }

    fn time_to_live(&self, message: &Message) -> Option<Duration> {
        match (message.ttl(), self.rules.default_ttl) {
            // The entity's default is also the ceiling.
            (Some(asked), Some(ceiling)) => Some(asked.min(ceiling)),
            (asked, default) => asked.or(default),
        }
    }

    fn insert_scheduled(&mut self, sequence: i64, message: Message, at: Timestamp, now: Timestamp) {
        self.insert(sequence, message, State::Scheduled(at), now, None);
        self.scheduled += 1;
        self.timers.insert((at, Timer::Schedule(sequence)));
    }

    pub(super) fn insert(
        &mut self,
        sequence: i64,
        message: Message,
        state: State,
        enqueued_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) {
        self.changes.new_message(sequence);
        let session = message
            .session_id()
            .filter(|_| self.rules.requires_session)
            .map(Arc::clone);
        if let Some(session) = &session {
            self.sessions.add_message(session, sequence);
        }
        let size = message.size();
        self.size += size;
        self.entries.insert(
            sequence,
            Entry {
                size,
                message,
                state,
                delivery_count: 0,
                enqueued_at,
                expires_at,
                session,
            },
        );
    }
}
