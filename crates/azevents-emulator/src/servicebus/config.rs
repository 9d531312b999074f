//! What can be chosen for a queue, a topic and a subscription, with the service's own defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    BrokerError, NamespaceConfig,
    authorization::{self, AuthorizationRule},
    filter::Rule,
    forwarding::Forwarding,
    idle, limits,
    status::EntityStatus,
};

/// What changes nothing about the messages here, and is given back as it was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remarks {
    /// Whatever the user likes, up to 1024 characters.
    pub(crate) user_metadata: Option<String>,
    /// Whether the service's store may write in batches. Default true.
    pub(crate) batched_operations: bool,
    /// Whether the service may keep messages in memory for a while before it stores them. Here they are stored.
    pub(crate) express: bool,
    /// Whether a topic keeps the order. It does here in any case. Default true.
    pub(crate) ordering: bool,
    /// The window of duplicate detection where that is off.
    pub(crate) history_window: Option<Duration>,
}

impl Remarks {
    fn check(&self) -> Result<(), BrokerError> {
        match &self.user_metadata {
            Some(text) if text.chars().count() > limits::MAX_USER_METADATA => Err(BrokerError::OutOfRange(format!(
                "The UserMetadata has {} characters; it may have {}.",
                text.chars().count(),
                limits::MAX_USER_METADATA
            ))),
            _ => Ok(()),
        }
    }
}

impl Default for Remarks {
    fn default() -> Self {
        Self {
            user_metadata: None,
            batched_operations: true,
            express: false,
            ordering: true,
            history_window: None,
        }
    }
}

/// How a queue treats its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QueueConfig {
    /// The path, compared without regard to case. May contain `/`.
    pub(crate) name: String,
    /// How long a received message, or an accepted session, stays locked. Default 60 s.
    pub(crate) lock_duration: Duration,
    /// After how many failed deliveries a message is dead-lettered. Default 10.
    pub(crate) max_delivery_count: u32,
    /// Every message carries a session id and is read through its session.
    pub(crate) requires_session: bool,
    /// Drop a message whose MessageId was already seen within this window.
    pub(crate) duplicate_detection: Option<Duration>,
    /// Default and ceiling of a message's time to live; `None` is for ever.
    pub(crate) default_ttl: Option<Duration>,
    /// Keep expired messages in the dead-letter queue instead of dropping them.
    pub(crate) dead_letter_on_expiration: bool,
    /// Where its messages go on to.
    pub(crate) forwarding: Forwarding,
    /// What its clients may do.
    pub(crate) status: EntityStatus,
    /// The size at which it takes no more messages; `None`: 1 GB, the service's default.
    pub(crate) max_megabytes: Option<u64>,
    /// It is deleted when nobody has used it for so long.
    pub(crate) auto_delete_on_idle: Option<Duration>,
    /// Largest encoded message, in bytes; `None`: the namespace's.
    pub(crate) max_message_size: Option<u64>,
    /// Whether its messages are in partitions, each of the whole size.
    pub(crate) partitioned: bool,
    /// Who may use it beside those who may use the whole namespace.
    pub(crate) authorization: Vec<AuthorizationRule>,
    pub(crate) remarks: Remarks,
}

impl QueueConfig {
    /// Refuses what the service refuses.
    pub(super) fn check(&self, limits: NamespaceConfig) -> Result<(), BrokerError> {
        limits::check_path(&self.name)?;
        limits.check_message_size(self.max_message_size)?;
        authorization::check(&self.authorization)?;
        self.remarks.check()?;
        self.forwarding.check(&self.name, self.requires_session)?;
        idle::check(self.auto_delete_on_idle)
    }
}

#[cfg(test)]
impl QueueConfig {
    /// A queue of this name with the service's defaults.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            lock_duration: Duration::from_secs(60),
            max_delivery_count: 10,
            requires_session: false,
            duplicate_detection: None,
            default_ttl: None,
            dead_letter_on_expiration: false,
            forwarding: Forwarding::default(),
            status: EntityStatus::default(),
            max_megabytes: None,
            auto_delete_on_idle: None,
            max_message_size: None,
            partitioned: false,
            authorization: Vec::new(),
            remarks: Remarks::default(),
        }
    }
}

