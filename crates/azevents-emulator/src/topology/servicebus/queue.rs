//! Queues.

use std::time::Duration;

use super::{
    AuthorizationRule, DEFAULT_LOCK_DURATION, DEFAULT_MAX_DELIVERY_COUNT, EntityStatus,
    setters::{common_setters, delivery_setters, store_setters},
};

/// A queue.
///
/// ```
/// use std::time::Duration;
/// use azevents_emulator::Queue;
///
/// let queue = Queue::new("invoices").with_lock_duration(Duration::from_secs(5)).with_sessions();
/// # let _ = queue;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Its address.
    pub name: String,
    /// How long a delivered message is invisible to others. 60 s by default.
    pub lock_duration: Duration,
    /// Deliveries after which a message moves to the dead-letter queue. 10 by default.
    pub max_delivery_count: u32,
    /// Whether every message must carry a session id and is received by session.
    pub requires_session: bool,
    /// How long message ids are remembered to drop copies; `None`: they are not.
    pub duplicate_detection: Option<Duration>,
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
    /// Largest message in bytes; `None`: what the emulator takes altogether, and never more.
    pub max_message_size: Option<u64>,
    /// Whether its messages are in partitions, whose order among each other is open.
    pub partitioned: bool,
    /// Who may use it with a key of his own, beside those who may use everything.
    pub authorization_rules: Vec<AuthorizationRule>,
}

impl Queue {
    /// A queue with Azure's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lock_duration: DEFAULT_LOCK_DURATION,
            max_delivery_count: DEFAULT_MAX_DELIVERY_COUNT,
            requires_session: false,
            duplicate_detection: None,
            default_time_to_live: None,
            dead_letter_on_expiration: false,
            forward_to: None,
            forward_dead_letters_to: None,
            status: EntityStatus::Active,
            auto_delete_on_idle: None,
            max_message_size: None,
            partitioned: false,
            authorization_rules: Vec::new(),
        }
    }

    delivery_setters!();
    store_setters!();
    common_setters!();
}

impl From<&str> for Queue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
