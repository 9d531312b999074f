//! What of an engine has to outlive the process, and what of that has changed.
//!
//! Locks, and who holds which session, are not part of it: they end with the connections, so after
//! a restart a locked message is where it was before it was locked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{DuplicateHistory, Engine, Entry, State, Timer};
use crate::servicebus::{clock::Timestamp, message::Message};

/// A message and its place.
#[derive(Clone, Debug)]
pub(in super::super) struct KeptEntry {
    /// `None` in a change that leaves it as it is.
    pub(in super::super) message: Option<Message>,
    pub(in super::super) place: Place,
    pub(in super::super) delivery_count: u32,
    pub(in super::super) enqueued_at: Timestamp,
    pub(in super::super) expires_at: Option<Timestamp>,
}

/// A [`State`] without locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Place {
    Active,
    Deferred,
    /// Unix time in milliseconds.
    Scheduled(i64),
}

/// All that is kept of an engine, or what has changed of it: every item is absolute, so that taking
/// a change in twice is as good as once.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Contents {
    /// The highest number given so far.
    pub(in super::super) last_sequence: i64,
    pub(in super::super) entries: BTreeMap<i64, KeptEntry>,
    /// In a change: numbers of messages that have left.
    pub(in super::super) gone: Vec<i64>,
    /// The application's state by session; `None` in a change that clears it.
    pub(in super::super) sessions: BTreeMap<Arc<str>, Option<Bytes>>,
    /// MessageIds that would be duplicates, and until when.
    pub(in super::super) seen: BTreeMap<Arc<str>, Timestamp>,
}

impl Contents {
    /// Takes a change in.
    pub(in super::super) fn apply(&mut self, change: Self) {
        self.last_sequence = self.last_sequence.max(change.last_sequence);
        for (sequence, entry) in change.entries {
            if entry.message.is_some() {
                self.entries.insert(sequence, entry);
            } else if let Some(known) = self.entries.get_mut(&sequence) {
                *known = KeptEntry {
                    message: known.message.take(),
                    ..entry
                };
            }
        }
        for sequence in change.gone {
            self.entries.remove(&sequence);
        }
        for (session, state) in change.sessions {
            match state {
                Some(_) => self.sessions.insert(session, state),
                None => self.sessions.remove(&session),
            };
        }
        // Later ones last longer.
        self.seen.extend(change.seen);
    }
}

/// Notes what has changed since the last time it was asked; nothing unless it is switched on.
#[derive(Debug, Default)]
pub(super) struct Changes {
    on: bool,
    messages: BTreeMap<i64, Touch>,
    sessions: BTreeSet<Arc<str>>,
    seen: Vec<(Arc<str>, Timestamp)>,
    /// The last number that was told.
    told: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    New,
    /// The message itself is another.
    Whole,
    /// Its place or its count is another.
    Place,
    Gone,
}

impl Changes {
    pub(super) fn new_message(&mut self, sequence: i64) {
        self.touch(sequence, Touch::New);
    }

    pub(super) fn message(&mut self, sequence: i64) {
        self.touch(sequence, Touch::Whole);
    }

    pub(super) fn place(&mut self, sequence: i64) {
        self.touch(sequence, Touch::Place);
    }

    pub(super) fn gone(&mut self, sequence: i64) {
        // Nobody has to hear of what came and went in between.
        if self.messages.get(&sequence) == Some(&Touch::New) {
            self.messages.remove(&sequence);
        } else {
            self.touch(sequence, Touch::Gone);
        }
    }

    pub(super) fn session(&mut self, id: &str) {
        if self.on {
            self.sessions.insert(Arc::from(id));
        }
    }

    pub(super) fn seen(&mut self, id: &Arc<str>, until: Timestamp) {
        if self.on {
            self.seen.push((Arc::clone(id), until));
        }
    }

    fn touch(&mut self, sequence: i64, touch: Touch) {
        if !self.on {
            return;
        }
        let known = self.messages.entry(sequence).or_insert(touch);
        *known = match (*known, touch) {
            (Touch::New, Touch::Whole | Touch::Place) => Touch::New,
            (Touch::Gone, Touch::New) | (Touch::Whole, Touch::Place) => Touch::Whole,
            (_, touch) => touch,
        };
    }
}

