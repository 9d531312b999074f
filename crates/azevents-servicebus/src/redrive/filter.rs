//! Which dead letters are meant.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::message::ReceivedMessage;

/// Chooses dead letters. Empty, it chooses all; every condition narrows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// The dead-letter reason, exactly.
    pub reason: Option<String>,
    /// The subject, exactly; of our own messages the event's type.
    pub subject: Option<String>,
    /// The session, exactly; of our own messages the stream.
    pub session_id: Option<String>,
    /// Sent to the entity at this time or later. (The broker does not say when a message was dead-lettered.)
    pub since: Option<OffsetDateTime>,
    /// Sent to the entity before this time.
    pub before: Option<OffsetDateTime>,
    /// Application properties, compared as text.
    pub properties: BTreeMap<String, String>,
    /// Only the one with this number.
    pub sequence_number: Option<i64>,
}

impl DeadLetterFilter {
    /// Only those with this reason.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Only those with this subject.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Only those of this session.
    #[must_use]
    pub fn with_session_id(mut self, session: impl Into<String>) -> Self {
        self.session_id = Some(session.into());
        self
    }

    /// Only those sent at this time or later.
    #[must_use]
    pub fn with_since(mut self, since: OffsetDateTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Only those sent before this time.
    #[must_use]
    pub fn with_before(mut self, before: OffsetDateTime) -> Self {
        self.before = Some(before);
        self
    }

    /// Only those with this application property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// Only the one with this number.
    #[must_use]
    pub fn with_sequence_number(mut self, number: i64) -> Self {
        self.sequence_number = Some(number);
        self
    }

    /// Whether a dead letter is meant.
    pub fn passes(&self, message: &ReceivedMessage) -> bool {
        let same = |wanted: &Option<String>, value: Option<&str>| wanted.is_none() || wanted.as_deref() == value;
        let at = message.enqueued_time();
        same(&self.reason, message.dead_letter_reason())
            && same(&self.subject, message.subject())
            && same(&self.session_id, message.session_id())
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.before.is_none_or(|before| at.is_some_and(|at| at < before))
            && self
                .sequence_number
                .is_none_or(|number| number == message.sequence_number())
            && self.properties.iter().all(|(name, wanted)| {
                let value = message.properties().get(name);
                value.and_then(crate::PropertyValue::to_text).as_ref() == Some(wanted)
            })
    }
}
