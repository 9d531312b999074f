//! Rules: which messages a subscription lets in.

use std::collections::BTreeMap;

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
