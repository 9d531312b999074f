//! An engine with everything around it that takes time: a lock, its timers, and receivers that wait.
//!
//! No lock is held across an await, and the futures here may be dropped at any await without losing
//! a message: a message is taken in the same poll that returns it.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    BrokerError, NamespaceConfig,
    clock::{Clock, Timestamp},
    engine::{
        AcceptedSession, DeadLetter, Engine, HolderId, LockToken, MessageCounts, ReceiveMode, Received, Rules,
        Settlement,
    },
    forwarding::Forwarder,
    message::{Arrival, Message, Stamp, TopicSize},
    status::EntityStatus,
    store::{Kept, Record},
    usage::{Times, Usage},
};
use crate::faults::{FaultKind, Faults};

/// Where messages go at once that an entity doesn't keep. Called under the entity's lock, so that
/// their order holds; must not call back into it.
pub(super) type Forward = Box<dyn Fn(&[Arrival]) + Send + Sync>;

/// What passes messages on, and what of them still counts for it.
pub(super) struct PassingOn {
    pub(super) forward: Forward,
    pub(super) size: TopicSize,
}

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

/// What is to be settled in one queue.
pub(super) type Settlements = (Arc<Queue>, Vec<(LockToken, Settlement)>);

struct Guarded {
    engine: Engine,
    /// When the timekeeper will look next.
    armed: Option<Timestamp>,
}

