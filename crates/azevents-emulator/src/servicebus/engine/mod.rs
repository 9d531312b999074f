//! The state of one queue, subscription or dead-letter queue, and every rule that changes it.
//!
//! Pure: no sockets, no tasks, no clock of its own. Each operation is given the time and first lets
//! everything happen that was due by then ([`Engine::advance`]), so whether a timer ran on time
//! makes no difference to an outcome. [`Queue`](super::queue::Queue) puts it behind a lock, runs
//! the timers and lets receivers wait.
//!
//! A message is in exactly one [`State`]; the sets beside [`Engine::entries`] are indexes over it,
//! so that no operation on one message costs more than the logarithm of what is stored.

mod changes;
mod deferred;
mod delivery;
mod duplicates;
mod intake;
mod partitions;
mod peek;
mod purge;
mod sessions;
mod timers;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(super) use changes::{Contents, KeptEntry, Place};
pub(crate) use delivery::{LockToken, ReceiveMode, Received, Settlement};
pub(super) use duplicates::DuplicateHistory;
pub(crate) use partitions::PARTITIONS;
pub(crate) use sessions::{AcceptedSession, HolderId};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    clock::Timestamp,
    config::{QueueConfig, TopicConfig},
    forwarding::Forwarding,
    message::{Message, PropertyChanges, Stamp, TopicSize},
    status::EntityStatus,
};
use changes::Changes;
use sessions::Sessions;
use timers::Timer;

/// How many messages an entity holds, as the service counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounts {
    /// Ready for delivery or locked by a receiver.
    pub(crate) active: usize,
    /// Set aside, to be fetched by sequence number.
    pub(crate) deferred: usize,
    /// Waiting for their time.
    pub(crate) scheduled: usize,
    /// Waiting to be passed on.
    pub(crate) transferred: usize,
}

/// The service's default and smallest size of a queue or topic.
const DEFAULT_MEGABYTES: u64 = 1024;

/// What an engine does with its messages.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The entity's path, as it was created.
    pub(super) path: Arc<str>,
    /// Whether its messages are in partitions.
    pub(super) partitioned: bool,
    pub(super) lock_duration: Duration,
    /// `None` in a dead-letter queue, where messages stay until somebody completes them.
    pub(super) max_delivery_count: Option<u32>,
    pub(super) requires_session: bool,
    pub(super) default_ttl: Option<Duration>,
    pub(super) dead_letter_on_expiration: bool,
    /// A message that lacks the session id it needs: dead-letter it (a subscription, which cannot
    /// answer the sender) or refuse it (a queue).
    pub(super) dead_letter_null_session: bool,
    pub(super) is_dead_letter_queue: bool,
    /// Where messages go on to, and dead letters.
    pub(super) forwarding: Forwarding,
    /// What clients may do.
    pub(super) status: EntityStatus,
    /// The size in bytes at which it takes no more messages.
    pub(super) max_size: Option<u64>,
    /// The size in bytes of the largest message that is sent to it, if it has a limit of its own.
    pub(super) max_message_size: Option<u64>,
}

impl Rules {
    pub(super) fn of_queue(config: &QueueConfig) -> Self {
        Self {
            path: Arc::from(config.name.as_str()),
            partitioned: config.partitioned,
            lock_duration: config.lock_duration,
            max_delivery_count: Some(config.max_delivery_count),
            requires_session: config.requires_session,
            default_ttl: config.default_ttl,
            dead_letter_on_expiration: config.dead_letter_on_expiration,
            dead_letter_null_session: false,
            is_dead_letter_queue: false,
            forwarding: config.forwarding.clone(),
            status: config.status,
            max_size: Some(max_size(config.max_megabytes, config.partitioned)),
            max_message_size: config.max_message_size,
        }
    }

    pub(super) fn of_subscription(config: &QueueConfig) -> Self {
        Self {
            dead_letter_null_session: true,
            // The service counts a topic's messages at the topic.
            max_size: None,
            ..Self::of_queue(config)
        }
    }

