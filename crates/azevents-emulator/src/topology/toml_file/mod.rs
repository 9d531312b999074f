//! Our own configuration file, which has all services in it.
//!
//! ```toml
//! [[queue]]
//! name = "invoices"
//! sessions = true
//! lock_duration = "30s"
//!
//! [[topic]]
//! name = "orders"
//! subscriptions = [{ name = "billing", rules = [{ name = "new", subject = "placed" }] }]
//!
//! [[event_hub]]
//! name = "order-events"
//! partitions = 8
//! consumer_groups = ["analytics"]
//!
//! [[database]]
//! name = "shop"
//! containers = [{ name = "events", partition_key = "/stream", time_to_live = "per item" }]
//!
//! [[blob_container]]
//! name = "checkpoints"
//! ```

mod values;

use std::collections::BTreeMap;

use serde::Deserialize;

use self::values::{AtLeastOne, Expiry, Idle, MessageSize, Span, Status};
use super::{
    AuthorizationRule, Container, CorrelationFilter, Database, EventHub, Filter, PropertyValue, Queue, Rule,
    Subscription, TimeToLive, Topic, Topology, TopologyError,
    sql::{sql_action, sql_filter},
};

pub(super) fn parse(name: &str, text: &str) -> Result<Topology, TopologyError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        TopologyError::Malformed {
            file: name.into(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            what: error.message().to_owned(),
        }
    })?;
    let mut topology = Topology::new();
    topology.queues.extend(file.queues.into_iter().map(Queue::from));
    topology.topics.extend(file.topics.into_iter().map(Topic::from));
    topology
        .event_hubs
        .extend(file.event_hubs.into_iter().map(EventHub::from));
    topology
        .databases
        .extend(file.databases.into_iter().map(Database::from));
    let blob_containers = file.blob_containers.into_iter().map(|container| container.name);
    topology.blob_containers.extend(blob_containers);
    Ok(topology)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "queue")]
    queues: Vec<QueueEntry>,
    #[serde(default, rename = "topic")]
    topics: Vec<TopicEntry>,
    #[serde(default, rename = "event_hub")]
    event_hubs: Vec<EventHubEntry>,
    #[serde(default, rename = "database")]
    databases: Vec<DatabaseEntry>,
    #[serde(default, rename = "blob_container")]
    blob_containers: Vec<BlobContainerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueEntry {
    name: String,
    lock_duration: Option<Span>,
    max_delivery_count: Option<AtLeastOne>,
    #[serde(default)]
    sessions: bool,
    duplicate_detection: Option<Span>,
    time_to_live: Option<Span>,
    #[serde(default)]
    dead_letter_on_expiration: bool,
    forward_to: Option<String>,
    forward_dead_letters_to: Option<String>,
    status: Option<Status>,
    auto_delete_on_idle: Option<Idle>,
    max_message_size: Option<MessageSize>,
    #[serde(default)]
    partitioned: bool,
    #[serde(default)]
    authorization_rules: Vec<AuthorizationEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicEntry {
    name: String,
    duplicate_detection: Option<Span>,
    time_to_live: Option<Span>,
    status: Option<Status>,
    auto_delete_on_idle: Option<Idle>,
    max_message_size: Option<MessageSize>,
    #[serde(default)]
    partitioned: bool,
    #[serde(default)]
    authorization_rules: Vec<AuthorizationEntry>,
    #[serde(default)]
    subscriptions: Vec<SubscriptionEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionEntry {
    name: String,
    lock_duration: Option<Span>,
    max_delivery_count: Option<AtLeastOne>,
    #[serde(default)]
    sessions: bool,
    time_to_live: Option<Span>,
    #[serde(default)]
    dead_letter_on_expiration: bool,
    forward_to: Option<String>,
    forward_dead_letters_to: Option<String>,
    status: Option<Status>,
    auto_delete_on_idle: Option<Idle>,
    #[serde(default)]
    dead_letter_on_filter_error: bool,
    #[serde(default)]
    rules: Vec<RuleEntry>,
}

/// A key of one queue or topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorizationEntry {
    name: String,
    key: String,
    rights: Vec<RightEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum RightEntry {
    Send,
    Listen,
    Manage,
}

/// A rule lets in what is equal in everything that is written, or what its `sql` is true of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    name: String,
    content_type: Option<String>,
    correlation_id: Option<String>,
    message_id: Option<String>,
    reply_to: Option<String>,
    reply_to_session_id: Option<String>,
    session_id: Option<String>,
    subject: Option<String>,
    to: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, PropertyEntry>,
    /// A condition in SQL, in place of all others.
    #[serde(default, deserialize_with = "sql_filter")]
    sql: Option<String>,
    #[serde(default, deserialize_with = "sql_action")]
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a property is a string, an integer or a boolean")]
enum PropertyEntry {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventHubEntry {
    name: String,
    partitions: Option<u32>,
    #[serde(default)]
    consumer_groups: Vec<String>,
    retention: Option<Span>,
    max_partition_bytes: Option<usize>,
    #[serde(default)]
    opaque_offsets: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobContainerEntry {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseEntry {
    name: String,
    #[serde(default)]
    containers: Vec<ContainerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerEntry {
    name: String,
    partition_key: Paths,
    time_to_live: Option<Expiry>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "partition_key is a path such as \"/stream\", or a list of paths"
)]
enum Paths {
    One(String),
    Several(Vec<String>),
}

impl From<QueueEntry> for Queue {
    fn from(entry: QueueEntry) -> Self {
        let defaults = Self::new(entry.name);
        Self {
            lock_duration: entry.lock_duration.map_or(defaults.lock_duration, |lock| lock.0),
            max_delivery_count: entry
                .max_delivery_count
                .map_or(defaults.max_delivery_count, |most| most.0),
            requires_session: entry.sessions,
            duplicate_detection: entry.duplicate_detection.map(|window| window.0),
            default_time_to_live: entry.time_to_live.map(|ttl| ttl.0),
            dead_letter_on_expiration: entry.dead_letter_on_expiration,
            forward_to: entry.forward_to,
            forward_dead_letters_to: entry.forward_dead_letters_to,
            status: entry.status.map_or(defaults.status, |status| status.0),
            auto_delete_on_idle: entry.auto_delete_on_idle.map(|after| after.0),
            max_message_size: entry.max_message_size.map(|size| size.0),
            partitioned: entry.partitioned,
            authorization_rules: entry.authorization_rules.into_iter().map(Into::into).collect(),
            ..defaults
        }
    }
}

impl From<TopicEntry> for Topic {
    fn from(entry: TopicEntry) -> Self {
        let defaults = Self::new(entry.name);
        Self {
            duplicate_detection: entry.duplicate_detection.map(|window| window.0),
            default_time_to_live: entry.time_to_live.map(|ttl| ttl.0),
            status: entry.status.map_or(defaults.status, |status| status.0),
            auto_delete_on_idle: entry.auto_delete_on_idle.map(|after| after.0),
            max_message_size: entry.max_message_size.map(|size| size.0),
            partitioned: entry.partitioned,
            authorization_rules: entry.authorization_rules.into_iter().map(Into::into).collect(),
            subscriptions: entry.subscriptions.into_iter().map(Subscription::from).collect(),
            ..defaults
        }
    }
}

impl From<SubscriptionEntry> for Subscription {
    fn from(entry: SubscriptionEntry) -> Self {
        let defaults = Self::new(entry.name);
        Self {
            lock_duration: entry.lock_duration.map_or(defaults.lock_duration, |lock| lock.0),
            max_delivery_count: entry
                .max_delivery_count
                .map_or(defaults.max_delivery_count, |most| most.0),
            requires_session: entry.sessions,
            default_time_to_live: entry.time_to_live.map(|ttl| ttl.0),
            dead_letter_on_expiration: entry.dead_letter_on_expiration,
            forward_to: entry.forward_to,
            forward_dead_letters_to: entry.forward_dead_letters_to,
            status: entry.status.map_or(defaults.status, |status| status.0),
            auto_delete_on_idle: entry.auto_delete_on_idle.map(|after| after.0),
            dead_letter_on_filter_error: entry.dead_letter_on_filter_error,
            rules: entry.rules.into_iter().map(Rule::from).collect(),
            ..defaults
        }
    }
}

impl From<AuthorizationEntry> for AuthorizationRule {
    fn from(entry: AuthorizationEntry) -> Self {
        let has = |right| entry.rights.contains(&right);
        Self {
            send: has(RightEntry::Send),
            listen: has(RightEntry::Listen),
            manage: has(RightEntry::Manage),
            ..Self::new(entry.name, entry.key)
        }
    }
}

impl From<RuleEntry> for Rule {
    fn from(entry: RuleEntry) -> Self {
        let property = |value| match value {
            PropertyEntry::Text(text) => PropertyValue::Text(text),
            PropertyEntry::Integer(number) => PropertyValue::Integer(number),
            PropertyEntry::Boolean(truth) => PropertyValue::Boolean(truth),
        };
        let properties = entry.properties.into_iter();
        if let Some(sql) = entry.sql {
            return Self {
                name: entry.name,
                filter: Filter::Sql(sql),
                action: entry.action,
            };
        }
        Self {
            name: entry.name,
            action: entry.action,
            filter: Filter::from(CorrelationFilter {
                content_type: entry.content_type,
                correlation_id: entry.correlation_id,
                message_id: entry.message_id,
                reply_to: entry.reply_to,
                reply_to_session_id: entry.reply_to_session_id,
                session_id: entry.session_id,
                subject: entry.subject,
                to: entry.to,
                properties: properties.map(|(name, value)| (name, property(value))).collect(),
            }),
        }
    }
}

impl From<EventHubEntry> for EventHub {
    fn from(entry: EventHubEntry) -> Self {
        let defaults = Self::new(entry.name);
        let groups = entry.consumer_groups.into_iter();
        Self {
            partition_count: entry.partitions.unwrap_or(defaults.partition_count),
            // `$Default` is always there; a file may name it all the same.
            consumer_groups: groups.filter(|name| !name.eq_ignore_ascii_case("$default")).collect(),
            retention: entry.retention.map_or(defaults.retention, |retention| retention.0),
            max_partition_bytes: entry.max_partition_bytes.unwrap_or(defaults.max_partition_bytes),
            opaque_offsets: entry.opaque_offsets,
            ..defaults
        }
    }
}

impl From<DatabaseEntry> for Database {
    fn from(entry: DatabaseEntry) -> Self {
        Self {
            name: entry.name,
            containers: entry.containers.into_iter().map(Container::from).collect(),
        }
    }
}

impl From<ContainerEntry> for Container {
    fn from(entry: ContainerEntry) -> Self {
        Self {
            name: entry.name,
            partition_key: match entry.partition_key {
                Paths::One(path) => vec![path],
                Paths::Several(paths) => paths,
            },
            time_to_live: entry.time_to_live.map_or(TimeToLive::Off, |ttl| ttl.0),
        }
    }
}
