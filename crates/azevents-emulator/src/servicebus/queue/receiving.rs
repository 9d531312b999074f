//! What is received from a queue, and what becomes of it.

use std::{pin::pin, sync::Arc};

use super::Queue;
use crate::{
    faults::FaultKind,
    servicebus::{
        BrokerError,
        clock::Timestamp,
        engine::{Engine, HolderId, LockToken, ReceiveMode, Received, Settlement},
        message::{Message, Stamp},
    },
};

/// What is to be settled in one queue.
pub(in super::super) type Settlements = (Arc<Queue>, Vec<(LockToken, Settlement)>);

impl Queue {
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

    /// Settles messages of several queues under their locks, all or none. The unit is the caller's.
    pub(in super::super) fn settle_together(mut all: Vec<Settlements>) -> Result<(), BrokerError> {
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

    /// Whether all of these locks hold.
    pub(in super::super) fn check_locked(&self, tokens: &[LockToken]) -> Result<(), BrokerError> {
        self.with(|engine, now| tokens.iter().try_for_each(|token| engine.check_locked(*token, now)))
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

    /// Deletes messages that nobody has received; see [`Engine::delete_batch`].
    pub(crate) fn delete_batch(
        &self,
        max: usize,
        before: Timestamp,
        session: Option<(&str, HolderId)>,
    ) -> Result<usize, BrokerError> {
        self.with(|engine, now| engine.delete_batch(max, before, session, now))
    }
}
