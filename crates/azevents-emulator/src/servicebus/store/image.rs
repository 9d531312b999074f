//! What all records together say.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::records::{Change, Changed};
use crate::servicebus::{
    config::{QueueConfig, SubscriptionConfig, TopicConfig},
    engine::Contents,
    usage::Times,
};

/// What was created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) enum Entity {
    Queue(QueueConfig),
    Topic(TopicConfig),
    /// With its topic.
    Subscription(u64, SubscriptionConfig),
}

/// The entities that are there, and what their queues hold.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// A topic comes before its subscriptions.
    pub(super) entities: BTreeMap<u64, Entity>,
    pub(super) contents: HashMap<(u64, String), Contents>,
    pub(super) times: HashMap<u64, Times>,
}

impl Image {
    /// Takes a record in.
    pub(super) fn apply(&mut self, record: crate::state::Record<'_>) -> Result<(), String> {
        let mut bytes = Bytes::copy_from_slice(record.bytes);
        for change in record.read::<Vec<Change>>()? {
            match change {
                Change::Entity(id, entity) => {
                    self.entities.insert(id, *entity);
                }
                Change::Deleted(id) => self.delete(id),
                Change::Contents(changed) => self.change(*changed, &mut bytes)?,
                Change::Times(id, times) => {
                    self.times.insert(id, times);
                }
                Change::Used(id, at) => {
                    if let Some(times) = self.times.get_mut(&id) {
                        times.use_at(at);
                    }
                }
            }
        }
        Ok(())
    }

    /// What happened to a queue after it was deleted, by those who still had it, is left out.
    fn change(&mut self, changed: Changed, bytes: &mut Bytes) -> Result<(), String> {
        let key = (changed.of, changed.path.clone());
        let contents = changed.read(bytes)?;
        if self.entities.contains_key(&key.0) {
            self.contents.entry(key).or_default().apply(contents);
        }
        Ok(())
    }

    fn delete(&mut self, id: u64) {
        self.entities.remove(&id);
        self.entities
            .retain(|_, entity| !matches!(entity, Entity::Subscription(topic, _) if *topic == id));
        self.contents.retain(|(of, _), _| self.entities.contains_key(of));
        self.times.retain(|id, _| *id == 0 || self.entities.contains_key(id));
    }

    pub(super) fn last_id(&self) -> u64 {
        self.entities.last_key_value().map_or(0, |(id, _)| *id)
    }
}
