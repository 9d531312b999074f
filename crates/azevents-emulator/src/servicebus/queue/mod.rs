//! An engine with everything around it that takes time: a lock, its timers, and receivers that wait.
//!
//! No lock is held across an await, and the futures here may be dropped at any await without losing
//! a message: a message is taken in the same poll that returns it.
//!
//! | what | where |
//! | --- | --- |
//! | the queue itself: built, told its settings, kept | here |
//! | what comes in | [`sending`] |
//! | what goes out, and is settled | [`receiving`], [`sessions`] |
//! | what isn't kept | [`passing_on`] |
//! | what happens by itself | [`timekeeper`] |

mod passing_on;
mod receiving;
mod sending;
mod sessions;
mod timekeeper;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::{
    BrokerError, NamespaceConfig,
    clock::{Clock, Timestamp},
    engine::{DeadLetter, Engine, MessageCounts, Rules},
    forwarding::Forwarder,
    status::EntityStatus,
    store::{Kept, Record},
    usage::{Times, Usage},
};
use crate::faults::Faults;
use passing_on::Forward;
pub(super) use passing_on::PassingOn;
pub(super) use receiving::Settlements;
pub(super) use sending::DeadLetterReason;
pub(crate) use sessions::HeldSession;

/// A queue, the queue of a subscription, a dead-letter queue, or a topic's intake.
pub(crate) struct Queue {
    clock: Clock,
    faults: Faults,
    guarded: Mutex<Guarded>,
    arrivals: Arc<Notify>,
    deadline_moved: Arc<Notify>,
    /// Told when its rules change or it is deleted.
    reconfigured: Notify,
    dead_letters: Option<Arc<Queue>>,
    /// Of the entity and of its dead-letter queue.
    transfer_dead_letters: Option<Arc<Queue>>,
    forwarder: Arc<Forwarder>,
    this: Weak<Queue>,
    forward: Option<Forward>,
    timekeeper: AbortHandle,
    kept: Kept,
    usage: Arc<Usage>,
    deleted: AtomicBool,
}

struct Guarded {
    engine: Engine,
    /// When the timekeeper will look next.
    armed: Option<Timestamp>,
}

/// What a queue shares with its namespace.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) limits: NamespaceConfig,
    /// Of the entity that is being created.
    pub(super) kept: Kept,
    pub(super) forwarder: Arc<Forwarder>,
    /// Of the entity that is being created.
    pub(super) usage: Arc<Usage>,
}

impl Surroundings {
    /// For another entity.
    pub(super) fn anew(&self) -> Self {
        let kept = self.kept.another();
        Self {
            usage: self.usage.another(&kept),
            kept,
            ..self.clone()
        }
    }
}

impl Queue {
    /// A queue with its dead-letter queue. Runs its timers as a task, so it needs a runtime.
    pub(super) fn new(rules: Rules, duplicate_window: Option<Duration>, around: &Surroundings) -> Arc<Self> {
        let transfer = Self::build(rules.of_transfer_dead_letter_queue(), None, [None, None], None, around);
        let dead = rules.of_dead_letter_queue();
        let dead = Self::build(dead, None, [None, Some(Arc::clone(&transfer))], None, around);
        Self::build(rules, duplicate_window, [Some(dead), Some(transfer)], None, around)
    }

    /// Passes on what becomes active instead of keeping it.
    pub(super) fn forwarding(
        rules: Rules,
        duplicate_window: Option<Duration>,
        passing: PassingOn,
        around: &Surroundings,
    ) -> Arc<Self> {
        Self::build(rules, duplicate_window, [None, None], Some(passing), around)
    }

    fn build(
        rules: Rules,
        duplicate_window: Option<Duration>,
        [dead_letters, transfer_dead_letters]: [Option<Arc<Queue>>; 2],
        passing: Option<PassingOn>,
        around: &Surroundings,
    ) -> Arc<Self> {
        let mut engine = Engine::new(rules, duplicate_window);
        let forward = passing.map(|passing| {
            engine.count_passed_on(passing.size);
            passing.forward
        });
        if around.kept.keeps() {
            engine.note_changes();
            if let Some(contents) = around.kept.take_contents(&engine.rules().path) {
                engine.restore(contents);
            }
        }
        let arrivals = Arc::clone(engine.arrivals());
        let deadline_moved = Arc::new(Notify::new());
        let queue = Arc::new_cyclic(|queue| Self {
            kept: around.kept.clone(),
            usage: Arc::clone(&around.usage),
            clock: around.clock.clone(),
            faults: around.faults.clone(),
            guarded: Mutex::new(Guarded { engine, armed: None }),
            arrivals,
            timekeeper: tokio::spawn(timekeeper::keep_time(
                Weak::clone(queue),
                around.clock.clone(),
                Arc::clone(&deadline_moved),
            ))
            .abort_handle(),
            deadline_moved,
            reconfigured: Notify::new(),
            dead_letters,
            transfer_dead_letters,
            forwarder: Arc::clone(&around.forwarder),
            this: Weak::clone(queue),
            forward,
            deleted: AtomicBool::new(false),
        });
        // What was kept has deadlines.
        queue.with(|_, _| ());
        queue
    }

    /// Its path, as it was created.
    pub(crate) fn path(&self) -> Arc<str> {
        Arc::clone(&self.guarded().engine.rules().path)
    }

    /// Whether messages are read through sessions.
    pub(crate) fn requires_session(&self) -> bool {
        self.guarded().engine.rules().requires_session
    }