impl Engine {
    /// Notes from now on what changes.
    pub(in super::super) fn note_changes(&mut self) {
        self.changes.on = true;
    }

    /// What has changed since the last call, if anything has.
    pub(in super::super) fn take_changes(&mut self) -> Option<Contents> {
        let told = std::mem::replace(&mut self.changes.told, self.last_sequence);
        let Changes {
            on: true,
            messages,
            sessions,
            seen,
            ..
        } = &mut self.changes
        else {
            return None;
        };
        let nothing = messages.is_empty() && sessions.is_empty() && seen.is_empty() && told == self.last_sequence;
        if nothing {
            return None;
        }
        let mut change = Contents {
            last_sequence: self.last_sequence,
            seen: std::mem::take(seen).into_iter().collect(),
            ..Contents::default()
        };
        for (sequence, touch) in std::mem::take(messages) {
            match self.entries.get(&sequence) {
                Some(entry) => {
                    let whole = touch != Touch::Place;
                    change.entries.insert(sequence, entry.kept(whole));
                }
                None => change.gone.push(sequence),
            }
        }
        for id in std::mem::take(sessions) {
            let state = self.sessions.state(&id).cloned();
            change.sessions.insert(id, state);
        }
        Some(change)
    }

    /// All there is.
    pub(in super::super) fn contents(&self) -> Contents {
        let entries = self.entries.iter();
        Contents {
            last_sequence: self.last_sequence,
            entries: entries.map(|(sequence, entry)| (*sequence, entry.kept(true))).collect(),
            gone: Vec::new(),
            sessions: self.sessions.states().map(|(id, state)| (id, Some(state))).collect(),
            seen: self.duplicates.iter().flat_map(DuplicateHistory::all).collect(),
        }
    }

    /// Puts into an empty engine what was kept of another.
    pub(in super::super) fn restore(&mut self, contents: Contents) {
        self.last_sequence = contents.last_sequence;
        self.changes.told = contents.last_sequence;
        for (sequence, entry) in contents.entries {
            self.restore_entry(sequence, entry);
        }
        for (id, state) in contents.sessions {
            self.sessions.restore_state(id, state);
        }
        if let Some(history) = &mut self.duplicates {
            let mut seen: Vec<_> = contents.seen.into_iter().collect();
            seen.sort_by_key(|(_, until)| *until);
            for (id, until) in seen {
                history.remember(id, until);
            }
        }
    }

    fn restore_entry(&mut self, sequence: i64, kept: KeptEntry) {
        let Some(message) = kept.message else { return };
        let state = match kept.place {
            Place::Active => State::Ready,
            Place::Deferred => State::Deferred,
            Place::Scheduled(at) => State::Scheduled(Timestamp::from_millis(at)),
        };
        self.insert(sequence, message, state, kept.enqueued_at, kept.expires_at);
        if let Some(entry) = self.entries.get_mut(&sequence) {
            entry.delivery_count = kept.delivery_count;
        }
        if let Some(expires_at) = kept.expires_at {
            self.timers.insert((expires_at, Timer::Expiry(sequence)));
        }
        match state {
            State::Deferred => self.deferred += 1,
            State::Scheduled(at) => {
                self.scheduled += 1;
                self.timers.insert((at, Timer::Schedule(sequence)));
            }
            State::Ready | State::Locked { .. } => self.make_ready(sequence),
        }
        self.changes.messages.clear();
    }
}

impl Entry {
    fn kept(&self, whole: bool) -> KeptEntry {
        KeptEntry {
            message: whole.then(|| self.message.clone()),
            place: match self.state {
                State::Deferred | State::Locked { deferred: true, .. } => Place::Deferred,
                State::Ready | State::Locked { deferred: false, .. } => Place::Active,
                State::Scheduled(at) => Place::Scheduled(at.as_millis()),
            },
            delivery_count: self.delivery_count,
            enqueued_at: self.enqueued_at,
            expires_at: self.expires_at,
        }
    }
}