/// Why a message goes to the dead-letter queue at once: reason and description.
pub(super) struct DeadLetterReason(pub(super) &'static str, pub(super) String);

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
            timekeeper: tokio::spawn(keep_time(
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

    /// Where it passes its messages on to.
    pub(super) fn forwards_to(&self) -> Option<String> {
        self.guarded().engine.rules().forwarding.to.clone()
    }

    /// Takes messages out that are to be passed on, and where to.
    pub(super) fn take_forwarded(&self, max: usize) -> Option<(String, Vec<DeadLetter>)> {
        self.with(|engine, now| {
            engine.advance(now);
            engine.take_forwards(max)
        })
    }

    /// Takes a message that another entity passes on.
    pub(super) fn take_forward(&self, message: &Message) -> Result<(), BrokerError> {
        self.check_takes_messages()?;
        self.with(|engine, now| {
            self.usage.note(now);
            engine.admit(message)?;
            engine.enqueue(message.clone(), now);
            Ok(())
        })
    }

    /// Sets a message aside that could not be passed on.
    pub(super) fn dead_letter_transfer(&self, letter: DeadLetter, reason: &str, description: &str) {
        // Whatever forwards has one.
        if let Some(transfer) = &self.transfer_dead_letters {
            transfer.take_over(vec![letter.explained(reason, description)]);
        }
    }

    /// How many messages it holds now.
    pub(crate) fn counts(&self) -> MessageCounts {
        self.with(|engine, now| {
            engine.advance(now);
            engine.counts()
        })
    }

    /// Stores messages in this order, all or none. Returns their sequence numbers.
    ///
    /// # Errors
    /// [`BrokerError::ServerBusy`] if a fault says so, or whatever makes one of them inadmissible.
    pub(crate) fn send(&self, mut messages: Vec<Message>) -> Result<Vec<i64>, BrokerError> {
        self.check_takes_messages()?;
        if self.faults.decide(FaultKind::ServerBusy) {
            return Err(BrokerError::ServerBusy);
        }
        for message in &mut messages {
            message.ensure_id()?;
        }
        self.with(|engine, now| {
            self.usage.note(now);
            for message in &messages {
                engine.admit(message)?;
            }
            Ok(messages
                .into_iter()
                .map(|message| engine.enqueue(message, now))
                .collect())
        })
    }

    /// Messages that [`enqueue_admitted`](Self::enqueue_admitted) will take.
    pub(super) fn admitted(&self, mut messages: Vec<Message>) -> Result<Vec<Message>, BrokerError> {
        self.check_takes_messages()?;
        for message in &mut messages {
            message.ensure_id()?;
        }
        self.usage.touch();
        self.with(|engine, _| messages.iter().try_for_each(|message| engine.admit(message)))?;
        Ok(messages)
    }

    /// Stores messages that were [admitted](Self::admitted).
    pub(super) fn enqueue_admitted(&self, messages: Vec<Message>) {
        self.with(|engine, now| {
            for message in messages {
                engine.enqueue(message, now);
            }
        });
    }

    /// Whether all of these locks hold.
    pub(super) fn check_locked(&self, tokens: &[LockToken]) -> Result<(), BrokerError> {
        self.with(|engine, now| tokens.iter().try_for_each(|token| engine.check_locked(*token, now)))
    }

    /// Settles messages of several queues under their locks, all or none. The unit is the caller's.
    pub(super) fn settle_together(mut all: Vec<Settlements>) -> Result<(), BrokerError> {
        // In one order, or two who do this could wait for each other. Dead-letter queues come last, as `with`
        // has it.
        all.sort_by_key(|(queue, _)| (queue.dead_letters.is_none(), Arc::as_ptr(queue)));
        let mut guards: Vec<_> = all.iter().map(|(queue, _)| queue.guarded()).collect();
        let Some(now) = all.first().map(|(queue, _)| queue.clock.now()) else {
            return Ok(());
        };
        let mut on_each = |work: fn(&mut Engine, LockToken, &Settlement, Timestamp) -> Result<(), BrokerError>| {
            let mut engines = guards.iter_mut().zip(&all);
            engines.try_for_each(|(guard, (_, settlements))| {
                let mut settlements = settlements.iter();
                settlements.try_for_each(|(token, settlement)| work(&mut guard.engine, *token, settlement, now))
            })
        };
        let settled = on_each(Engine::check_settlement).and_then(|()| on_each(Engine::settle));
        drop(guards);
        for (queue, _) in &all {
            // What follows from it.
            queue.with(|_, _| ());
        }
        settled
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

    /// Deletes messages that nobody has received; see [`Engine::delete_batch`].
    pub(crate) fn delete_batch(
        &self,
        max: usize,
        before: Timestamp,
        session: Option<(&str, HolderId)>,
    ) -> Result<usize, BrokerError> {
        self.with(|engine, now| engine.delete_batch(max, before, session, now))
    }

    /// Bytes of the messages in it; of a topic, also of those in its subscriptions.
    pub(crate) fn size(&self) -> u64 {
        self.guarded().engine.size()
    }

    /// Takes a subscription's copies. They were admitted at the topic. Those with a reason are for the dead-letter
    /// queue.
    pub(super) fn take_copies(&self, copies: impl Iterator<Item = (Message, Option<DeadLetterReason>)>) {
        self.with(|engine, now| {
            for (copy, failure) in copies {
                match failure {
                    None => {
                        engine.enqueue(copy, now);
                    }
                    Some(DeadLetterReason(reason, why)) => engine.enqueue_dead(copy, reason, &why, now),
                }
            }
        });
    }

    /// Takes back scheduled messages, all or none.
    pub(crate) fn cancel_scheduled(&self, sequences: &[i64]) -> Result<(), BrokerError> {
        self.with(|engine, now| engine.cancel_scheduled(sequences, now))
    }

    /// Up to `max` messages that are ready now, possibly none.
    pub(crate) fn try_receive(&self, max: usize, mode: ReceiveMode) -> Vec<Received> {
        self.with(|engine, now| engine.receive(max, mode, now))
    }

    /// Up to `max` messages; waits until there is at least one.
    ///
    /// # Errors
    /// Once it is suspended for receivers or deleted, also while it waits.
    pub(crate) async fn receive(&self, max: usize, mode: ReceiveMode) -> Result<Vec<Received>, BrokerError> {
        loop {
            let arrival = self.arrivals.notified();
            let mut reconfigured = pin!(self.reconfigured.notified());
            reconfigured.as_mut().enable();
            self.check_gives_messages()?;
            let received = self.try_receive(max, mode);
            if !received.is_empty() {
                return Ok(received);
            }
            tokio::select! {
                () = arrival => {}
                () = reconfigured => {}
            }
        }
    }

    /// Takes deferred messages by sequence number, all or none; on an entity with sessions those
    /// of a session that is held.
    pub(crate) fn receive_deferred(
        &self,
        sequences: &[i64],
        session: Option<(&str, HolderId)>,
        mode: ReceiveMode,
    ) -> Result<Vec<Received>, BrokerError> {
        self.with(|engine, now| engine.receive_deferred(sequences, session, mode, now))
    }

    /// Settles a message under its lock.
    pub(crate) fn settle(&self, token: LockToken, settlement: &Settlement) -> Result<(), BrokerError> {
        self.with(|engine, now| {
            let faulty = engine.can_repeat(token, now);
            if faulty && self.faults.decide(FaultKind::LoseSettle) {
                // As if the lock had expired a moment before.
                engine.settle(token, &Settlement::Abandon(Default::default()), now)?;
                return Err(BrokerError::MessageLockLost);
            }
            let complete = matches!(settlement, Settlement::Complete);
            if faulty && complete && self.faults.decide(FaultKind::RepeatDelivery) {
                // The completion is confirmed and forgotten.
                return engine.settle(token, &Settlement::Abandon(Default::default()), now);
            }
            engine.settle(token, settlement, now)
        })
    }

    /// As [`settle`](Self::settle), for the broker's own purposes.
    pub(crate) fn settle_without_faults(&self, token: LockToken, settlement: &Settlement) -> Result<(), BrokerError> {
        self.with(|engine, now| engine.settle(token, settlement, now))
    }

    /// Extends a message's lock; returns its new end.
    pub(crate) fn renew_lock(&self, token: LockToken) -> Result<Timestamp, BrokerError> {
        self.with(|engine, now| {
            if engine.can_repeat(token, now) && self.faults.decide(FaultKind::ExpireLock) {
                engine.settle(token, &Settlement::Abandon(Default::default()), now)?;
                return Err(BrokerError::MessageLockLost);
            }
            engine.renew_lock(token, now)
        })
    }

    /// Up to `max` messages from a sequence number on, in any state, without taking them.
    pub(crate) fn peek(&self, from: i64, max: usize, session: Option<&str>) -> Vec<(Message, Stamp)> {
        self.with(|engine, now| engine.peek(from, max, session, now))
    }

    /// Accepts the session with this id at once or not at all; with `None` waits up to `wait` for
    /// one that has messages and no holder.
    ///
    /// # Errors
    /// [`BrokerError::SessionCannotBeLocked`] if it is held by somebody else,
    /// [`BrokerError::Timeout`] if nothing became available.
    pub(crate) async fn accept_session(
        self: &Arc<Self>,
        id: Option<&str>,
        wait: Duration,
    ) -> Result<HeldSession, BrokerError> {
        self.check_gives_messages()?;
        let accepted = async {
            loop {
                let arrival = self.arrivals.notified();
                let accepted = self.with(|engine, now| engine.accept_session(id, now));
                if let Some(accepted) = accepted.transpose() {
                    // From here on a guard holds it.
                    return accepted.map(|accepted| HeldSession {
                        queue: Arc::clone(self),
                        accepted,
                    });
                }
                arrival.await;
            }
        };
        tokio::time::timeout(wait, accepted)
            .await
            .unwrap_or(Err(BrokerError::Timeout))
    }

    /// Whoever holds a session now: `$management` requests name the session only.
    pub(crate) fn session_holder(&self, id: &str) -> Result<HolderId, BrokerError> {
        self.with(|engine, now| engine.session_holder(id, now))
    }

    /// Extends a session's lock; returns its new end.
    pub(crate) fn renew_session(&self, id: &str, holder: HolderId) -> Result<Timestamp, BrokerError> {
        self.with(|engine, now| engine.renew_session(id, holder, now))
    }

    /// The application's state of a held session.
    pub(crate) fn session_state(&self, id: &str, holder: HolderId) -> Result<Option<Bytes>, BrokerError> {
        self.with(|engine, now| engine.session_state(id, holder, now))
    }

    /// Sets or clears the application's state of a held session.
    pub(crate) fn set_session_state(
        &self,
        id: &str,
        holder: HolderId,
        state: Option<Bytes>,
    ) -> Result<(), BrokerError> {
        self.with(|engine, now| engine.set_session_state(id, holder, state, now))
    }

    /// Ids of the sessions in use, sorted.
    pub(crate) fn session_ids(&self, skip: usize, top: usize) -> Vec<Arc<str>> {
        self.with(|engine, now| engine.session_ids(skip, top, now))
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

/// Lets a queue's engine advance when something is due, for receivers that wait and for messages
/// that nobody asks for. Ends with the queue.
async fn keep_time(queue: Weak<Queue>, clock: Clock, deadline_moved: Arc<Notify>) {
    // A new queue has nothing to wait for, and can't be upgraded to yet.
    let mut deadline = None;
    loop {
        match deadline {
            None => deadline_moved.notified().await,
            Some(at) => tokio::select! {
                () = clock.sleep_until(at) => {}
                () = deadline_moved.notified() => {}
            },
        }
        let Some(queue) = queue.upgrade() else {
            return;
        };
        queue.with(Engine::advance);
        let mut guarded = queue.guarded();
        deadline = guarded.engine.next_deadline();
        guarded.armed = deadline;
    }
}

/// A session that is held by a receiver. Dropping it gives the session back.
#[derive(Debug)]
pub(crate) struct HeldSession {
    queue: Arc<Queue>,
    accepted: AcceptedSession,
}

impl HeldSession {
    /// The session's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.accepted.id
    }

    /// Proves who holds it.
    pub(crate) fn holder(&self) -> HolderId {
        self.accepted.holder
    }

    /// End of the lock at the time it was accepted.
    pub(crate) fn locked_until(&self) -> Timestamp {
        self.accepted.locked_until
    }

    /// Up to `max` of the session's messages that are ready now, possibly none.
    ///
    /// # Errors
    /// [`BrokerError::SessionLockLost`] once the lock has expired.
    pub(crate) fn try_receive(&self, max: usize, mode: ReceiveMode) -> Result<Vec<Received>, BrokerError> {
        let AcceptedSession { id, holder, .. } = &self.accepted;
        self.queue
            .with(|engine, now| engine.receive_from_session(id, *holder, max, mode, now))
    }

    /// Up to `max` of the session's messages; waits until there is at least one. Errors as
    /// [`try_receive`](Self::try_receive), also while it waits.
    pub(crate) async fn receive(&self, max: usize, mode: ReceiveMode) -> Result<Vec<Received>, BrokerError> {
        loop {
            let change = self.accepted.changed.notified();
            let mut reconfigured = pin!(self.queue.reconfigured.notified());
            reconfigured.as_mut().enable();
            self.queue.check_gives_messages()?;
            let received = self.try_receive(max, mode)?;
            if !received.is_empty() {
                return Ok(received);
            }
            tokio::select! {
                () = change => {}
                () = reconfigured => {}
            }
        }
    }

    /// Settles a message of the session.
    ///
    /// # Errors
    /// [`BrokerError::SessionLockLost`] where the message's lock went with the session's.
    pub(crate) fn settle(&self, token: LockToken, settlement: &Settlement) -> Result<(), BrokerError> {
        let settled = self.queue.settle(token, settlement);
        if settled == Err(BrokerError::MessageLockLost) && self.queue.session_holder(self.id()) != Ok(self.holder()) {
            return Err(BrokerError::SessionLockLost);
        }
        settled
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        let AcceptedSession { id, holder, .. } = &self.accepted;
        self.queue.with(|engine, now| engine.release_session(id, *holder, now));
    }
}
