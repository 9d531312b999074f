//! The `Config.json` of Microsoft's Service Bus and Event Hubs emulators, as they document it.
//!
//! Every check happens while a value is being read, so that the error carries its line.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error};

use super::{
    CorrelationFilter, EventHub, Filter, PropertyValue, Queue, Rule, Subscription, Topic, Topology, TopologyError,
    duration::IsoDuration,
    sql::{sql_action, sql_filter},
};

pub(super) fn parse(name: &str, json: &str) -> Result<Topology, TopologyError> {
    // Some of Microsoft's samples start with a byte order mark.
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    let file: File = serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // serde_json ends its message with the position, which stands in front here.
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
        TopologyError::Malformed {
            file: name.into(),
            line,
            column,
            what,
        }
    })?;
    let mut topology = Topology::new();
    for namespace in file.user_config.namespaces {
        topology.queues.extend(namespace.queues.into_iter().map(Queue::from));
        topology.topics.extend(namespace.topics.into_iter().map(Topic::from));
        topology
            .event_hubs
            .extend(namespace.entities.into_iter().map(EventHub::from));
    }
    Ok(topology)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct File {
    user_config: UserConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct UserConfig {
    /// `Namespaces` for Service Bus, `NamespaceConfig` for Event Hubs.
    #[serde(alias = "NamespaceConfig", default)]
    namespaces: Vec<Namespace>,
    /// Where Microsoft's emulators write their log; ours goes to standard error.
    #[serde(alias = "LoggingConfig", default, rename = "Logging")]
    _logging: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Namespace {
    /// Clients don't say which namespace they mean, so all share one.
    #[serde(default, rename = "Name")]
    _name: serde::de::IgnoredAny,
    #[serde(default, rename = "Type")]
    _type: serde::de::IgnoredAny,
    #[serde(default)]
    queues: Vec<QueueEntry>,
    #[serde(default)]
    topics: Vec<TopicEntry>,
    #[serde(default)]
    entities: Vec<EventHubEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct QueueEntry {
    name: String,
    #[serde(default)]
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TopicEntry {
    name: String,
    #[serde(default)]
    properties: TopicProperties,
    #[serde(default)]
    subscriptions: Vec<SubscriptionEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SubscriptionEntry {
    name: String,
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    rules: Vec<RuleEntry>,
}

/// Properties of queues and subscriptions.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Properties {
    lock_duration: Option<IsoDuration>,
    #[serde(deserialize_with = "at_least_one")]
    max_delivery_count: Option<u32>,
    requires_session: bool,
    requires_duplicate_detection: bool,
    duplicate_detection_history_time_window: Option<IsoDuration>,
    default_message_time_to_live: Option<IsoDuration>,
    dead_lettering_on_message_expiration: bool,
    #[serde(deserialize_with = "text_or_nothing")]
    forward_to: Option<String>,
    #[serde(deserialize_with = "text_or_nothing")]
    forward_dead_lettered_messages_to: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct TopicProperties {
    requires_duplicate_detection: bool,
    duplicate_detection_history_time_window: Option<IsoDuration>,
    default_message_time_to_live: Option<IsoDuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleEntry {
    name: String,
    properties: RuleProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RuleProperties {
    #[serde(rename = "FilterType", default, deserialize_with = "filter_type")]
    _filter_type: (),
    #[serde(default)]
    correlation_filter: CorrelationEntry,
    /// Goes before the other, if both are there.
    sql_filter: Option<SqlFilterEntry>,
    action: Option<SqlActionEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqlFilterEntry {
    #[serde(deserialize_with = "sql_filter")]
    sql_expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqlActionEntry {
    #[serde(deserialize_with = "sql_action")]
    sql_expression: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct CorrelationEntry {
    content_type: Option<String>,
    correlation_id: Option<String>,
    #[serde(alias = "Subject")]
    label: Option<String>,
    message_id: Option<String>,
    reply_to: Option<String>,
    reply_to_session_id: Option<String>,
    session_id: Option<String>,
    to: Option<String>,
    properties: BTreeMap<String, PropertyEntry>,
}

struct PropertyEntry(PropertyValue);

impl<'de> Deserialize<'de> for PropertyEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        let value = Value::deserialize(deserializer)?;
        let property = match &value {
            Value::String(text) => Some(PropertyValue::Text(text.clone())),
            Value::Bool(truth) => Some(PropertyValue::Boolean(*truth)),
            Value::Number(number) => number.as_i64().map(PropertyValue::Integer),
            _ => None,
        };
        property.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "a filter on the property value {value} is not supported by this emulator; write a \
                 string, an integer or a boolean"
            ))
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct EventHubEntry {
    name: String,
    #[serde(deserialize_with = "number_or_text")]
    partition_count: u32,
    #[serde(default)]
    consumer_groups: Vec<ConsumerGroupEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ConsumerGroupEntry {
    name: String,
}

/// The history window when duplicate detection is asked for without one: Azure's default.
const DEFAULT_HISTORY: std::time::Duration = std::time::Duration::from_secs(10 * 60);

fn duplicate_detection(required: bool, window: Option<IsoDuration>) -> Option<std::time::Duration> {
    required.then(|| window.map_or(DEFAULT_HISTORY, |window| window.0))
}

impl From<QueueEntry> for Queue {
    fn from(QueueEntry { name, properties: p }: QueueEntry) -> Self {
        let defaults = Self::new(name);
        Self {
            lock_duration: p.lock_duration.map_or(defaults.lock_duration, |lock| lock.0),
            max_delivery_count: p.max_delivery_count.unwrap_or(defaults.max_delivery_count),
            requires_session: p.requires_session,
            duplicate_detection: duplicate_detection(
                p.requires_duplicate_detection,
                p.duplicate_detection_history_time_window,
            ),
            default_time_to_live: p.default_message_time_to_live.map(|ttl| ttl.0),
            dead_letter_on_expiration: p.dead_lettering_on_message_expiration,
            forward_to: p.forward_to,
            forward_dead_letters_to: p.forward_dead_lettered_messages_to,
            ..defaults
        }
    }
}

impl From<TopicEntry> for Topic {
    fn from(entry: TopicEntry) -> Self {
        let p = entry.properties;
        Self {
            duplicate_detection: duplicate_detection(
                p.requires_duplicate_detection,
                p.duplicate_detection_history_time_window,
            ),
            default_time_to_live: p.default_message_time_to_live.map(|ttl| ttl.0),
            subscriptions: entry.subscriptions.into_iter().map(Subscription::from).collect(),
            ..Self::new(entry.name)
        }
    }
}

impl From<SubscriptionEntry> for Subscription {
    fn from(
        SubscriptionEntry {
            name,
            properties: p,
            rules,
        }: SubscriptionEntry,
    ) -> Self {
        let defaults = Self::new(name);
        Self {
            lock_duration: p.lock_duration.map_or(defaults.lock_duration, |lock| lock.0),
            max_delivery_count: p.max_delivery_count.unwrap_or(defaults.max_delivery_count),
            requires_session: p.requires_session,
            default_time_to_live: p.default_message_time_to_live.map(|ttl| ttl.0),
            dead_letter_on_expiration: p.dead_lettering_on_message_expiration,
            forward_to: p.forward_to,
            forward_dead_letters_to: p.forward_dead_lettered_messages_to,
            rules: rules.into_iter().map(Rule::from).collect(),
            ..defaults
        }
    }
}

impl From<RuleEntry> for Rule {
    fn from(RuleEntry { name, properties }: RuleEntry) -> Self {
        let action = properties.action.and_then(|action| action.sql_expression);
        if let Some(sql) = properties.sql_filter.and_then(|filter| filter.sql_expression) {
            let filter = Filter::Sql(sql);
            return Self { name, filter, action };
        }
        let c = properties.correlation_filter;
        let filter = Filter::from(CorrelationFilter {
            content_type: c.content_type,
            correlation_id: c.correlation_id,
            message_id: c.message_id,
            reply_to: c.reply_to,
            reply_to_session_id: c.reply_to_session_id,
            session_id: c.session_id,
            subject: c.label,
            to: c.to,
            properties: c.properties.into_iter().map(|(name, value)| (name, value.0)).collect(),
        });
        Self { name, filter, action }
    }
}

impl From<EventHubEntry> for EventHub {
    fn from(entry: EventHubEntry) -> Self {
        let groups = entry.consumer_groups.into_iter().map(|group| group.name);
        // `$Default` is always there; a file may name it all the same.
        let groups = groups.filter(|name| !name.eq_ignore_ascii_case("$default")).collect();
        Self {
            consumer_groups: groups,
            ..Self::new(entry.name)
        }
        .with_partition_count(entry.partition_count)
    }
}

/// Microsoft's sample writes the number of partitions as a string, its documentation as a number.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u32),
        Text(String),
    }
    let wrong = "PartitionCount must be a whole number; write for example \"PartitionCount\": 4";
    match NumberOrText::deserialize(deserializer) {
        Ok(NumberOrText::Number(number)) => Ok(number),
        Ok(NumberOrText::Text(text)) => text.trim().parse().map_err(|_| D::Error::custom(wrong)),
        Err(_) => Err(D::Error::custom(wrong)),
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(deserializer)? {
        Some(0) => Err(D::Error::custom("MaxDeliveryCount must be at least 1")),
        count => Ok(count),
    }
}

/// Microsoft's sample writes empty text for nothing.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn filter_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let kind = String::deserialize(deserializer)?;
    if kind.eq_ignore_ascii_case("correlation") || kind.eq_ignore_ascii_case("sql") {
        return Ok(());
    }
    Err(D::Error::custom(format_args!(
        "there is no filter type `{kind}`; write \"Correlation\" with a CorrelationFilter, or \"Sql\" with a SqlFilter"
    )))
}
