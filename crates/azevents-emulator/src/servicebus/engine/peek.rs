//! Looking at messages without taking them.

use super::{Engine, Entry};
use crate::servicebus::{
    clock::Timestamp,
    message::{Message, Stamp},
};

impl Engine {
    /// Up to `max` messages from sequence number `from` on, in any state, of one session or of all.
    pub(in super::super) fn peek(
        &mut self,
        from: i64,
        max: usize,
        session: Option<&str>,
        now: Timestamp,
    ) -> Vec<(Message, Stamp)> {
        self.advance(now);
        let look = |(sequence, entry): (&i64, &Entry)| {
            let stamp = Stamp {
                // A lock is nobody's business but its holder's.
                locked_until: None,
                ..entry.stamp(*sequence)
            };
            (entry.message.clone(), stamp)
        };
        match session {
            None => self.entries.range(from..).take(max).map(look).collect(),
            Some(id) if self.rules.requires_session => {
                let members = self.sessions.members(id).into_iter();
                members
                    .flat_map(|members| members.range(from..))
                    .filter_map(|sequence| self.entries.get_key_value(sequence))
                    .take(max)
                    .map(look)
                    .collect()
            }
            // A dead-letter queue keeps no index of sessions: it is looked through.
            Some(id) => self
                .entries
                .range(from..)
                .filter(|(_, entry)| entry.message.session_id().is_some_and(|s| &**s == id))
                .take(max)
                .map(look)
                .collect(),
        }
    }
}
