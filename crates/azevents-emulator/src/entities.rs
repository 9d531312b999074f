//! The entities of Service Bus and Event Hubs, created from one topology.

use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    AuthorizationRule, Faults, Filter, PropertyValue, Queue, Rule, Subscription, Topic, Topology,
    amqp::{Right, SharedAccessKey},
    clock::Clock,
    eventhubs::EventHubs,
    servicebus::{
        self, BrokerError, Forwarding, Namespace, NamespaceConfig, QueueConfig, SqlAction, SqlFilter,
        SubscriptionConfig, TopicConfig,
    },
    state::{DataError, Folder, NotWritten},
};

/// Where entities are created, also while the brokers serve them. Clones share them.
#[derive(Clone)]
pub(crate) struct Entities {
    pub(crate) servicebus: Arc<Namespace>,
    pub(crate) eventhubs: Arc<EventHubs>,
}

/// What creating a topology changed, as addresses.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// Entities that are there now and were not before.
    pub(crate) created: Vec<String>,
    /// Entities that were there already; they keep their settings and messages.
    pub(crate) existing: Vec<String>,
}

impl Changes {
    pub(crate) fn note(&mut self, address: &str, existed: bool) {
        let list = if existed { &mut self.existing } else { &mut self.created };
        list.push(address.to_owned());
    }
}

impl Entities {
    /// The entities that are kept in the folder. Needs a tokio runtime.
    pub(crate) fn open(
        key: SharedAccessKey,
        limits: NamespaceConfig,
        throughput_units: Option<u32>,
        clock: &Clock,
        faults: &Faults,
        folder: Option<&Folder>,
    ) -> Result<Self, DataError> {
        let eventhubs = EventHubs::open(key, throughput_units, clock.clone(), faults.clone(), folder)?;
        let servicebus = Namespace::open(limits, clock.clone(), faults.clone(), folder)?;
        Ok(Self {
            servicebus,
            eventhubs: Arc::new(eventhubs),
        })
    }

    /// Waits until what was created is written.
    pub(crate) async fn written(&self) -> Result<(), NotWritten> {
        self.servicebus.journal().written().await?;
        self.eventhubs.journal().written().await
    }

    /// Lets go of the folder.
    pub(crate) async fn close(&self) {
        self.servicebus.journal().close().await;
        self.eventhubs.journal().close().await;
    }

    /// Creates what is missing and leaves what exists as it is, so that asking twice is fine. An
    /// error names the entity that can't be there; those before it are.
    pub(crate) fn create_missing(&self, topology: &Topology) -> Result<Changes, String> {
        let mut changes = Changes::default();
        for queue in &topology.queues {
            let existed = self.exists(&queue.name);
            self.servicebus
                .create_queue(&queue_config(queue))
                .map_err(|error| format!("queue `{}`: {error}", queue.name))?;
            changes.note(&queue.name, existed);
        }
        for topic in &topology.topics {
            let existed = self.exists(&topic.name);
            self.servicebus
                .create_topic(&topic_config(topic))
                .map_err(|error| format!("topic `{}`: {error}", topic.name))?;
            changes.note(&topic.name, existed);
            for subscription in &topic.subscriptions {
                let address = format!("{}/Subscriptions/{}", topic.name, subscription.name);
                let existed = self.exists(&address);
                let config =
                    subscription_config(subscription).map_err(|error| format!("subscription `{address}`: {error}"))?;
                self.servicebus
                    .create_subscription(&topic.name, &config)
                    .map_err(|error| format!("subscription `{address}`: {error}"))?;
                changes.note(&address, existed);
            }
        }
        self.check_forwarding(topology)?;
        for hub in &topology.event_hubs {
            let created = self.eventhubs.create(hub);
            changes.note(&hub.name, !created);
        }
        Ok(changes)
    }

    /// Whether all that is forwarded to is there.
    fn check_forwarding(&self, topology: &Topology) -> Result<(), String> {
        let queues = topology.queues.iter();
        let queues = queues.map(|queue| (&queue.name, &queue.forward_to, &queue.forward_dead_letters_to));
        let subscriptions = topology.topics.iter().flat_map(|topic| &topic.subscriptions);
        let subscriptions = subscriptions.map(|one| (&one.name, &one.forward_to, &one.forward_dead_letters_to));
        for (name, to, dead_letters_to) in queues.chain(subscriptions) {
            for to in to.iter().chain(dead_letters_to) {
                if !self.exists(servicebus::path_of(to)) {
                    return Err(format!(
                        "`{name}` forwards to `{to}`, which is no queue or topic; add it"
                    ));
                }
            }
        }
        Ok(())
    }

