//! The entities of a Service Bus namespace, by address.
//!
//! | what | where |
//! | --- | --- |
//! | the namespace: opened, kept, ended | here |
//! | entities are created | [`creating`] |
//! | found by what clients write | [`finding`] |
//! | changed, deleted, also by themselves | [`changing`] |

mod changing;
mod creating;
mod finding;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    BrokerError, NamespaceConfig,
    clock::{Clock, Timestamp},
    config::QueueConfig,
    forwarding, idle,
    queue::{Queue, Surroundings},
    store::{self, Kept, Record},
    topic::Topic,
    usage::{Times, Usage},
};
pub(super) use changing::{unchanged, unchanged_partitions};
pub(crate) use finding::Node;

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

    fn changing<R>(&self, change: impl FnOnce(&mut Entities) -> R) -> R {
        // The unit before the lock; see `store`.
        self.around
            .kept
            .unit(|| change(&mut self.entities.write().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
    }
}
