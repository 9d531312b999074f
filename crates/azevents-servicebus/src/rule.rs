//! Rules: which messages of a topic a subscription takes, and what it changes on them.

use std::sync::Arc;

use crate::client::Shared;
use crate::error::Result;
use crate::management::Management;
use crate::message::{Properties, PropertyValue};

/// The rule that a subscription starts with: it takes every message.
pub const DEFAULT_RULE: &str = "$Default";

/// A rule of a subscription. A message is taken once for all rules without an action that match, and once
/// more for each that has one.
///
/// ```
/// use azevents_servicebus::{CorrelationFilter, Rule, RuleFilter};
///
/// let large = Rule::new("large", RuleFilter::Sql("total > 1000".into())).with_action("SET priority = 'high'");
/// let french = Rule::new(
///     "french",
///     RuleFilter::Correlation(CorrelationFilter::default().with_property("country", "France")),
/// );
/// # assert_ne!(large, french);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rule {
    /// Unique within the subscription, at most 50 characters.
    pub name: String,
    /// Which messages it takes.
    pub filter: RuleFilter,
    /// What it does to the copy that the subscription gets, in the service's SQL.
    pub action: Option<String>,
}

impl Rule {
    /// A rule without an action.
    pub fn new(name: impl Into<String>, filter: RuleFilter) -> Self {
        Self {
            name: name.into(),
            filter,
            action: None,
        }
    }

    /// Sets what is done to the copies, as in `SET priority = 'high'; REMOVE note`.
    #[must_use]
    pub fn with_action(mut self, sql: impl Into<String>) -> Self {
        self.action = Some(sql.into());
        self
    }
}

/// Which messages a rule takes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RuleFilter {
    /// Every message.
    True,
    /// None.
    False,
    /// Those for which an expression over properties holds, in the service's SQL: `total > 10 AND
    /// sys.Label LIKE 'Order%'`.
    Sql(String),
    /// Those with certain properties: cheaper for the service than SQL.
    Correlation(CorrelationFilter),
}

/// A message matches where it has every property that is set here, with the same value.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct CorrelationFilter {
    /// The correlation id.
    pub correlation_id: Option<String>,
    /// The message id.
    pub message_id: Option<String>,
    /// Where the message is meant to go.
    pub to: Option<String>,
    /// Where answers should be sent.
    pub reply_to: Option<String>,
    /// What the message is about.
    pub subject: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The session of answers.
    pub reply_to_session_id: Option<String>,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Application properties.
    pub properties: Properties,
}

impl CorrelationFilter {
    /// Asks for a correlation id.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Asks for a subject.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Asks for a value of an application property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<PropertyValue>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// The fields under the names that `$management` has for them.
    pub(crate) fn fields(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("correlation-id", self.correlation_id.as_deref()),
            ("message-id", self.message_id.as_deref()),
            ("to", self.to.as_deref()),
            ("reply-to", self.reply_to.as_deref()),
            ("label", self.subject.as_deref()),
            ("session-id", self.session_id.as_deref()),
            ("reply-to-session-id", self.reply_to_session_id.as_deref()),
            ("content-type", self.content_type.as_deref()),
        ]
    }
}

/// The rules of one subscription. What may listen to it may change them: unlike
/// administration, this takes no right to manage the namespace.
///
/// Cancellation: a change that is dropped may or may not have happened.
///
/// ```no_run
/// use azevents_servicebus::rule::DEFAULT_RULE;
/// use azevents_servicebus::{Rule, RuleFilter, ServiceBusClient};
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let rules = client.create_rule_manager("orders", "billing");
/// rules.add(&Rule::new("large", RuleFilter::Sql("total > 1000".into()))).await?;
/// rules.remove(DEFAULT_RULE).await?;
/// assert_eq!(rules.list().await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RuleManager {
    management: Arc<Management>,
}

impl RuleManager {
    pub(crate) fn new(client: &Arc<Shared>, subscription: &str) -> Self {
        Self {
            management: client.management(subscription),
        }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) where there is one of that name;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for SQL the service cannot read.
    pub async fn add(&self, rule: &Rule) -> Result<()> {
        self.management.add_rule(rule).await
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// [`ErrorKind::EntityNotFound`](crate::ErrorKind::EntityNotFound) where there is none of that name.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.management.remove_rule(name).await
    }

    /// All rules.
    ///
    /// # Errors
    /// The subscription does not exist or cannot be reached.
    pub async fn list(&self) -> Result<Vec<Rule>> {
        self.management.rules().await
    }
}
