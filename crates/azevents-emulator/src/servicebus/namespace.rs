//! The entities of a Service Bus namespace, by address.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    BrokerError, NamespaceConfig,
    authorization::{self, AuthorizationRule},
    clock::{Clock, Timestamp},
    config::{QueueConfig, SubscriptionConfig, TopicConfig},
    engine::Rules,
    forwarding,
    idle::{self, Earliest},
    queue::{Queue, Surroundings},
    store::{self, Kept, Record},
    topic::Topic,
    usage::{Times, Usage},
};
use crate::{
    faults::Faults,
    state::{DataError, Folder, Journal},
};

/// Queues, topics and subscriptions. Paths are compared without regard to case, as in the service.
pub(crate) struct Namespace {
    around: Surroundings,
    entities: RwLock<Entities>,
    /// Told when an entity may be deleted by itself.
    settings: Arc<Notify>,
    /// Messages are passed on from one entity to another, and what is idle is deleted.
    tasks: Mutex<Vec<AbortHandle>>,
}

/// By path in lower case.
type Entities = HashMap<String, Entity>;

#[derive(Clone, Debug)]
enum Entity {
    Queue(Arc<Queue>, Arc<QueueConfig>),
    Topic(Arc<Topic>),
}

impl Entity {
    /// It is gone, with what is below it.
    fn end(&self) {
        let intake = match self {
            Self::Queue(queue, _) => queue,
            Self::Topic(topic) => {
                for (subscription, _) in topic.subscriptions() {
                    subscription.mark_deleted();
                }
                topic.intake()
            }
        };
        intake.mark_deleted();
        intake.kept().deleted();
    }
}

/// What an address leads to.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A queue: send and receive.
    Queue(Arc<Queue>),
    /// A topic: send.
    Topic(Arc<Topic>),
    /// A subscription or a dead-letter queue: receive.
    ReceiveOnly(Arc<Queue>),
}

