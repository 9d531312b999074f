//! What entities exist: queues, topics with subscriptions and rules, event hubs, databases.
//!
//! Build a [`Topology`] in code, or read it from a TOML file that has all services in it or from the
//! `Config.json` of Microsoft's own Service Bus and Event Hubs emulators.

mod config_file;
mod cosmos;
mod duration;
mod error;
mod eventhubs;
mod servicebus;
mod sql;
mod toml_file;

pub use cosmos::{Container, Database, TimeToLive};
pub(crate) use duration::parse as parse_duration;
pub use error::TopologyError;
pub use eventhubs::EventHub;
pub use servicebus::{AuthorizationRule, CorrelationFilter, Filter, PropertyValue, Queue, Rule, Subscription, Topic};

use std::{collections::HashSet, fmt::Display, path::Path};

pub use crate::servicebus::EntityStatus;
use crate::servicebus::{SqlAction, SqlFilter};

/// All entities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Service Bus queues.
    pub queues: Vec<Queue>,
    /// Service Bus topics and what is below them.
    pub topics: Vec<Topic>,
    /// Event hubs.
    pub event_hubs: Vec<EventHub>,
    /// Cosmos DB databases. Clients can create theirs themselves.
    pub databases: Vec<Database>,
    /// Blob containers by name. Clients can create theirs themselves.
    pub blob_containers: Vec<String>,
}

impl Topology {
    /// No entities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a TOML file, told by its ending, or a `Config.json` of Microsoft's Service Bus or
    /// Event Hubs emulator.
    ///
    /// What this emulator does not implement is an error that names it, never ignored.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| TopologyError::Unreadable {
            file: name.clone(),
            source,
        })?;
        if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("toml"))
        {
            Self::from_toml(&name, &text)
        } else {
            Self::from_json(&name, &text)
        }
    }

    /// Reads the text of a TOML file; `name` is what errors call it.
    ///
    /// ```
    /// use azevents_emulator::Topology;
    ///
    /// let topology = Topology::from_toml("example", r#"
    ///     [[queue]]
    ///     name = "invoices"
    ///     sessions = true
    ///     lock_duration = "30s"
    ///
    ///     [[topic]]
    ///     name = "orders"
    ///     subscriptions = [{ name = "billing", rules = [{ name = "new", subject = "placed" }] }]
    ///
    ///     [[event_hub]]
    ///     name = "order-events"
    ///     partitions = 8
    ///
    ///     [[database]]
    ///     name = "shop"
    ///     containers = [{ name = "events", partition_key = "/stream", time_to_live = "per item" }]
    /// "#)?;
    /// assert_eq!(topology.databases[0].containers[0].name, "events");
    /// # Ok::<(), azevents_emulator::TopologyError>(())
    /// ```
    pub fn from_toml(name: &str, text: &str) -> Result<Self, TopologyError> {
        toml_file::parse(name, text)?.checked(name)
    }

    /// Reads the text of a `Config.json`; `name` is what errors call it.
    pub fn from_json(name: &str, json: &str) -> Result<Self, TopologyError> {
        config_file::parse(name, json)?.checked(name)
    }

    fn checked(self, name: &str) -> Result<Self, TopologyError> {
        match self.validate() {
            Ok(()) => Ok(self),
            Err(what) => Err(TopologyError::Inconsistent {
                file: name.into(),
                what,
            }),
        }
    }

    /// Adds all entities of another topology to this one.
    pub fn extend(&mut self, other: Self) {
        self.queues.extend(other.queues);
        self.topics.extend(other.topics);
        self.event_hubs.extend(other.event_hubs);
        self.databases.extend(other.databases);
        self.blob_containers.extend(other.blob_containers);
    }

    /// What a single entity can't know: names that are taken twice or can't be addressed.
    pub(crate) fn validate(&self) -> Result<(), String> {
        // Queues and topics share one namespace, as they share one address space.
        let entities = self.queues.iter().map(|queue| &queue.name);
        let entities = entities.chain(self.topics.iter().map(|topic| &topic.name));
        unique("queue or topic", entities, PATH)?;
        for topic in &self.topics {
            let what = format!("subscription of topic `{}`", topic.name);
            let names = topic.subscriptions.iter().map(|subscription| &subscription.name);
            unique(&what, names, NAME)?;
            for subscription in &topic.subscriptions {
                let what = format!("rule of subscription `{}/{}`", topic.name, subscription.name);
                unique(&what, subscription.rules.iter().map(|rule| &rule.name), NAME)?;
                for rule in &subscription.rules {
                    let wrong = |error| format!("{what} `{}`: {error}", rule.name);
                    if let Filter::Sql(text) = &rule.filter {
                        SqlFilter::parse(text).map_err(wrong)?;
                    }
                    if let Some(text) = &rule.action {
                        SqlAction::parse(text).map_err(wrong)?;
                    }
                }
            }
        }
        unique("event hub", self.event_hubs.iter().map(|hub| &hub.name), PATH)?;
        for hub in &self.event_hubs {
            let what = format!("consumer group of event hub `{}`", hub.name);
            unique(&what, hub.consumer_groups.iter(), NAME)?;
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
        unique("blob container", self.blob_containers.iter(), PATH)?;
        #[cfg(not(feature = "cosmos"))]
        if let Some(database) = self.databases.first() {
            return Err(format!(
                "database `{}`: this emulator was built without Cosmos DB; build it with the feature `cosmos`",
                database.name
            ));
        }
        distinct("database", self.databases.iter().map(|database| &database.name))?;
        for database in &self.databases {
            let what = format!("container of database `{}`", database.name);
            distinct(&what, database.containers.iter().map(|container| &container.name))?;
            for container in &database.containers {
                container
                    .validate()
                    .map_err(|why| format!("{what} `{}`: {why}", container.name))?;
            }
        }
        Ok(())
    }
}

/// Cosmos DB tells names that differ in case apart, and allows more characters in them ("Resource
/// naming limits").
fn distinct<'a>(what: impl Display, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || name.len() > 255 || name.contains(['/', '\\', '#', '?']) {
            return Err(format!(
                "{what} `{name}`: write a name of 1 to 255 characters without / \\ # ?"
            ));
        }
        if !seen.insert(name) {
            return Err(format!("{what} `{name}` is there twice; remove or rename one"));
        }
    }
    Ok(())
}

/// Characters in the name of a queue, topic or event hub ("Service Bus quotas", "Event Hubs quotas").
const PATH: usize = 260;

/// Characters in a name below one of those.
const NAME: usize = 50;

/// Entity names are compared without case, as the services do.
fn unique<'a>(what: impl Display, names: impl Iterator<Item = &'a String>, most: usize) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        addressable(name, most).map_err(|why| format!("{what} `{name}`: {why}"))?;
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("{what} `{name}` is there twice; remove or rename one"));
        }
    }
    Ok(())
}

/// The characters Service Bus and Event Hubs allow in names, of which `/` separates levels and `$`
/// starts the names the services keep for themselves.
fn addressable(name: &str, most: usize) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '$');
    let remedy = if name.is_empty() || name.len() > most {
        return Err(format!("write a name of 1 to {most} characters"));
    } else if !name.chars().all(allowed) {
        "letters, digits, `.`, `-`, `_` and `/`"
    } else if name.starts_with('/') || name.ends_with('/') {
        "characters of which neither the first nor the last is a `/`"
    } else {
        return Ok(());
    };
    Err(format!("write a name of {remedy}"))
}