    /// What it takes of what its namespace takes.
    pub(super) fn limits(&self, namespace: NamespaceConfig) -> NamespaceConfig {
        namespace.of_entity(self.guarded().engine.rules().max_message_size)
    }

    /// How it is known in the journal.
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// When it was created, changed and used.
    pub(crate) fn times(&self) -> Times {
        self.usage.times()
    }

    /// As [`times`](Self::times), to be told of more.
    pub(super) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// When the last of its scheduled messages becomes active.
    pub(super) fn last_scheduled(&self) -> Option<Timestamp> {
        self.guarded().engine.last_scheduled()
    }

    /// Does what is to be kept together: all of it survives the end of the process, or nothing.
    pub(super) fn together<R>(&self, work: impl FnOnce() -> R) -> R {
        self.kept.unit(work)
    }

    /// Calls `done` when everything that has happened so far is written down; at once where nothing
    /// is kept.
    pub(super) fn when_written(&self, done: impl FnOnce(Result<(), BrokerError>) + Send + 'static) {
        self.kept.when_written(done);
    }

    /// Writes all of it into a log written anew.
    pub(super) fn describe(&self, records: &mut Vec<Record>) {
        let (path, contents) = {
            let engine = &self.guarded().engine;
            (Arc::clone(&engine.rules().path), engine.contents())
        };
        self.kept.describe(records, &path, contents);
        if let Some(dead) = &self.dead_letters {
            dead.describe(records);
        }
        // The dead-letter queue shares it.
        if let (Some(transfer), Some(_)) = (&self.transfer_dead_letters, &self.dead_letters) {
            transfer.describe(records);
        }
    }

    /// Refuses messages from now on.
    pub(super) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Relaxed);
        self.reconfigured.notify_waiters();
        let below = self.dead_letters.iter().chain(&self.transfer_dead_letters);
        // The dead-letter queue shares the other with the entity itself.
        below.for_each(|queue| queue.mark_deleted());
    }

    /// Changes how it treats its messages from now on.
    pub(super) fn set_rules(&self, rules: Rules) {
        if let Some(dead) = &self.dead_letters {
            dead.set_rules(rules.of_dead_letter_queue());
        }
        self.with(|engine, _| engine.set_rules(rules));
        self.reconfigured.notify_waiters();
    }

    /// Changes how long it remembers ids, where it does.
    pub(super) fn set_duplicate_window(&self, window: Option<Duration>) {
        if let Some(window) = window {
            self.with(|engine, _| engine.set_duplicate_window(window));
        }
    }

    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Its dead-letter queue; a dead-letter queue and a topic have none.
    pub(crate) fn dead_letters(&self) -> Option<&Arc<Queue>> {
        self.dead_letters.as_ref()
    }

    /// Where messages go that could not be passed on; a topic has none.
    pub(crate) fn transfer_dead_letters(&self) -> Option<&Arc<Queue>> {
        self.transfer_dead_letters.as_ref()
    }

    /// How many messages it holds now.
    pub(crate) fn counts(&self) -> MessageCounts {
        self.with(|engine, now| {
            engine.advance(now);
            engine.counts()
        })
    }

    /// Whether messages can be sent to it.
    pub(super) fn check_takes_messages(&self) -> Result<(), BrokerError> {
        self.check(EntityStatus::check_send)
    }

    /// Whether messages can be received from it.
    pub(super) fn check_gives_messages(&self) -> Result<(), BrokerError> {
        self.check(EntityStatus::check_receive)
    }

    fn check(&self, allows: fn(EntityStatus, &str) -> Result<(), BrokerError>) -> Result<(), BrokerError> {
        let guarded = self.guarded();
        let Rules { status, path, .. } = guarded.engine.rules();
        if self.deleted.load(Ordering::Relaxed) {
            return Err(BrokerError::EntityNotFound(path.to_string()));
        }
        allows(*status, path)
    }

    /// Bytes of the messages in it; of a topic, also of those in its subscriptions.
    pub(crate) fn size(&self) -> u64 {
        self.guarded().engine.size()
    }

    /// Takes over what was dead-lettered.
    fn take_over(&self, letters: Vec<DeadLetter>) {
        self.with(|engine, _| {
            for letter in letters {
                engine.take_over(letter);
            }
        });
    }

    /// Runs one operation and everything that follows from it. Locks are taken in one direction
    /// only: topic, subscription, dead-letter queue.
    fn with<R>(&self, operation: impl FnOnce(&mut Engine, Timestamp) -> R) -> R {
        self.kept.unit(|| {
            let mut guarded = self.guarded();
            let result = operation(&mut guarded.engine, self.clock.now());
            self.follow_up(&mut guarded);
            result
        })
    }

    fn follow_up(&self, Guarded { engine, armed }: &mut Guarded) {
        let letters = engine.take_dead_letters();
        if !letters.is_empty()
            && let Some(queue) = &self.dead_letters
        {
            queue.take_over(letters);
        }
        if let Some(forward) = &self.forward {
            let active = engine.take_active();
            if !active.is_empty() {
                forward(&active);
            }
        }
        if engine.has_forwards() {
            self.forwarder.wake(&self.this);
        }
        if let Some(change) = engine.take_changes() {
            self.kept.changed(&engine.rules().path, change);
        }
        self.usage.tell();
        if let Some(next) = engine.next_deadline()
            && armed.is_none_or(|armed| next < armed)
        {
            *armed = Some(next);
            self.deadline_moved.notify_one();
        }
    }

    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        // No operation leaves the engine half changed by panicking: a poisoned lock is still good.
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.timekeeper.abort();
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
