//! Entities that are changed and deleted.

use std::sync::Arc;

use super::{Entities, Entity, Namespace};
use crate::servicebus::{
    BrokerError, authorization,
    clock::Timestamp,
    config::{QueueConfig, TopicConfig},
    engine::Rules,
    idle::{self, Earliest},
};

impl Namespace {
    /// Changes the settings of a queue.
    pub(crate) fn update_queue(&self, config: &QueueConfig) -> Result<(), BrokerError> {
        config.check(self.config())?;
        self.changing(|entities| Self::update_queue_among(entities, config))
    }

    fn update_queue_among(entities: &mut Entities, config: &QueueConfig) -> Result<(), BrokerError> {
        let Some(Entity::Queue(queue, current)) = entities.get_mut(&config.name.to_lowercase()) else {
            return Err(BrokerError::EntityNotFound(config.name.clone()));
        };
        unchanged(
            "RequiresSession",
            "Queue",
            current.requires_session == config.requires_session,
        )?;
        let detects = |config: &QueueConfig| config.duplicate_detection.is_some();
        unchanged(
            "RequiresDuplicateDetection",
            "Queue",
            detects(current) == detects(config),
        )?;
        unchanged_partitions("Queue", current.partitioned == config.partitioned)?;
        *current = Arc::new(QueueConfig {
            name: current.name.clone(),
            authorization: authorization::complete(&config.authorization, &current.authorization, queue.now()),
            ..config.clone()
        });
        queue.kept().queue(current);
        queue.set_rules(Rules::of_queue(current));
        queue.set_duplicate_window(current.duplicate_detection);
        queue.usage().updated(current.auto_delete_on_idle);
        Ok(())
    }

    /// Changes the settings of a topic.
    pub(crate) fn update_topic(&self, config: &TopicConfig) -> Result<(), BrokerError> {
        match self.entity(&config.name) {
            Some(Entity::Topic(topic)) => topic.update(config),
            _ => Err(BrokerError::EntityNotFound(config.name.clone())),
        }
    }

    /// Takes a queue or a topic away, with its messages. Who still has a link to it can't send on
    /// it any more, and is told so where it receives.
    pub(crate) fn delete(&self, name: &str) -> Result<(), BrokerError> {
        self.changing(|entities| {
            let entity = entities.remove(&name.to_lowercase());
            let entity = entity.ok_or_else(|| BrokerError::EntityNotFound(name.to_owned()))?;
            entity.end();
            Ok(())
        })
    }

    /// Deletes what nobody has used for as long as its settings say; gives the time to look again.
    pub(in super::super) fn delete_idle(&self) -> Option<Timestamp> {
        let now = self.clock().now();
        let mut next = Earliest::default();
        for topic in self.topics() {
            topic.delete_idle(now, &mut next);
        }
        self.changing(|entities| {
            entities.retain(|path, entity| {
                let (queue, after) = match entity {
                    Entity::Queue(queue, config) => (&*queue, config.auto_delete_on_idle),
                    Entity::Topic(topic) => (topic.intake(), topic.config().auto_delete_on_idle),
                };
                let stays = !after.is_some_and(|after| next.is_over(idle::due(queue, after, now), now));
                if !stays {
                    tracing::info!(path, "deleted, as it was idle");
                    entity.end();
                }
                stays
            });
        });
        next.get()
    }
}

/// Refuses an update of what is chosen when an entity is created ("Service Bus Resource Manager exceptions").
pub(in super::super) fn unchanged(property: &str, kind: &str, is: bool) -> Result<(), BrokerError> {
    if is {
        return Ok(());
    }
    Err(BrokerError::NotAllowed(format!(
        "The value for the {property} property of an existing {kind} cannot be changed."
    )))
}

/// As [`unchanged`], in the service's words for partitions.
pub(in super::super) fn unchanged_partitions(kind: &str, is: bool) -> Result<(), BrokerError> {
    if is {
        return Ok(());
    }
    Err(BrokerError::NotAllowed(format!(
        "Partitioning cannot be changed for {kind}."
    )))
}