    pub(super) fn of_topic(config: &TopicConfig) -> Self {
        Self {
            path: Arc::from(config.name.as_str()),
            partitioned: config.partitioned,
            max_size: Some(max_size(config.max_megabytes, config.partitioned)),
            lock_duration: Duration::ZERO,
            max_delivery_count: None,
            requires_session: false,
            default_ttl: config.default_ttl,
            dead_letter_on_expiration: false,
            dead_letter_null_session: false,
            is_dead_letter_queue: false,
            forwarding: Forwarding::default(),
            status: config.status,
            max_message_size: config.max_message_size,
        }
    }

    /// A dead-letter queue has no time to live and no sessions.
    pub(super) fn of_dead_letter_queue(&self) -> Self {
        Self {
            path: Arc::from(format!("{}/$DeadLetterQueue", self.path)),
            partitioned: self.partitioned,
            forwarding: Forwarding {
                to: self.forwarding.dead_letters_to.clone(),
                dead_letters_to: None,
            },
            status: EntityStatus::Active,
            max_size: None,
            max_message_size: None,
            lock_duration: self.lock_duration,
            max_delivery_count: None,
            requires_session: false,
            default_ttl: None,
            dead_letter_on_expiration: false,
            dead_letter_null_session: false,
            is_dead_letter_queue: true,
        }
    }

    /// Where messages go that can't be passed on.
    pub(super) fn of_transfer_dead_letter_queue(&self) -> Self {
        Self {
            path: Arc::from(format!("{}/$Transfer/$DeadLetterQueue", self.path)),
            forwarding: Forwarding::default(),
            ..self.of_dead_letter_queue()
        }
    }
}

