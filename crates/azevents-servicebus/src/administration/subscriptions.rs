//! Subscriptions: what can be set on one, and the calls about them.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::atom::{Described, Fields};
use super::client::{ServiceBusAdministrationClient, Write};
use super::queues::address;
use super::runtime::SubscriptionRuntimeProperties;
use super::status::EntityStatus;
use super::xml::Writer;
use super::{duration, rules};
use crate::error::Result;
use crate::rule::Rule;

/// Settings of a subscription. What [`new`](Self::new) leaves alone has the default of the service.
///
/// Names and sessions are settled when it is created; the rest can be changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SubscriptionProperties {
    /// The topic whose messages it takes.
    pub topic: String,
    /// Its name, at most 50 characters.
    pub name: String,
    /// How long a receiver has a message for itself, at most 5 minutes. Default: 1 minute.
    pub lock_duration: Duration,
    /// Whether all messages have a session. Default: no.
    pub requires_session: bool,
    /// How long messages live that do not say so themselves, or longer. Default: `None`, for ever.
    pub default_message_time_to_live: Option<Duration>,
    /// Whether expired messages become dead letters. Default: no, they vanish.
    pub dead_lettering_on_message_expiration: bool,
    /// Whether messages on which a filter fails become dead letters. Default: yes.
    pub dead_lettering_on_filter_evaluation_exceptions: bool,
    /// How often a message is delivered before it becomes a dead letter. Default: 10.
    pub max_delivery_count: u32,
    /// Whether the service may gather writes. Default: yes.
    pub enable_batched_operations: bool,
    /// Whether it is switched on.
    pub status: EntityStatus,
    /// The queue or topic, in the same namespace, to which all messages go on.
    pub forward_to: Option<String>,
    /// The queue or topic, in the same namespace, to which dead letters go on.
    pub forward_dead_lettered_messages_to: Option<String>,
    /// What users note about it, at most 1024 characters.
    pub user_metadata: Option<String>,
    /// Time without any use after which it is deleted, 5 minutes at least. Default: `None`, never.
    pub auto_delete_on_idle: Option<Duration>,
}

impl SubscriptionProperties {
    /// A subscription with the default settings.
    pub fn new(topic: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            name: name.into(),
            lock_duration: Duration::from_secs(60),
            requires_session: false,
            default_message_time_to_live: None,
            dead_lettering_on_message_expiration: false,
            dead_lettering_on_filter_evaluation_exceptions: true,
            max_delivery_count: 10,
            enable_batched_operations: true,
            status: EntityStatus::Active,
            forward_to: None,
            forward_dead_lettered_messages_to: None,
            user_metadata: None,
            auto_delete_on_idle: None,
        }
    }

    /// Sets how long a receiver has a message for itself.
    #[must_use]
    pub fn with_lock_duration(mut self, duration: Duration) -> Self {
        self.lock_duration = duration;
        self
    }

    /// Asks for a session on every message.
    #[must_use]
    pub fn with_sessions(mut self) -> Self {
        self.requires_session = true;
        self
    }

    /// Sets how long messages live that do not say so themselves.
    #[must_use]
    pub fn with_time_to_live(mut self, ttl: Duration) -> Self {
        self.default_message_time_to_live = Some(ttl);
        self
    }

    /// Keeps expired messages as dead letters.
    #[must_use]
    pub fn with_dead_lettering_on_expiration(mut self) -> Self {
        self.dead_lettering_on_message_expiration = true;
        self
    }

    /// Sets how often a message is delivered before it becomes a dead letter.
    #[must_use]
    pub fn with_max_delivery_count(mut self, count: u32) -> Self {
        self.max_delivery_count = count;
        self
    }

    /// Sends all messages on to another queue or topic.
    #[must_use]
    pub fn with_forward_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_to = Some(entity.into());
        self
    }

    /// Sends dead letters on to another queue or topic.
    #[must_use]
    pub fn with_forward_dead_letters_to(mut self, entity: impl Into<String>) -> Self {
        self.forward_dead_lettered_messages_to = Some(entity.into());
        self
    }

    /// In the order of the service's data contract, which passes over what comes out of order. What is left out
    /// is the service's default, which is "for ever" only where the tier has that.
    fn write(&self, namespace: &str, rule: Option<&Rule>) -> Result<Writer> {
        let mut out = Writer::default();
        out.text("LockDuration", &duration::write(self.lock_duration));
        out.value("RequiresSession", &self.requires_session);
        let ttl = self.default_message_time_to_live;
        out.optional("DefaultMessageTimeToLive", ttl.map(duration::write));
        out.value(
            "DeadLetteringOnMessageExpiration",
            &self.dead_lettering_on_message_expiration,
        );
        out.value(
            "DeadLetteringOnFilterEvaluationExceptions",
            &self.dead_lettering_on_filter_evaluation_exceptions,
        );
        if let Some(rule) = rule {
            out.open("DefaultRuleDescription", "");
            rules::write(rule, &mut out)?;
            out.close("DefaultRuleDescription");
        }
        out.value("MaxDeliveryCount", &self.max_delivery_count);
        out.value("EnableBatchedOperations", &self.enable_batched_operations);
        out.text("Status", self.status.as_str());
        out.optional("ForwardTo", address(namespace, self.forward_to.as_deref()));
        out.optional("UserMetadata", self.user_metadata.as_deref());
        let dead_letters = self.forward_dead_lettered_messages_to.as_deref();
        out.optional("ForwardDeadLetteredMessagesTo", address(namespace, dead_letters));
        out.optional("AutoDeleteOnIdle", self.auto_delete_on_idle.map(duration::write));
        Ok(out)
    }

    /// An entry of a subscription does not name its topic.
    fn of(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }
}

