//! What of a namespace outlives the process, where there is a data folder for it.
//!
//! A client's request may change several queues: a message that is dead-lettered leaves one and
//! joins another, one that is sent to a topic joins every subscription, a transaction does all of
//! it at once. All that comes of one request is a [unit](Kept::unit), and is one record of the
//! journal, so that a kill leaves all of it or nothing.
//!
//! Records are absolute: a message with its place, or a number that is gone. They are appended in
//! the order in which things happened, because units exclude each other. That costs nothing where
//! nothing is kept: there, no unit is ever opened.
//!
//! **Order of locks**: the unit comes first, before those of the namespace, of topics and of queues.
//! Whoever changes a queue while he has one of these has to have opened the unit before.
//!
//! | what | where |
//! | --- | --- |
//! | what a record says | [`records`] |
//! | what all records together say | [`image`] |

mod image;
mod records;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    BrokerError,
    config::{QueueConfig, SubscriptionConfig, TopicConfig},
    engine::Contents,
    usage::Times,
};
use crate::state::{DataError, Folder, Journal, Sink};
pub(super) use image::Entity;
use image::Image;
use records::Change;
pub(super) use records::Record;

thread_local! {
    /// The unit that this thread is in.
    static UNIT: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// The journal of a namespace.
#[derive(Debug, Default)]
struct Store {
    journal: Journal,
    keeps: bool,
    /// Held by the unit that is open.
    gate: Mutex<()>,
    last_id: AtomicU64,
    /// Contents of queues that are not created again yet.
    restored: Mutex<HashMap<(u64, String), Contents>>,
    /// Times of entities that are not created again yet, by their ids. The namespace has 0.
    times: Mutex<HashMap<u64, Times>>,
}

/// How one queue, topic or subscription, with the queues below it, is known in the journal. One that
/// is deleted and created again is another: what still happens to the old one is not taken for the
/// new one's.
#[derive(Clone, Default)]
pub(super) struct Kept {
    store: Arc<Store>,
    id: u64,
}

impl Kept {
    /// Reads what is kept in the folder. The entities are for the caller to create again, in
    /// [`restoring`](Self::restoring).
    pub(super) fn open(folder: &Folder) -> Result<(Self, Restoring), DataError> {
        let mut image = Image::default();
        let recovered = folder.recover("servicebus", |record| image.apply(record))?;
        let store = Store {
            keeps: true,
            last_id: AtomicU64::new(image.last_id()),
            restored: Mutex::new(image.contents),
            times: Mutex::new(image.times),
            ..Store::default()
        };
        let kept = Self {
            store: Arc::new(store),
            id: 0,
        };
        let entities = image.entities;
        Ok((kept, Restoring { recovered, entities }))
    }

    /// Creates again what was kept, by `create`, before anything can happen to it; and writes down
    /// what happens from then on.
    pub(super) fn restoring(
        &self,
        restoring: Restoring,
        create: impl Fn(Entity, Kept) -> Result<(), BrokerError>,
        snapshot: impl Fn() -> Option<Vec<Record>> + Send + 'static,
    ) -> Result<(), DataError> {
        let Restoring { recovered, entities } = restoring;
        let path = recovered.path().to_owned();
        let result = self.unit(|| {
            for (id, entity) in entities {
                let store = Arc::clone(&self.store);
                create(entity, Self { store, id }).map_err(|error| DataError::Damaged {
                    path: path.clone(),
                    at: 0,
                    what: error.to_string(),
                })?;
            }
            let store = Arc::clone(&self.store);
            let snapshot = move |sink: &mut Sink| {
                // Between units, so that nothing is on its way from one queue to another.
                let gate = store.lock();
                let records = snapshot();
                drop(gate);
                match records {
                    Some(records) => records.iter().for_each(|record| record.write(sink)),
                    None => sink.give_up(),
                }
            };
            // Not written down: it is.
            UNIT.with_borrow_mut(|unit| *unit = Some(Record::default()));
            recovered.start(&self.store.journal, Box::new(snapshot))
        });
        self.restored().clear();
        self.store.times().clear();
        result
    }

    /// Another entity.
    pub(super) fn another(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            id: self.store.last_id.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.store.keeps
    }

    /// Does what has to be kept as a whole or not at all. May be called within itself.
    pub(super) fn unit<R>(&self, work: impl FnOnce() -> R) -> R {
        if !self.keeps() || UNIT.with_borrow(Option::is_some) {
            return work();
        }
        let _gate = self.store.lock();
        UNIT.set(Some(Record::default()));
        let end = End(&self.store.journal);
        let result = work();
        drop(end);
        result
    }

    /// Calls `done` when everything that has happened so far is written, or can't be; at once where
    /// nothing is kept.
    pub(super) fn when_written(&self, done: impl FnOnce(Result<(), BrokerError>) + Send + 'static) {
        self.store
            .journal
            .when_written(|written| done(written.map_err(|why| BrokerError::Internal(why.to_string()))));
    }

    /// Waits until everything that has happened so far is written.
    pub(super) async fn written(&self) -> Result<(), BrokerError> {
        let written = self.store.journal.written().await;
        written.map_err(|why| BrokerError::Internal(why.to_string()))
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.store.journal
    }

    /// The contents that the queue with this path had, if it was kept.
    pub(super) fn take_contents(&self, path: &str) -> Option<Contents> {
        self.restored().remove(&(self.id, path.to_lowercase()))
    }

    /// The times that it had, if it was kept.
    pub(super) fn restored_times(&self) -> Option<Times> {
        self.store.times().get(&self.id).copied()
    }

    /// It was used at this time, in Unix milliseconds.
    pub(super) fn used(&self, accessed: i64) {
        self.note(|record| record.push(Change::Used(self.id, accessed)));
    }

    /// It was created or changed.
    pub(super) fn times(&self, times: Times) {
        self.note(|record| record.push(Change::Times(self.id, times)));
    }

    /// A queue was created, or has other settings.
    pub(super) fn queue(&self, config: &QueueConfig) {
        self.note(|record| record.entity(self.id, Entity::Queue(config.clone())));
    }

    /// A topic was created, or has other settings.
    pub(super) fn topic(&self, config: &TopicConfig) {
        self.note(|record| record.entity(self.id, Entity::Topic(config.clone())));
    }

    /// A subscription of a topic was created, or has other settings or rules.
    pub(super) fn subscription(&self, topic: &Kept, config: impl FnOnce() -> SubscriptionConfig) {
        self.note(|record| record.entity(self.id, Entity::Subscription(topic.id, config())));
    }

    /// It was deleted, and what is below it.
    pub(super) fn deleted(&self) {
        self.note(|record| record.push(Change::Deleted(self.id)));
    }

    /// Something has changed in the queue with this path.
    pub(super) fn changed(&self, path: &str, change: Contents) {
        self.note(|record| record.contents(self.id, path, change));
    }

    /// All of the queue with this path, for a log written anew.
    pub(super) fn describe(&self, records: &mut Vec<Record>, path: &str, contents: Contents) {
        Record::describe(records, self.id, path, contents);
    }

    /// As [`queue`](Self::queue) and its like do, into a log written anew.
    pub(super) fn describe_entity(&self, records: &mut Vec<Record>, entity: Entity, times: Times) {
        let mut record = Record::default();
        record.entity(self.id, entity);
        records.push(record);
        self.describe_times(records, times);
    }

    /// As [`times`](Self::times) does, into a log written anew.
    pub(super) fn describe_times(&self, records: &mut Vec<Record>, times: Times) {
        let mut record = Record::default();
        record.push(Change::Times(self.id, times));
        records.push(record);
    }

    /// The subscription of a topic, for [`describe_entity`](Self::describe_entity).
    pub(super) fn below(&self, config: SubscriptionConfig) -> Entity {
        Entity::Subscription(self.id, config)
    }

    /// Whether this is the one with that number.
    pub(super) fn is(&self, id: u64) -> bool {
        self.id == id
    }

    fn note(&self, what: impl FnOnce(&mut Record)) {
        if self.keeps() {
            self.unit(|| UNIT.with_borrow_mut(|unit| unit.as_mut().map(what)));
        }
    }

    fn restored(&self) -> MutexGuard<'_, HashMap<(u64, String), Contents>> {
        self.store.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn times(&self) -> MutexGuard<'_, HashMap<u64, Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was read and is not there again yet.
pub(super) struct Restoring {
    recovered: crate::state::Recovered,
    entities: std::collections::BTreeMap<u64, Entity>,
}

/// Appends what a unit has come to, also if it ends by a panic: the queues have changed then, too.
struct End<'a>(&'a Journal);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(record) = UNIT.take() {
            record.append(self.0);
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("id", &self.id).finish_non_exhaustive()
    }
}
