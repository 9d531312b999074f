//! Cosmos DB databases and containers.

use std::time::Duration;

/// A database. Clients create theirs themselves; one that is there from the start saves a program
/// that isn't allowed to.
///
/// ```
/// use azevents_emulator::{Container, Database};
///
/// let shop = Database::new("shop").with_container(Container::new("events", "/stream"));
/// # let _ = shop;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Database {
    /// Its id.
    pub name: String,
    /// What is in it.
    pub containers: Vec<Container>,
}

impl Database {
    /// An empty database.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            containers: Vec::new(),
        }
    }

    /// Adds a container.
    #[must_use]
    pub fn with_container(mut self, container: Container) -> Self {
        self.containers.push(container);
        self
    }
}

impl From<&str> for Database {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// A container of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// Its id.
    pub name: String,
    /// Where items have their partition key, such as `/stream`; several make it hierarchical.
    pub partition_key: Vec<String>,
    /// Whether and when items expire.
    pub time_to_live: TimeToLive,
}

/// A container's `defaultTtl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeToLive {
    /// Nothing expires, whatever items say.
    #[default]
    Off,
    /// Items expire if they say so.
    PerItem,
    /// Items expire after so long, unless they say otherwise. To the second.
    After(Duration),
}

impl Container {
    /// A container with one level of partition key.
    pub fn new(name: impl Into<String>, partition_key: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partition_key: vec![partition_key.into()],
            time_to_live: TimeToLive::default(),
        }
    }

    /// Adds a level below the partition key so far.
    #[must_use]
    pub fn with_level(mut self, path: impl Into<String>) -> Self {
        self.partition_key.push(path.into());
        self
    }

    /// Sets whether and when items expire.
    #[must_use]
    pub fn with_time_to_live(mut self, time_to_live: TimeToLive) -> Self {
        self.time_to_live = time_to_live;
        self
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if self.partition_key.is_empty() || self.partition_key.len() > 3 {
            return Err("write one to three paths as partition_key".into());
        }
        match self
            .partition_key
            .iter()
            .find(|path| !path.starts_with('/') || path.len() < 2)
        {
            Some(path) => Err(format!(
                "the partition key `{path}` is not a path; write for example \"/stream\""
            )),
            None => Ok(()),
        }
    }
}