    fn exists(&self, address: &str) -> bool {
        self.servicebus.resolve(address).is_ok()
    }
}

impl fmt::Debug for Entities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entities").finish_non_exhaustive()
    }
}

fn queue_config(queue: &Queue) -> QueueConfig {
    QueueConfig {
        name: queue.name.clone(),
        lock_duration: queue.lock_duration,
        max_delivery_count: queue.max_delivery_count,
        requires_session: queue.requires_session,
        duplicate_detection: queue.duplicate_detection,
        default_ttl: queue.default_time_to_live,
        dead_letter_on_expiration: queue.dead_letter_on_expiration,
        forwarding: Forwarding {
            to: queue.forward_to.clone(),
            dead_letters_to: queue.forward_dead_letters_to.clone(),
        },
        status: queue.status,
        auto_delete_on_idle: queue.auto_delete_on_idle,
        max_message_size: queue.max_message_size,
        partitioned: queue.partitioned,
        authorization: queue.authorization_rules.iter().map(authorization_rule).collect(),
        ..QueueConfig::default()
    }
}

fn topic_config(topic: &Topic) -> TopicConfig {
    TopicConfig {
        name: topic.name.clone(),
        duplicate_detection: topic.duplicate_detection,
        default_ttl: topic.default_time_to_live,
        status: topic.status,
        auto_delete_on_idle: topic.auto_delete_on_idle,
        max_message_size: topic.max_message_size,
        partitioned: topic.partitioned,
        authorization: topic.authorization_rules.iter().map(authorization_rule).collect(),
        ..TopicConfig::default()
    }
}

/// The other key, which a topology doesn't name, is made up.
fn authorization_rule(rule: &AuthorizationRule) -> servicebus::AuthorizationRule {
    let rights = [
        (rule.send, Right::Send),
        (rule.listen, Right::Listen),
        (rule.manage, Right::Manage),
    ];
    servicebus::AuthorizationRule {
        key_name: rule.name.clone(),
        primary_key: rule.key.clone(),
        secondary_key: String::new(),
        rights: rights
            .into_iter()
            .filter_map(|(is, right)| is.then_some(right))
            .collect(),
        created: 0,
        modified: 0,
    }
}

fn subscription_config(subscription: &Subscription) -> Result<SubscriptionConfig, BrokerError> {
    let defaults = SubscriptionConfig::new(subscription.name.clone());
    Ok(SubscriptionConfig {
        lock_duration: subscription.lock_duration,
        max_delivery_count: subscription.max_delivery_count,
        requires_session: subscription.requires_session,
        default_ttl: subscription.default_time_to_live,
        dead_letter_on_expiration: subscription.dead_letter_on_expiration,
        forwarding: Forwarding {
            to: subscription.forward_to.clone(),
            dead_letters_to: subscription.forward_dead_letters_to.clone(),
        },
        status: subscription.status,
        auto_delete_on_idle: subscription.auto_delete_on_idle,
        dead_letter_on_filter_error: subscription.dead_letter_on_filter_error,
        rules: match &subscription.rules[..] {
            // Then the default rule lets everything in.
            [] => defaults.rules,
            rules => rules.iter().map(rule).collect::<Result<_, _>>()?,
        },
        ..defaults
    })
}

fn rule(rule: &Rule) -> Result<servicebus::Rule, BrokerError> {
    Ok(servicebus::Rule {
        action: rule.action.as_deref().map(SqlAction::parse).transpose()?,
        name: rule.name.clone(),
        created_at: None,
        filter: match &rule.filter {
            Filter::True => servicebus::Filter::True,
            Filter::False => servicebus::Filter::False,
            Filter::Sql(text) => servicebus::Filter::Sql(SqlFilter::parse(text)?),
            Filter::Correlation(filter) => servicebus::Filter::Correlation(servicebus::CorrelationFilter {
                correlation_id: filter.correlation_id.clone(),
                message_id: filter.message_id.clone(),
                to: filter.to.clone(),
                reply_to: filter.reply_to.clone(),
                subject: filter.subject.clone(),
                session_id: filter.session_id.clone(),
                reply_to_session_id: filter.reply_to_session_id.clone(),
                content_type: filter.content_type.clone(),
                properties: filter
                    .properties
                    .iter()
                    .map(|(name, value)| (name.clone(), property(value)))
                    .collect(),
            }),
        },
    })
}

fn property(value: &PropertyValue) -> servicebus::Value {
    match value {
        PropertyValue::Text(text) => servicebus::Value::Text(text.clone()),
        PropertyValue::Integer(number) => servicebus::Value::Integer(*number),
        PropertyValue::Boolean(truth) => servicebus::Value::Boolean(*truth),
    }
}