/// In bytes; each partition is as large as the entity is said to be ("Partitioned queues and topics").
fn max_size(megabytes: Option<u64>, partitioned: bool) -> u64 {
    let partitions = if partitioned { PARTITIONS } else { 1 };
    (megabytes.unwrap_or(DEFAULT_MEGABYTES) << 20) * partitions
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Engine {
    rules: Rules,
    entries: BTreeMap<i64, Entry>,
    /// Messages any receiver may take; those of sessions are in their session.
    ready: BTreeSet<i64>,
    locks: HashMap<LockToken, i64>,
    sessions: Sessions,
    timers: BTreeSet<(Timestamp, Timer)>,
    duplicates: Option<DuplicateHistory>,
    last_sequence: i64,
    /// The partition that is received from next.
    turn: u64,
    /// Bytes of all messages.
    size: u64,
    /// Bytes of messages that were passed on and still count here.
    passed_on: TopicSize,
    deferred: usize,
    scheduled: usize,
    /// Messages on their way to the dead-letter queue, for the owner of both to carry over.
    dead_letters: Vec<DeadLetter>,
    changes: Changes,
    /// Told of each message, or session, that became available to whoever comes first.
    arrivals: Arc<Notify>,
}

/// A message that has left its entity. It keeps its number and history in the dead-letter queue.
#[derive(Debug)]
pub(super) struct DeadLetter {
    sequence: i64,
    message: Message,
    delivery_count: u32,
    enqueued_at: Timestamp,
}

impl DeadLetter {
    fn new(sequence: i64, entry: Entry) -> Self {
        Self {
            sequence,
            message: entry.message,
            delivery_count: entry.delivery_count,
            enqueued_at: entry.enqueued_at,
        }
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// Writes down why it is one.
    pub(super) fn explain(&mut self, reason: Option<&str>, description: Option<&str>) {
        let mut changes = PropertyChanges::default();
        if let Some(reason) = reason {
            changes.set_text("DeadLetterReason", reason);
        }
        if let Some(description) = description {
            changes.set_text("DeadLetterErrorDescription", description);
        }
        if self.message.change_properties(&changes).is_err() {
            // The sender's section is no map of names. Keeping the message matters more than
            // telling why it is here.
            tracing::warn!(sequence = self.sequence, "dead-lettered without a reason");
        }
    }
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// Bytes it counted for when it came.
    size: u64,
    state: State,
    delivery_count: u32,
    enqueued_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// The session it is read through; `None` where the entity has no sessions.
    session: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Locked {
        token: LockToken,
        until: Timestamp,
        /// Deferred before it was locked, and deferred again when the lock ends.
        deferred: bool,
    },
    Deferred,
    Scheduled(Timestamp),
}

impl Entry {
    fn stamp(&self, sequence: i64) -> Stamp {
        let (state, locked_until) = match self.state {
            State::Ready => (0, None),
            State::Locked { until, deferred, .. } => (i32::from(deferred), Some(until)),
            State::Deferred => (1, None),
            State::Scheduled(_) => (2, None),
        };
        Stamp {
            sequence_number: sequence,
            enqueued_at: self.enqueued_at,
            locked_until,
            delivery_count: self.delivery_count,
            state,
        }
    }
}

impl Engine {
    pub(super) fn new(rules: Rules, duplicate_window: Option<Duration>) -> Self {
        Self {
            rules,
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            locks: HashMap::new(),
            sessions: Sessions::default(),
            timers: BTreeSet::new(),
            duplicates: duplicate_window.map(DuplicateHistory::new),
            last_sequence: 0,
            turn: 0,
            size: 0,
            passed_on: TopicSize::default(),
            deferred: 0,
            scheduled: 0,
            dead_letters: Vec::new(),
            changes: Changes::default(),
            arrivals: Arc::new(Notify::new()),
        }
    }

    /// Changes the rules, for what happens from now on.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Changes how long ids are remembered, where they are.
    pub(super) fn set_duplicate_window(&mut self, window: Duration) {
        if let Some(history) = &mut self.duplicates {
            history.set_window(window);
            history.all().for_each(|(id, until)| self.changes.seen(&id, until));
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Woken once for each message, or session, that became available.
    pub(super) fn arrivals(&self) -> &Arc<Notify> {
        &self.arrivals
    }

    pub(super) fn counts(&self) -> MessageCounts {
        let transferred = match self.rules.forwarding.to {
            Some(_) => self.ready.len(),
            None => 0,
        };
        MessageCounts {
            active: self.entries.len() - self.deferred - self.scheduled - transferred,
            deferred: self.deferred,
            scheduled: self.scheduled,
            transferred,
        }
    }

    /// Bytes of all messages that count for the entity.
    pub(super) fn size(&self) -> u64 {
        self.size + self.passed_on.load(Ordering::Relaxed)
    }

    /// Counts these too.
    pub(super) fn count_passed_on(&mut self, size: TopicSize) {
        self.passed_on = size;
    }

    /// Messages that were dead-lettered since the last call.
    pub(super) fn take_dead_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead_letters)
    }

    /// Makes a message available at its place among the others.
    fn make_ready(&mut self, sequence: i64) {
        let Some(entry) = self.entries.get_mut(&sequence) else {
            return;
        };
        entry.state = State::Ready;
        if let Some(session) = entry.session.clone() {
            self.sessions.put_ready(&session, sequence, &self.arrivals);
        } else {
            self.ready.insert(sequence);
            self.arrivals.notify_one();
        }
    }

    /// Takes a message out of the entity and of every index.
    fn remove(&mut self, sequence: i64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.size -= entry.size;
        self.changes.gone(sequence);
        if let Some(expires_at) = entry.expires_at {
            self.timers.remove(&(expires_at, Timer::Expiry(sequence)));
        }
        match entry.state {
            State::Ready => {
                self.ready.remove(&sequence);
            }
            State::Locked { token, until, deferred } => {
                self.locks.remove(&token);
                self.timers.remove(&(until, Timer::Lock(sequence)));
                self.deferred -= usize::from(deferred);
            }
            State::Deferred => self.deferred -= 1,
            State::Scheduled(at) => {
                self.timers.remove(&(at, Timer::Schedule(sequence)));
                self.scheduled -= 1;
            }
        }
        if let Some(session) = &entry.session {
            self.sessions.forget_message(session, sequence);
        }
        Some(entry)
    }

    /// Moves a message to the dead-letter queue, with the reason in its application properties.
    fn dead_letter(&mut self, sequence: i64, reason: Option<&str>, description: Option<&str>) {
        let Some(mut entry) = self.remove(sequence) else {
            return;
        };
        entry.message.set_dead_letter_source(Arc::clone(&self.rules.path));
        entry.message.release_charge();
        let mut letter = DeadLetter::new(sequence, entry);
        letter.explain(reason, description);
        self.dead_letters.push(letter);
    }
}
