//! Topics.

use std::time::Duration;

use super::{
    AuthorizationRule, EntityStatus, Subscription,
    setters::{common_setters, store_setters},
};

/// A topic: what is sent to it goes to each subscription whose rules match.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Its address.
    pub name: String,
    /// How long message ids are remembered to drop copies; `None`: they are not.
    pub duplicate_detection: Option<Duration>,
    /// Time to live of messages that ask for none or for more; `None`: they don't expire.
    pub default_time_to_live: Option<Duration>,
    /// What clients may do. Everything by default.
    pub status: EntityStatus,
    /// It is deleted when nobody has used it for so long, from 5 minutes; `None`: it stays.
    pub auto_delete_on_idle: Option<Duration>,
    /// Largest message in bytes; `None`: what the emulator takes altogether, and never more.
    pub max_message_size: Option<u64>,
    /// Whether its messages are in partitions, whose order among each other is open.
    pub partitioned: bool,
    /// Who may use it with a key of his own, beside those who may use everything.
    pub authorization_rules: Vec<AuthorizationRule>,
    /// Where messages go.
    pub subscriptions: Vec<Subscription>,
}

impl Topic {
    /// A topic without subscriptions.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            duplicate_detection: None,
            default_time_to_live: None,
            status: EntityStatus::Active,
            auto_delete_on_idle: None,
            max_message_size: None,
            partitioned: false,
            authorization_rules: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    /// Adds a subscription.
    #[must_use]
    pub fn with_subscription(mut self, subscription: impl Into<Subscription>) -> Self {
        self.subscriptions.push(subscription.into());
        self
    }

    store_setters!();
    common_setters!();
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
