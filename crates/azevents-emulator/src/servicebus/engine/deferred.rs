//! Deferred messages: set aside by a receiver, fetched again by sequence number.

use std::collections::BTreeSet;

use super::{Engine, HolderId, ReceiveMode, Received, State};
use crate::servicebus::{BrokerError, clock::Timestamp};

impl Engine {
    /// Takes the deferred messages with these numbers, all or none. Where the entity has sessions,
    /// they must belong to the one the caller holds.
    pub(in super::super) fn receive_deferred(
        &mut self,
        sequences: &[i64],
        session: Option<(&str, HolderId)>,
        mode: ReceiveMode,
        now: Timestamp,
    ) -> Result<Vec<Received>, BrokerError> {
        self.advance(now);
        if let Some((id, holder)) = session {
            self.sessions.held_by(id, holder)?;
        }
        // A number given twice would lock a message twice.
        let sequences: BTreeSet<i64> = sequences.iter().copied().collect();
        for sequence in &sequences {
            let found = self.entries.get(sequence).is_some_and(|entry| {
                entry.state == State::Deferred && entry.session.as_deref() == session.map(|(id, _)| id)
            });
            if !found {
                return Err(BrokerError::MessageNotFound(*sequence));
            }
        }
        Ok(sequences
            .iter()
            .filter_map(|sequence| self.hand_out(*sequence, mode, now))
            .collect())
    }
}
