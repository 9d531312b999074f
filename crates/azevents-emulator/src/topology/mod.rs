//! What entities exist: queues, topics with subscriptions and rules, event hubs.
//!
//! Build a [`Topology`] in code, or read it from the `Config.json` of Microsoft's own Service Bus
//! and Event Hubs emulators.

mod config_file;
mod duration;
mod error;
mod eventhubs;
mod servicebus;

pub use error::TopologyError;
pub use eventhubs::EventHub;
pub use servicebus::{CorrelationFilter, Filter, PropertyValue, Queue, Rule, Subscription, Topic};

use std::{collections::HashSet, fmt::Display, path::Path};

/// All entities of a namespace. Cosmos DB needs none: its clients create databases and containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Service Bus queues.
    pub queues: Vec<Queue>,
    /// Service Bus topics and what is below them.
    pub topics: Vec<Topic>,
    /// Event hubs.
    pub event_hubs: Vec<EventHub>,
}

impl Topology {
    /// No entities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a `Config.json` of Microsoft's Service Bus or Event Hubs emulator.
    ///
    /// What this emulator does not implement is an error that names it, never ignored.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let json = std::fs::read_to_string(path).map_err(|source| TopologyError::Unreadable {
            file: name.clone(),
            source,
        })?;
        Self::from_json(&name, &json)
    }

    /// Reads the text of a `Config.json`; `name` is what errors call it.
    pub fn from_json(name: &str, json: &str) -> Result<Self, TopologyError> {
        let topology = config_file::parse(name, json)?;
        topology.validate().map_err(|what| TopologyError::Inconsistent {
            file: name.into(),
            what,
        })?;
        Ok(topology)
    }

    /// Adds all entities of another topology to this one.
    pub fn extend(&mut self, other: Self) {
        self.queues.extend(other.queues);
        self.topics.extend(other.topics);
        self.event_hubs.extend(other.event_hubs);
    }

    /// What a single entity can't know: names that are taken twice or can't be addressed.
    pub(crate) fn validate(&self) -> Result<(), String> {
        // Queues and topics share one namespace, as they share one address space.
        let entities = self.queues.iter().map(|queue| &queue.name);
        let entities = entities.chain(self.topics.iter().map(|topic| &topic.name));
        unique("queue or topic", entities)?;
        for topic in &self.topics {
            let what = format!("subscription of topic `{}`", topic.name);
            unique(&what, topic.subscriptions.iter().map(|subscription| &subscription.name))?;
            for subscription in &topic.subscriptions {
                let what = format!("rule of subscription `{}/{}`", topic.name, subscription.name);
                unique(&what, subscription.rules.iter().map(|rule| &rule.name))?;
            }
        }
        unique("event hub", self.event_hubs.iter().map(|hub| &hub.name))?;
        for hub in &self.event_hubs {
            let what = format!("consumer group of event hub `{}`", hub.name);
            unique(&what, hub.consumer_groups.iter())?;
            if !EventHub::PARTITIONS.contains(&hub.partition_count) {
                return Err(format!(
                    "event hub `{}` has {} partitions; write a PartitionCount from {} to {}",
                    hub.name,
                    hub.partition_count,
                    EventHub::PARTITIONS.start(),
                    EventHub::PARTITIONS.end(),
                ));
            }
        }
        Ok(())
    }
}

/// Entity names are compared without case, as the services do.
fn unique<'a>(what: impl Display, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        addressable(name).map_err(|why| format!("{what} `{name}`: {why}"))?;
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("{what} `{name}` is there twice; remove or rename one"));
        }
    }
    Ok(())
}

/// The characters Service Bus and Event Hubs allow in names, of which `/` separates levels and `$`
/// starts the names the services keep for themselves.
fn addressable(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '$');
    if name.is_empty() || name.len() > 260 {
        return Err("write a name of 1 to 260 characters");
    }
    if !name.chars().all(allowed) {
        return Err("write a name of letters, digits, `.`, `-`, `_` and `/`");
    }
    if name.starts_with('/') || name.ends_with('/') {
        return Err("write a name that neither starts nor ends with `/`");
    }
    Ok(())
}
