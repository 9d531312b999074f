//! What happens by itself, because time has passed.

use std::sync::Arc;

use super::{Engine, State};
use crate::servicebus::clock::Timestamp;

/// What a point in time means. Of two that are due together, scheduled messages of lower number
/// come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A message's lock ends.
    Lock(i64),
    /// A session's lock ends.
    Session(Arc<str>),
    /// A scheduled message becomes active.
    Schedule(i64),
    /// A message's time to live is over.
    Expiry(i64),
}

impl Engine {
    /// When [`advance`](Self::advance) next has something to do.
    pub(in super::super) fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When the last of the scheduled messages becomes active.
    pub(in super::super) fn last_scheduled(&self) -> Option<Timestamp> {
        let mut latest_first = self.timers.iter().rev();
        let scheduled = latest_first.find(|(_, timer)| matches!(timer, Timer::Schedule(_)))?;
        Some(scheduled.0)
    }

    /// Lets everything happen that is due by `now`, in the order in which it is due.
    pub(in super::super) fn advance(&mut self, now: Timestamp) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((at, timer)) = self.timers.pop_first() else {
                return;
            };
            match timer {
                Timer::Lock(sequence) => self.put_back(sequence, true, at),
                Timer::Session(id) => self.expire_session_lock(&id, at),
                Timer::Schedule(sequence) => self.activate(sequence, at),
                Timer::Expiry(sequence) => {
                    // A locked message doesn't expire before its lock ends, a deferred one stays
                    // until it is asked for.
                    let entry = self.entries.get(&sequence);
                    if entry.is_some_and(|entry| entry.state == State::Ready) {
                        self.expire(sequence);
                    }
                }
            }
        }
    }

    /// A message's time to live is over.
    pub(super) fn expire(&mut self, sequence: i64) {
        if self.rules.dead_letter_on_expiration {
            self.dead_letter(
                sequence,
                Some("TTLExpiredException"),
                Some("The message expired and was dead lettered."),
            );
        } else {
            self.remove(sequence);
        }
    }
}
