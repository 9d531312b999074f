//! Queues, topics, subscriptions and rules, with Azure's defaults.

use std::{collections::BTreeMap, time::Duration};

use super::EntityStatus;

/// Azure's default, and the default of Microsoft's emulator.
const DEFAULT_LOCK_DURATION: Duration = Duration::from_secs(60);
const DEFAULT_MAX_DELIVERY_COUNT: u32 = 10;

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
        }
    }

    /// Sets how long a delivered message is invisible to others.
    #[must_use]
    pub fn with_lock_duration(mut self, lock_duration: Duration) -> Self {
        self.lock_duration = lock_duration;
        self
    }

    /// Sets after how many deliveries a message moves to the dead-letter queue.
    #[must_use]
    pub fn with_max_delivery_count(mut self, max_delivery_count: u32) -> Self {
        self.max_delivery_count = max_delivery_count;
        self
    }

    /// Passes all messages on to another queue or topic.
    #[must_use]
    pub fn with_forward_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_to = Some(entity.into());
        self
    }

    /// Passes dead letters on to another queue or topic.
    #[must_use]
    pub fn with_forward_dead_letters_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_dead_letters_to = Some(entity.into());
        self
    }

    /// Requires sessions.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.requires_session = true;
        self
    }

    /// Drops messages whose id was seen within `window`.
    #[must_use]
    pub fn with_duplicate_detection(mut self, window: Duration) -> Self {
        self.duplicate_detection = Some(window);
        self
    }

    /// Suspends it.
    #[must_use]
    pub fn with_status(mut self, status: EntityStatus) -> Self {
        self.status = status;
        self
    }

    /// Lets it be deleted when nobody has used it for so long, from 5 minutes.
    #[must_use]
    pub fn with_auto_delete_on_idle(mut self, after: Duration) -> Self {
        self.auto_delete_on_idle = Some(after);
        self
    }

    /// Sets the size of its largest message, in bytes.
    #[must_use]
    pub fn with_max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }
}

impl From<&str> for Queue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

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
            subscriptions: Vec::new(),
        }
    }

    /// Adds a subscription.
    #[must_use]
    pub fn with_subscription(mut self, subscription: impl Into<Subscription>) -> Self {
        self.subscriptions.push(subscription.into());
        self
    }

    /// Drops messages whose id was seen within `window`.
    #[must_use]
    pub fn with_duplicate_detection(mut self, window: Duration) -> Self {
        self.duplicate_detection = Some(window);
        self
    }

    /// Suspends it.
    #[must_use]
    pub fn with_status(mut self, status: EntityStatus) -> Self {
        self.status = status;
        self
    }

    /// Lets it be deleted when nobody has used it for so long, from 5 minutes.
    #[must_use]
    pub fn with_auto_delete_on_idle(mut self, after: Duration) -> Self {
        self.auto_delete_on_idle = Some(after);
        self
    }

    /// Sets the size of its largest message, in bytes.
    #[must_use]
    pub fn with_max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = Some(bytes);
        self
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

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

    /// Sets how long a delivered message is invisible to others.
    #[must_use]
    pub fn with_lock_duration(mut self, lock_duration: Duration) -> Self {
        self.lock_duration = lock_duration;
        self
    }

    /// Sets after how many deliveries a message moves to the dead-letter queue.
    #[must_use]
    pub fn with_max_delivery_count(mut self, max_delivery_count: u32) -> Self {
        self.max_delivery_count = max_delivery_count;
        self
    }

    /// Passes all messages on to another queue or topic.
    #[must_use]
    pub fn with_forward_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_to = Some(entity.into());
        self
    }

    /// Passes dead letters on to another queue or topic.
    #[must_use]
    pub fn with_forward_dead_letters_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_dead_letters_to = Some(entity.into());
        self
    }

    /// Requires sessions.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.requires_session = true;
        self
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

    /// Suspends it.
    #[must_use]
    pub fn with_status(mut self, status: EntityStatus) -> Self {
        self.status = status;
        self
    }

    /// Lets it be deleted when nobody has used it for so long, from 5 minutes.
    #[must_use]
    pub fn with_auto_delete_on_idle(mut self, after: Duration) -> Self {
        self.auto_delete_on_idle = Some(after);
        self
    }

    /// Moves messages on which a rule fails to the dead-letter queue.
    #[must_use]
    pub fn with_dead_letter_on_filter_error(mut self) -> Self {
        self.dead_letter_on_filter_error = true;
        self
    }
}

impl From<&str> for Subscription {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// Lets messages into a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name within the subscription.
    pub name: String,
    /// Which messages.
    pub filter: Filter,
    /// What is changed on the copies, in Service Bus' SQL: `SET total = 5; REMOVE note`.
    pub action: Option<String>,
}

/// Which messages a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// All of them.
    True,
    /// None of them.
    False,
    /// Those whose properties are equal to all that are set here.
    Correlation(Box<CorrelationFilter>),
    /// Those of which a condition in Service Bus' SQL is true: `total > 5 AND sys.Label = 'new'`.
    Sql(String),
}

impl From<CorrelationFilter> for Filter {
    fn from(filter: CorrelationFilter) -> Self {
        Self::Correlation(Box::new(filter))
    }
}

/// Values to be equal to; what is `None` or absent is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorrelationFilter {
    /// AMQP `content-type`.
    pub content_type: Option<String>,
    /// AMQP `correlation-id`.
    pub correlation_id: Option<String>,
    /// AMQP `message-id`.
    pub message_id: Option<String>,
    /// AMQP `reply-to`.
    pub reply_to: Option<String>,
    /// AMQP `reply-to-group-id`.
    pub reply_to_session_id: Option<String>,
    /// AMQP `group-id`.
    pub session_id: Option<String>,
    /// AMQP `subject`, which Service Bus calls label.
    pub subject: Option<String>,
    /// AMQP `to`.
    pub to: Option<String>,
    /// Application properties, equal in type and value.
    pub properties: BTreeMap<String, PropertyValue>,
}

/// The value of an application property in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyValue {
    /// A string.
    Text(String),
    /// An integer; on the wire it may have any width.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

impl From<&str> for PropertyValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for PropertyValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for PropertyValue {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}
