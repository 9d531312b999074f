//! Sessions: one receiver at a time, messages in the order they came, state beside them.
//!
//! Inside a session the lock is the session's: its messages are locked while it is held, and all
//! go back to their places at once when it is released or its lock expires. That is what keeps a
//! later message from overtaking an earlier one on its way to the next holder.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Engine, Timer};
use crate::servicebus::{BrokerError, clock::Timestamp};

/// Names one acceptance of one session. Whoever accepts it next gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HolderId(u64);

/// A session that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedSession {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Proves who holds it.
    pub(crate) holder: HolderId,
    /// When the lock ends unless it is renewed.
    pub(crate) locked_until: Timestamp,
    /// Woken when there is a message for the holder, and when the lock is lost.
    pub(crate) changed: Arc<Notify>,
}

/// The sessions of an entity that have messages, a holder or state.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<Arc<str>, Session>,
    /// Sessions with messages ready and no holder, the one that has waited longest first: a session
    /// that was just released queues up behind the others.
    available: BTreeMap<u64, Arc<str>>,
    last_ticket: u64,
    last_holder: u64,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    /// Every message of the session, whatever its state.
    members: BTreeSet<i64>,
    ready: BTreeSet<i64>,
    /// Delivered to the holder and not settled.
    locked: BTreeSet<i64>,
    holder: Option<Holder>,
    /// Key in [`Sessions::available`].
    ticket: Option<u64>,
    state: Option<Bytes>,
}

#[derive(Debug)]
struct Holder {
    id: HolderId,
    until: Timestamp,
    changed: Arc<Notify>,
}

impl Session {
    /// Takes the earliest message that is ready.
    pub(super) fn pop_ready(&mut self) -> Option<i64> {
        self.ready.pop_first()
    }
}

impl Sessions {
    /// The session, if this holder's lock on it is still in force.
    pub(super) fn held_by(&mut self, session: &str, holder: HolderId) -> Result<&mut Session, BrokerError> {
        self.by_id
            .get_mut(session)
            .filter(|session| session.holder.as_ref().is_some_and(|held| held.id == holder))
            .ok_or(BrokerError::SessionLockLost)
    }

    pub(super) fn add_message(&mut self, session: &Arc<str>, sequence: i64) {
        let session = self.by_id.entry(Arc::clone(session)).or_default();
        session.members.insert(sequence);
    }

    /// The message is ready: tells the holder, or makes the session available.
    pub(super) fn put_ready(&mut self, id: &Arc<str>, sequence: i64, arrivals: &Notify) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.ready.insert(sequence);
            match &session.holder {
                Some(holder) => holder.changed.notify_one(),
                None => self.offer(id, arrivals),
            }
        }
    }

    /// The message is delivered. Returns when the session's lock, and so the message's, ends.
    pub(super) fn lock_message(&mut self, id: &str, sequence: i64) -> Option<Timestamp> {
        let session = self.by_id.get_mut(id)?;
        let until = session.holder.as_ref()?.until;
        session.locked.insert(sequence);
        Some(until)
    }

    pub(super) fn unlock_message(&mut self, id: &str, sequence: i64) {
        if let Some(session) = self.by_id.get_mut(id) {
            session.locked.remove(&sequence);
        }
    }

    /// The message has left the entity.
    pub(super) fn forget_message(&mut self, id: &str, sequence: i64) {
        let Some(session) = self.by_id.get_mut(id) else {
            return;
        };
        session.members.remove(&sequence);
        session.ready.remove(&sequence);
        session.locked.remove(&sequence);
        if session.ready.is_empty()
            && let Some(ticket) = session.ticket.take()
        {
            self.available.remove(&ticket);
        }
        self.drop_if_empty(id);
    }

    /// Ids of the messages in a session, oldest first.
    pub(super) fn members(&self, id: &str) -> Option<&BTreeSet<i64>> {
        self.by_id.get(id).map(|session| &session.members)
    }

    /// The application's state of a session, if it has any.
    pub(super) fn state(&self, id: &str) -> Option<&Bytes> {
        self.by_id.get(id)?.state.as_ref()
    }

    /// The application's state of every session that has one.
    pub(super) fn states(&self) -> impl Iterator<Item = (Arc<str>, Bytes)> + '_ {
        let state = |(id, session): (&Arc<str>, &Session)| Some((Arc::clone(id), session.state.clone()?));
        self.by_id.iter().filter_map(state)
    }

    /// Gives a session the state it had.
    pub(super) fn restore_state(&mut self, id: Arc<str>, state: Option<Bytes>) {
        self.by_id.entry(id).or_default().state = state;
    }

    /// Puts a session that nobody holds on offer, if there is something to read in it.
    fn offer(&mut self, id: &Arc<str>, arrivals: &Notify) {
        let Some(session) = self.by_id.get_mut(id) else {
            return;
        };
        if session.ready.is_empty() || session.holder.is_some() || session.ticket.is_some() {
            return;
        }
        self.last_ticket += 1;
        session.ticket = Some(self.last_ticket);
        self.available.insert(self.last_ticket, Arc::clone(id));
        arrivals.notify_one();
    }

    fn drop_if_empty(&mut self, id: &str) {
        let empty = self
            .by_id
            .get(id)
            .is_some_and(|session| session.members.is_empty() && session.holder.is_none() && session.state.is_none());
        if empty {
            self.by_id.remove(id);
        }
    }
}

