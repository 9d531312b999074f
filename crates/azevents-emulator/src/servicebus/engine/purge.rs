//! Deleting messages that nobody has received.

use super::{Engine, HolderId, State};
use crate::servicebus::{BrokerError, clock::Timestamp};

impl Engine {
    /// Deletes up to `max` active messages, oldest first, that were enqueued before a time and that no receiver
    /// has; those of a session for who holds it. Returns their number.
    pub(in super::super) fn delete_batch(
        &mut self,
        max: usize,
        before: Timestamp,
        session: Option<(&str, HolderId)>,
        now: Timestamp,
    ) -> Result<usize, BrokerError> {
        if self.rules.partitioned {
            return Err(BrokerError::NotAllowed(format!(
                "Batch delete is not supported with partitioned entities, and '{}' has partitions.",
                self.rules.path
            )));
        }
        self.advance(now);
        let candidates: Vec<i64> = match session {
            Some((id, holder)) => {
                self.sessions.held_by(id, holder)?;
                self.sessions.members(id).into_iter().flatten().copied().collect()
            }
            None if self.rules.requires_session => {
                return Err(BrokerError::NotAllowed(format!(
                    "'{}' requires sessions: name the one to delete messages of.",
                    self.rules.path
                )));
            }
            None => self.ready.iter().copied().collect(),
        };
        let is_meant = |sequence: &i64| {
            let entry = self.entries.get(sequence);
            entry.is_some_and(|entry| entry.state == State::Ready && entry.enqueued_at < before)
        };
        let meant: Vec<i64> = candidates.into_iter().filter(is_meant).take(max).collect();
        for sequence in &meant {
            self.remove(*sequence);
        }
        Ok(meant.len())
    }
}
