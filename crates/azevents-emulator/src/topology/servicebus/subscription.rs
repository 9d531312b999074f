//! Subscriptions.

use std::time::Duration;

use super::{
    DEFAULT_LOCK_DURATION, DEFAULT_MAX_DELIVERY_COUNT, EntityStatus, Filter, Rule,
    setters::{common_setters, delivery_setters},
};

/// A subscription: a queue that a topic fills.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// Its name below the topic; the address is `topic/Subscriptions/name`.
    pub name: String,
    /// How long a delivered message is invisible to others. 60 s by default.
    pub lock_duration: Duration,
    /// Deliveries after which a message moves to the dead-letter queue. 10 by default.
    pub max_delivery_count: u32,
    /// Whether messages are received by session.
    pub requires_session: bool,
    /// Time to live of messages that ask for none or for more; `None`: they don't expire.
    pub default_time_to_live: Option<Duration>,
    /// Whether an expired message moves to the dead-letter queue instead of vanishing.
    pub dead_letter_on_expiration: bool,
    /// The queue or topic that its messages go on to.
    pub forward_to: Option<String>,
    /// The queue or topic that its dead letters go on to.
    pub forward_dead_letters_to: Option<String>,
    /// What clients may do. Everything by default.
    pub status: EntityStatus,
    /// It is deleted when nobody has used it for so long, from 5 minutes; `None`: it stays.
    pub auto_delete_on_idle: Option<Duration>,
    /// Whether a message on which a rule fails moves to the dead-letter queue instead of being left out.
    pub dead_letter_on_filter_error: bool,
    /// A message arrives if at least one rule matches. Without rules everything does.
    pub rules: Vec<Rule>,
}

impl Subscription {
    /// A subscription that takes everything, with Azure's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lock_duration: DEFAULT_LOCK_DURATION,
            max_delivery_count: DEFAULT_MAX_DELIVERY_COUNT,
            requires_session: false,
            default_time_to_live: None,
            dead_letter_on_expiration: false,
            forward_to: None,
            forward_dead_letters_to: None,
            status: EntityStatus::Active,
            auto_delete_on_idle: None,
            dead_letter_on_filter_error: false,
            rules: Vec::new(),
        }
    }

    /// Adds a rule; the first one takes the place of "everything arrives".
    #[must_use]
    pub fn with_rule(mut self, name: impl Into<String>, filter: impl Into<Filter>) -> Self {
        self.rules.push(Rule {
            name: name.into(),
            filter: filter.into(),
            action: None,
        });
        self
    }

    /// Adds a rule that changes the copies of the messages it lets in.
    #[must_use]
    pub fn with_rule_and_action(
        mut self,
        name: impl Into<String>,
        filter: impl Into<Filter>,
        action: impl Into<String>,
    ) -> Self {
        self.rules.push(Rule {
            name: name.into(),
            filter: filter.into(),
            action: Some(action.into()),
        });
        self
    }

    /// Moves messages on which a rule fails to the dead-letter queue.
    #[must_use]
    pub fn with_dead_letter_on_filter_error(mut self) -> Self {
        self.dead_letter_on_filter_error = true;
        self
    }

    delivery_setters!();
    common_setters!();
}

impl From<&str> for Subscription {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