impl Described for SubscriptionProperties {
    const KIND: &'static str = "SubscriptionDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        let usual = Self::new("", name);
        let on_error = "DeadLetteringOnFilterEvaluationExceptions";
        Ok(Self {
            lock_duration: fields.duration("LockDuration", usual.lock_duration)?,
            requires_session: fields.flag("RequiresSession", false),
            default_message_time_to_live: fields.open_duration("DefaultMessageTimeToLive")?,
            dead_lettering_on_message_expiration: fields.flag("DeadLetteringOnMessageExpiration", false),
            dead_lettering_on_filter_evaluation_exceptions: fields.flag(on_error, true),
            max_delivery_count: fields.number("MaxDeliveryCount", usual.max_delivery_count)?,
            enable_batched_operations: fields.flag("EnableBatchedOperations", true),
            status: EntityStatus::read(fields),
            forward_to: fields.entity("ForwardTo"),
            forward_dead_lettered_messages_to: fields.entity("ForwardDeadLetteredMessagesTo"),
            user_metadata: fields.owned("UserMetadata"),
            auto_delete_on_idle: fields.open_duration("AutoDeleteOnIdle")?,
            ..usual
        })
    }
}

/// Where a subscription is.
pub(super) fn path(topic: &str, name: &str) -> String {
    format!("{topic}/subscriptions/{name}")
}

impl ServiceBusAdministrationClient {
    /// Creates a subscription that takes every message, and gives it as the service has it.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound): there is no such topic;
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists): a subscription of that name;
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a setting the service does not take.
    pub async fn create_subscription(&self, subscription: &SubscriptionProperties) -> Result<SubscriptionProperties> {
        self.put_subscription("create subscription", subscription, None, false)
            .await
    }

    /// Creates a subscription that takes what one rule says, from its first message on.
    ///
    /// # Errors
    /// As of [`create_subscription`](Self::create_subscription), and of [`create_rule`](Self::create_rule).
    pub async fn create_subscription_with_rule(
        &self,
        subscription: &SubscriptionProperties,
        rule: &Rule,
    ) -> Result<SubscriptionProperties> {
        self.put_subscription("create subscription", subscription, Some(rule), false)
            .await
    }

    /// Changes a subscription, and gives it as the service has it. Every setting is written: start from
    /// [`get_subscription`](Self::get_subscription). Of changes at the same time the last one wins.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound);
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for a setting that cannot be changed.
    pub async fn update_subscription(&self, subscription: &SubscriptionProperties) -> Result<SubscriptionProperties> {
        self.put_subscription("update subscription", subscription, None, true)
            .await
    }

    async fn put_subscription(
        &self,
        operation: &'static str,
        subscription: &SubscriptionProperties,
        rule: Option<&Rule>,
        update: bool,
    ) -> Result<SubscriptionProperties> {
        let dead_letters = subscription.forward_dead_lettered_messages_to.is_some();
        let write = Write::forwarding(update, subscription.forward_to.is_some(), dead_letters);
        let path = path(&subscription.topic, &subscription.name);
        let fields = subscription.write(self.namespace(), rule);
        let fields = fields.map_err(|error| error.during(operation, &path))?;
        let written: SubscriptionProperties = self.put(operation, &path, fields, write).await?;
        Ok(written.of(&subscription.topic))
    }

    /// The settings of a subscription.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound).
    pub async fn get_subscription(&self, topic: &str, name: &str) -> Result<SubscriptionProperties> {
        let found: SubscriptionProperties = self.get("get subscription", &path(topic, name)).await?;
        Ok(found.of(topic))
    }

    /// What lies in a subscription.
    ///
    /// # Errors
    /// As of [`get_subscription`](Self::get_subscription).
    pub async fn get_subscription_runtime_properties(
        &self,
        topic: &str,
        name: &str,
    ) -> Result<SubscriptionRuntimeProperties> {
        let found: SubscriptionRuntimeProperties = self.get("get subscription", &path(topic, name)).await?;
        Ok(found.of(topic))
    }

    /// Whether there is a subscription of that name.
    ///
    /// # Errors
    /// It cannot be told: the namespace cannot be reached, or the credential may not ask.
    pub async fn subscription_exists(&self, topic: &str, name: &str) -> Result<bool> {
        self.exists::<SubscriptionProperties>("get subscription", &path(topic, name))
            .await
    }

    /// Deletes a subscription and all that is in it.
    ///
    /// # Errors
    /// [`EntityNotFound`](crate::ErrorKind::EntityNotFound).
    pub async fn delete_subscription(&self, topic: &str, name: &str) -> Result<()> {
        self.delete("delete subscription", &path(topic, name)).await
    }

    /// All subscriptions of a topic, a page at a time as they are asked for. What is created or deleted
    /// meanwhile can make one be missed or come twice.
    pub fn list_subscriptions(&self, topic: &str) -> BoxStream<'static, Result<SubscriptionProperties>> {
        let (topic, all) = (topic.to_owned(), format!("{topic}/subscriptions"));
        let all = self.list::<SubscriptionProperties>("list subscriptions", all);
        all.map_ok(move |subscription| subscription.of(&topic)).boxed()
    }

    /// What lies in each subscription of a topic, listed as [`list_subscriptions`](Self::list_subscriptions)
    /// does.
    pub fn list_subscriptions_runtime_properties(
        &self,
        topic: &str,
    ) -> BoxStream<'static, Result<SubscriptionRuntimeProperties>> {
        let (topic, all) = (topic.to_owned(), format!("{topic}/subscriptions"));
        let all = self.list::<SubscriptionRuntimeProperties>("list subscriptions", all);
        all.map_ok(move |subscription| subscription.of(&topic)).boxed()
    }
}