/// How a topic treats what is sent to it, before its subscriptions get their copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TopicConfig {
    /// The path, compared without regard to case. May contain `/`.
    pub(crate) name: String,
    /// Drop a message whose MessageId was already seen within this window.
    pub(crate) duplicate_detection: Option<Duration>,
    /// Default and ceiling of a message's time to live; `None` is for ever.
    pub(crate) default_ttl: Option<Duration>,
    /// What its clients may do.
    pub(crate) status: EntityStatus,
    /// The size at which it takes no more messages, those in its subscriptions counted once each; `None`: 1 GB, the
    /// service's default.
    pub(crate) max_megabytes: Option<u64>,
    /// It is deleted when nobody has used it, or a subscription of it, for so long.
    pub(crate) auto_delete_on_idle: Option<Duration>,
    /// Largest encoded message, in bytes; `None`: the namespace's.
    pub(crate) max_message_size: Option<u64>,
    /// Whether its messages are in partitions, each of the whole size.
    pub(crate) partitioned: bool,
    /// Who may use it beside those who may use the whole namespace.
    pub(crate) authorization: Vec<AuthorizationRule>,
    pub(crate) remarks: Remarks,
}

impl TopicConfig {
    /// Refuses what the service refuses.
    pub(super) fn check(&self, limits: NamespaceConfig) -> Result<(), BrokerError> {
        limits::check_path(&self.name)?;
        limits.check_message_size(self.max_message_size)?;
        authorization::check(&self.authorization)?;
        self.remarks.check()?;
        idle::check(self.auto_delete_on_idle)
    }
}

#[cfg(test)]
impl TopicConfig {
    /// A topic of this name with the service's defaults.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// How a subscription selects and treats its copies of a topic's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SubscriptionConfig {
    /// The name within the topic, compared without regard to case.
    pub(crate) name: String,
    /// How long a received message, or an accepted session, stays locked. Default 60 s.
    pub(crate) lock_duration: Duration,
    /// After how many failed deliveries a message is dead-lettered. Default 10.
    pub(crate) max_delivery_count: u32,
    /// Copies are read through their session; one without a session id is dead-lettered.
    pub(crate) requires_session: bool,
    /// Default and ceiling of a copy's time to live; `None` is for ever.
    pub(crate) default_ttl: Option<Duration>,
    /// Keep expired copies in the dead-letter queue instead of dropping them.
    pub(crate) dead_letter_on_expiration: bool,
    /// Where its copies go on to.
    pub(crate) forwarding: Forwarding,
    /// What its clients may do. Copies come in any case.
    pub(crate) status: EntityStatus,
    /// Keep messages of which a rule can't be decided in the dead-letter queue instead of leaving them out.
    pub(crate) dead_letter_on_filter_error: bool,
    /// It is deleted when nobody has received from it for so long.
    pub(crate) auto_delete_on_idle: Option<Duration>,
    pub(crate) remarks: Remarks,
    /// A message is copied when any rule matches. Default: one rule, `$Default`, that always does.
    pub(crate) rules: Vec<Rule>,
}

impl SubscriptionConfig {
    /// A subscription of this name with the service's defaults.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Refuses what the service refuses.
    pub(super) fn check(&self, path: &str) -> Result<(), BrokerError> {
        limits::check_subscription_name(&self.name)?;
        for rule in &self.rules {
            limits::check_rule_name(&rule.name)?;
        }
        self.remarks.check()?;
        self.forwarding.check(path, self.requires_session)?;
        idle::check(self.auto_delete_on_idle)
    }

    /// The queue that holds the copies of a subscription to `topic`.
    pub(super) fn queue(&self, path: String, partitioned: bool) -> QueueConfig {
        QueueConfig {
            name: path,
            lock_duration: self.lock_duration,
            max_delivery_count: self.max_delivery_count,
            requires_session: self.requires_session,
            // Duplicates are detected once, at the topic.
            duplicate_detection: None,
            default_ttl: self.default_ttl,
            dead_letter_on_expiration: self.dead_letter_on_expiration,
            forwarding: self.forwarding.clone(),
            status: self.status,
            max_megabytes: None,
            auto_delete_on_idle: self.auto_delete_on_idle,
            max_message_size: None,
            partitioned,
            authorization: Vec::new(),
            remarks: Remarks::default(),
        }
    }
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        let queue = QueueConfig::default();
        Self {
            name: String::new(),
            lock_duration: queue.lock_duration,
            max_delivery_count: queue.max_delivery_count,
            requires_session: false,
            default_ttl: None,
            dead_letter_on_expiration: false,
            forwarding: Forwarding::default(),
            status: EntityStatus::default(),
            dead_letter_on_filter_error: false,
            auto_delete_on_idle: None,
            remarks: Remarks::default(),
            rules: vec![Rule::match_all()],
        }
    }
}