impl Node {
    /// Where messages to this node go, if it can be sent to.
    pub(crate) fn intake(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(topic) => Some(topic.intake()),
            Self::ReceiveOnly(_) => None,
        }
    }

    /// Where messages come from, if it can be received from.
    pub(crate) fn outlet(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::Queue(queue) | Self::ReceiveOnly(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    /// Where `$management` requests go: whatever has scheduled, peeked or locked messages.
    pub(crate) fn managed(&self) -> &Arc<Queue> {
        match self {
            Self::Queue(queue) | Self::ReceiveOnly(queue) => queue,
            Self::Topic(topic) => topic.intake(),
        }
    }
}

impl Namespace {
    /// An empty namespace.
    #[cfg(test)]
    pub(crate) fn new(config: NamespaceConfig, clock: Clock, faults: Faults) -> Self {
        Self::around(config, clock, faults, Kept::default())
    }

    /// A namespace with what is kept in the folder. Needs a tokio runtime.
    pub(crate) fn open(
        config: NamespaceConfig,
        clock: Clock,
        faults: Faults,
        folder: Option<&Folder>,
    ) -> Result<Arc<Self>, DataError> {
        let Some(folder) = folder else {
            return Ok(Self::start(Self::around(config, clock, faults, Kept::default())));
        };
        let (kept, restoring) = Kept::open(folder)?;
        let namespace = Self::start(Self::around(config, clock, faults, kept));
        let state = Arc::downgrade(&namespace);
        namespace.around.kept.restoring(
            restoring,
            |entity, kept| namespace.restore(entity, kept),
            move || {
                let namespace = state.upgrade()?;
                let mut records = Vec::new();
                namespace.describe(&mut records);
                Some(records)
            },
        )?;
        // What is new is written down, and what is not is so once more.
        namespace.around.usage.created(None);
        Ok(namespace)
    }

    fn around(config: NamespaceConfig, clock: Clock, faults: Faults, kept: Kept) -> Self {
        let settings = Arc::default();
        Self {
            around: Surroundings {
                limits: config,
                usage: Usage::new(&clock, &kept, &settings),
                clock,
                faults,
                kept,
                forwarder: Arc::default(),
            },
            entities: RwLock::default(),
            settings,
            tasks: Mutex::default(),
        }
    }

    /// Lets entities forward, and end by themselves.
    fn start(self) -> Arc<Self> {
        let namespace = Arc::new(self);
        let forwarder = Arc::clone(&namespace.around.forwarder);
        let forwarding = tokio::spawn(forwarding::run(Arc::downgrade(&namespace), forwarder));
        let (clock, settings) = (namespace.clock().clone(), Arc::clone(&namespace.settings));
        let deleting = tokio::spawn(idle::run(Arc::downgrade(&namespace), clock, settings));
        let mut tasks = namespace.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.extend([forwarding, deleting].map(|task| task.abort_handle()));
        drop(tasks);
        namespace
    }

    /// Creates once more what was kept.
    fn restore(&self, entity: store::Entity, kept: Kept) -> Result<(), BrokerError> {
        let around = Surroundings {
            usage: self.around.usage.another(&kept),
            kept,
            // They may be lower than they were.
            limits: NamespaceConfig::none(),
            ..self.around.clone()
        };
        match entity {
            store::Entity::Queue(config) => self.create_queue_around(&config, &around).map(drop),
            store::Entity::Topic(config) => self.create_topic_around(&config, &around).map(drop),
            store::Entity::Subscription(of, config) => {
                let topic = self.topics().into_iter().find(|topic| topic.kept().is(of));
                let topic = topic.ok_or_else(|| BrokerError::EntityNotFound(config.name.clone()))?;
                topic.subscribe(&config, &around).map(drop)
            }
        }
    }

    /// Writes all there is into a log written anew.
    pub(super) fn describe(&self, records: &mut Vec<Record>) {
        self.kept().describe_times(records, self.times());
        for (queue, config) in self.queues() {
            let entity = store::Entity::Queue((*config).clone());
            queue
                .kept()
                .describe_entity(records, entity, queue.usage().written_times());
            queue.describe(records);
        }
        for topic in self.topics() {
            topic.describe(records);
        }
    }

    /// Waits until everything that has happened so far is written down.
    pub(crate) async fn written(&self) -> Result<(), BrokerError> {
        self.around.kept.written().await
    }

    /// What is kept, if anything is.
    pub(crate) fn journal(&self) -> &Journal {
        self.around.kept.journal()
    }

    /// How to wait for what has happened, without the namespace.
    pub(super) fn kept(&self) -> &Kept {
        &self.around.kept
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// The time it runs by.
    pub(super) fn clock(&self) -> &Clock {
        &self.around.clock
    }

    /// When it was created.
    pub(crate) fn times(&self) -> Times {
        self.around.usage.written_times()
    }

    /// The limits of its tier.
    pub(crate) fn config(&self) -> NamespaceConfig {
        self.around.limits
    }

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

    fn create_queue_around(&self, config: &QueueConfig, around: &Surroundings) -> Result<Arc<Queue>, BrokerError> {
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

    fn create_topic_around(&self, config: &TopicConfig, around: &Surroundings) -> Result<Arc<Topic>, BrokerError> {
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

    /// What an entity address leads to: `queue`, `topic`, `topic/Subscriptions/name`, or the
    /// `/$DeadLetterQueue` of a queue or subscription. Scheme and host are already cut off.
    pub(crate) fn resolve(&self, address: &str) -> Result<Node, BrokerError> {
        let not_found = || BrokerError::EntityNotFound(address.into());
        let path = address.trim_matches('/');
        if let Some(path) = strip_suffix_ignoring_case(path, "/$Transfer/$DeadLetterQueue") {
            let node = self.resolve(path)?;
            let dead = node.outlet().and_then(|queue| queue.transfer_dead_letters());
            return dead
                .map(|queue| Node::ReceiveOnly(Arc::clone(queue)))
                .ok_or_else(not_found);
        }
        if let Some(path) = strip_suffix_ignoring_case(path, "/$DeadLetterQueue") {
            let node = self.resolve(path)?;
            let dead = node.outlet().and_then(|queue| queue.dead_letters());
            return dead
                .map(|queue| Node::ReceiveOnly(Arc::clone(queue)))
                .ok_or_else(not_found);
        }
        match self.entity(path) {
            Some(Entity::Queue(queue, _)) => return Ok(Node::Queue(queue)),
            Some(Entity::Topic(topic)) => return Ok(Node::Topic(topic)),
            None => {}
        }
        let (topic, subscription) = split_subscription(path).ok_or_else(not_found)?;
        match self.entity(topic) {
            Some(Entity::Topic(topic)) => topic.subscription(subscription).map(Node::ReceiveOnly),
            _ => None,
        }
        .ok_or_else(not_found)
    }

    /// The topic and the name of a subscription by its address, if it is one.
    pub(crate) fn subscription(&self, address: &str) -> Option<(Arc<Topic>, String)> {
        let (topic, name) = split_subscription(address.trim_matches('/'))?;
        match self.entity(topic) {
            Some(Entity::Topic(topic)) if topic.subscription(name).is_some() => Some((topic, name.to_owned())),
            _ => None,
        }
    }

    /// The shared access rules of the queue or topic with this path.
    pub(super) fn authorization_of(&self, path: &str) -> Option<Vec<AuthorizationRule>> {
        self.entity(path).map(|entity| match entity {
            Entity::Queue(_, config) => config.authorization.clone(),
            Entity::Topic(topic) => topic.config().authorization,
        })
    }

    /// All queues with their settings, by name.
    pub(crate) fn queues(&self) -> Vec<(Arc<Queue>, Arc<QueueConfig>)> {
        let mut queues: Vec<_> = self.all(|entity| match entity {
            Entity::Queue(queue, config) => Some((queue, config)),
            Entity::Topic(_) => None,
        });
        queues.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        queues
    }

    /// All topics, by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.all(|entity| match entity {
            Entity::Topic(topic) => Some(topic),
            Entity::Queue(..) => None,
        });
        topics.sort_by_key(|topic| topic.config().name.clone());
        topics
    }

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
    pub(super) fn delete_idle(&self) -> Option<Timestamp> {
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

    fn all<T>(&self, pick: impl Fn(Entity) -> Option<T>) -> Vec<T> {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        entities.values().cloned().filter_map(pick).collect()
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

    fn changing<R>(&self, change: impl FnOnce(&mut Entities) -> R) -> R {
        // The unit before the lock; see `store`.
        self.around
            .kept
            .unit(|| change(&mut self.entities.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn entity(&self, path: &str) -> Option<Entity> {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        entities.get(&path.to_lowercase()).cloned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Refuses an update of what is chosen when an entity is created ("Service Bus Resource Manager exceptions").
pub(super) fn unchanged(property: &str, kind: &str, is: bool) -> Result<(), BrokerError> {
    if is {
        return Ok(());
    }
    Err(BrokerError::NotAllowed(format!(
        "The value for the {property} property of an existing {kind} cannot be changed."
    )))
}

/// As [`unchanged`], in the service's words for partitions.
pub(super) fn unchanged_partitions(kind: &str, is: bool) -> Result<(), BrokerError> {
    if is {
        return Ok(());
    }
    Err(BrokerError::NotAllowed(format!(
        "Partitioning cannot be changed for {kind}."
    )))
}

fn taken(name: &str, by: &str) -> BrokerError {
    BrokerError::NotAllowed(format!("There is already a {by} named '{name}'."))
}

fn split_subscription(path: &str) -> Option<(&str, &str)> {
    const BETWEEN: &str = "/subscriptions/";
    let at = path.to_ascii_lowercase().find(BETWEEN)?;
    Some((&path[..at], &path[at + BETWEEN.len()..]))
}

fn strip_suffix_ignoring_case<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let at = path.len().checked_sub(suffix.len())?;
    let tail = path.get(at..)?;
    tail.eq_ignore_ascii_case(suffix).then(|| &path[..at])
}
