//! Entities that are created.

use std::sync::Arc;

use super::{Entity, Namespace};
use crate::servicebus::{
    BrokerError, NamespaceConfig, authorization,
    config::{QueueConfig, SubscriptionConfig, TopicConfig},
    engine::Rules,
    queue::{Queue, Surroundings},
    topic::Topic,
};

impl Namespace {
    /// The queue of this name, created if it isn't there; an existing one keeps its settings and
    /// messages. Needs a tokio runtime.
    pub(crate) fn create_queue(&self, config: &QueueConfig) -> Result<Arc<Queue>, BrokerError> {
        self.config().check_partitions(config.partitioned)?;
        let authorization = authorization::complete(&config.authorization, &[], self.clock().now());
        let config = QueueConfig {
            authorization,
            ..config.clone()
        };
        self.create_queue_around(&config, &self.around.anew())
    }

    pub(super) fn create_queue_around(
        &self,
        config: &QueueConfig,
        around: &Surroundings,
    ) -> Result<Arc<Queue>, BrokerError> {
        config.check(around.limits)?;
        let entity = self.create(&config.name, around.limits, || {
            around.kept.queue(config);
            around.usage.created(config.auto_delete_on_idle);
            let queue = Queue::new(Rules::of_queue(config), config.duplicate_detection, around);
            Entity::Queue(queue, Arc::new(config.clone()))
        })?;
        match entity {
            Entity::Queue(queue, _) => Ok(queue),
            Entity::Topic(_) => Err(taken(&config.name, "topic")),
        }
    }

    /// The topic of this name, created if it isn't there; an existing one keeps its settings.
    pub(crate) fn create_topic(&self, config: &TopicConfig) -> Result<Arc<Topic>, BrokerError> {
        self.config().check_partitions(config.partitioned)?;
        let authorization = authorization::complete(&config.authorization, &[], self.clock().now());
        let config = TopicConfig {
            authorization,
            ..config.clone()
        };
        self.create_topic_around(&config, &self.around.anew())
    }

    pub(super) fn create_topic_around(
        &self,
        config: &TopicConfig,
        around: &Surroundings,
    ) -> Result<Arc<Topic>, BrokerError> {
        config.check(around.limits)?;
        let entity = self.create(&config.name, around.limits, || {
            around.kept.topic(config);
            around.usage.created(config.auto_delete_on_idle);
            Entity::Topic(Arc::new(Topic::new(config, self.config(), around)))
        })?;
        match entity {
            Entity::Topic(topic) => Ok(topic),
            Entity::Queue(..) => Err(taken(&config.name, "queue")),
        }
    }

    /// The subscription of this name to a topic, created if it isn't there; an existing one keeps
    /// its settings and messages.
    pub(crate) fn create_subscription(
        &self,
        topic: &str,
        config: &SubscriptionConfig,
    ) -> Result<Arc<Queue>, BrokerError> {
        let path = format!("{topic}/Subscriptions/{}", config.name);
        config.check(&path)?;
        match self.entity(topic) {
            Some(Entity::Topic(topic)) => topic.subscribe(config, &self.around.anew()),
            _ => Err(BrokerError::EntityNotFound(topic.into())),
        }
    }

    fn create(&self, name: &str, limits: NamespaceConfig, new: impl FnOnce() -> Entity) -> Result<Entity, BrokerError> {
        let path = name.to_lowercase();
        self.changing(|entities| {
            if !entities.contains_key(&path) {
                limits.check_entities(entities.len())?;
            }
            Ok(entities.entry(path).or_insert_with(new).clone())
        })
    }
}

fn taken(name: &str, by: &str) -> BrokerError {
    BrokerError::NotAllowed(format!("There is already a {by} named '{name}'."))
}