impl Engine {
    /// Locks the session with this id, which need not have messages, or with `None` one that has;
    /// `Ok(None)` if there is none now.
    pub(in super::super) fn accept_session(
        &mut self,
        id: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<AcceptedSession>, BrokerError> {
        self.advance(now);
        if !self.rules.requires_session {
            return Err(BrokerError::NotAllowed(format!(
                "'{}' does not require sessions; a session cannot be accepted on it.",
                self.rules.path
            )));
        }
        let sessions = &mut self.sessions;
        let id: Arc<str> = match id {
            Some(id) => Arc::from(id),
            None => match sessions.available.first_key_value() {
                Some((_, id)) => Arc::clone(id),
                None => return Ok(None),
            },
        };
        let session = sessions.by_id.entry(Arc::clone(&id)).or_default();
        if session.holder.is_some() {
            return Err(BrokerError::SessionCannotBeLocked(id.to_string()));
        }
        if let Some(ticket) = session.ticket.take() {
            sessions.available.remove(&ticket);
        }
        sessions.last_holder += 1;
        let accepted = AcceptedSession {
            id: Arc::clone(&id),
            holder: HolderId(sessions.last_holder),
            locked_until: now + self.rules.lock_duration,
            changed: Arc::new(Notify::new()),
        };
        session.holder = Some(Holder {
            id: accepted.holder,
            until: accepted.locked_until,
            changed: Arc::clone(&accepted.changed),
        });
        self.timers.insert((accepted.locked_until, Timer::Session(id)));
        Ok(Some(accepted))
    }

    /// Extends the session's lock, and with it those of its messages, by the entity's lock
    /// duration from now.
    pub(in super::super) fn renew_session(
        &mut self,
        id: &str,
        holder: HolderId,
        now: Timestamp,
    ) -> Result<Timestamp, BrokerError> {
        self.advance(now);
        let until = now + self.rules.lock_duration;
        let session = self.sessions.held_by(id, holder)?;
        if let Some(held) = &mut session.holder {
            let timer = Timer::Session(Arc::from(id));
            let old = (held.until, timer.clone());
            held.until = until;
            self.timers.remove(&old);
            self.timers.insert((until, timer));
        }
        Ok(until)
    }

    /// Gives the session back. Messages the holder did not settle return to their places; those
    /// deliveries are not counted ("Message sessions, impact of delivery count" in the service's
    /// documentation). Does nothing if the holder lost its lock before.
    pub(in super::super) fn release_session(&mut self, id: &str, holder: HolderId, now: Timestamp) {
        self.advance(now);
        if self.sessions.held_by(id, holder).is_ok() {
            self.end_session_lock(id, false, now);
        }
    }

    /// The session's lock has run out: its holder is told and the deliveries count as failed.
    pub(super) fn expire_session_lock(&mut self, id: &str, now: Timestamp) {
        self.end_session_lock(id, true, now);
    }

    fn end_session_lock(&mut self, id: &str, failed: bool, now: Timestamp) {
        let Some(session) = self.sessions.by_id.get_mut(id) else {
            return;
        };
        let Some(holder) = session.holder.take() else {
            return;
        };
        self.timers.remove(&(holder.until, Timer::Session(Arc::from(id))));
        for sequence in std::mem::take(&mut session.locked) {
            self.put_back(sequence, failed, now);
        }
        holder.changed.notify_one();
        let id: Arc<str> = Arc::from(id);
        self.sessions.offer(&id, &self.arrivals);
        self.sessions.drop_if_empty(&id);
    }

    /// The application's own state of a session, if it has set one.
    pub(in super::super) fn session_state(
        &mut self,
        id: &str,
        holder: HolderId,
        now: Timestamp,
    ) -> Result<Option<Bytes>, BrokerError> {
        self.advance(now);
        Ok(self.sessions.held_by(id, holder)?.state.clone())
    }

    /// Sets the application's state of a session, or clears it. It outlives the session's messages.
    pub(in super::super) fn set_session_state(
        &mut self,
        id: &str,
        holder: HolderId,
        state: Option<Bytes>,
        now: Timestamp,
    ) -> Result<(), BrokerError> {
        self.advance(now);
        self.sessions.held_by(id, holder)?.state = state;
        self.changes.session(id);
        Ok(())
    }

    /// Whoever holds the session now.
    pub(in super::super) fn session_holder(&mut self, id: &str, now: Timestamp) -> Result<HolderId, BrokerError> {
        self.advance(now);
        let holder = self.sessions.by_id.get(id).and_then(|s| s.holder.as_ref());
        holder.map(|held| held.id).ok_or(BrokerError::SessionLockLost)
    }

    /// Ids of the sessions that have messages or state, in the order of their ids.
    pub(in super::super) fn session_ids(&mut self, skip: usize, top: usize, now: Timestamp) -> Vec<Arc<str>> {
        self.advance(now);
        let in_use = |session: &Session| !session.members.is_empty() || session.state.is_some();
        let sessions = self.sessions.by_id.iter();
        let mut ids: Vec<_> = sessions
            .filter(|(_, session)| in_use(session))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().skip(skip).take(top).collect()
    }
}
