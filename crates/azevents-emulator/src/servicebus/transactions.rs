//! Transactions: what was sent and settled within one is kept aside, and happens together or not at all
//! (AMQP 1.0 part 4, with the service's limits: 100 messages, two minutes, one entity).
//!
//! One entity is a queue or a topic with all below it. Sends may go beyond it: in a
//! [group](super::groups), or on a link that names the entity they go by way of.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::{
    BrokerError,
    clock::{Clock, Timestamp},
    engine::{LockToken, Settlement},
    groups::Participant,
    message::Message,
    queue::{Queue, Settlements},
};
use crate::amqp::ConnectionId;

/// The most messages of one transaction ("Service Bus quotas").
const MAX_MESSAGES: usize = 100;

/// How long a transaction may take from its first operation on ("Overview of Service Bus transaction
/// processing").
const TIME_LIMIT: Duration = Duration::from_secs(2 * 60);

/// Transactions one connection may have open. The service documents no number; this one bounds memory.
const MAX_OPEN: usize = 1000;

/// The transactions that are open, by the connection they belong to.
pub(crate) struct Transactions {
    clock: Clock,
    open: Mutex<Open>,
}

type Open = HashMap<ConnectionId, HashMap<TransactionId, Transaction>>;

/// What a client calls a transaction by.
pub(crate) type TransactionId = Vec<u8>;

#[derive(Debug, Default)]
struct Transaction {
    /// When the first operation came, and the entity it was of.
    begun: Option<(Timestamp, String)>,
    /// It took too long: what it had is dropped already.
    timed_out: bool,
    sends: Vec<(Arc<Queue>, Vec<Message>)>,
    settlements: Vec<Settlements>,
    messages: usize,
}

impl Transactions {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            open: Mutex::default(),
        }
    }

    /// Begins one, on behalf of a connection.
    pub(crate) fn declare(&self, connection: ConnectionId) -> Result<TransactionId, BrokerError> {
        let mut open = self.current();
        let of_connection = open.entry(connection).or_default();
        if of_connection.len() >= MAX_OPEN {
            return Err(BrokerError::QuotaExceeded(format!(
                "A connection has at most {MAX_OPEN} open transactions. Discharge some."
            )));
        }
        let id = Uuid::new_v4().into_bytes().to_vec();
        of_connection.insert(id.clone(), Transaction::default());
        Ok(id)
    }

    /// Takes messages to be sent on commit, after the checks that sending makes.
    pub(crate) fn send(
        &self,
        by: &Participant,
        id: &[u8],
        queue: &Arc<Queue>,
        messages: Vec<Message>,
    ) -> Result<(), BrokerError> {
        let messages = queue.admitted(messages)?;
        self.with(by.connection(), id, |transaction, now| {
            let to_it = transaction.sends.iter().filter(|(to, _)| Arc::ptr_eq(to, queue));
            queue.check_together(to_it.flat_map(|(_, sent)| sent).chain(&messages))?;
            transaction.join(by, messages.len(), now)?;
            transaction.sends.push((Arc::clone(queue), messages));
            Ok(())
        })
    }

    /// Takes a settlement to be made on commit, if the lock holds now.
    pub(crate) fn settle(
        &self,
        by: &Participant,
        id: &[u8],
        queue: &Arc<Queue>,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<(), BrokerError> {
        queue.check_locked(&[token])?;
        self.with(by.connection(), id, |transaction, now| {
            let known = |settlements: &[(LockToken, Settlement)]| settlements.iter().any(|(known, _)| *known == token);
            if transaction.settlements.iter().any(|(_, all)| known(all)) {
                return Err(BrokerError::MessageLockLost);
            }
            transaction.join(by, 1, now)?;
            let settlements = &mut transaction.settlements;
            match settlements.iter_mut().find(|(of, _)| Arc::ptr_eq(of, queue)) {
                Some((_, all)) => all.push((token, settlement)),
                None => settlements.push((Arc::clone(queue), vec![(token, settlement)])),
            }
            Ok(())
        })
    }

    /// Ends a transaction: does all of it, or forgets it.
    pub(crate) fn discharge(&self, connection: ConnectionId, id: &[u8], fail: bool) -> Result<(), BrokerError> {
        let transaction = take(&mut self.current(), connection, id).ok_or(BrokerError::UnknownTransaction)?;
        if fail {
            return Ok(());
        }
        if transaction.timed_out {
            return Err(BrokerError::TransactionTimeout);
        }
        let Some(queue) = transaction.any_queue() else {
            return Ok(());
        };
        queue.together(|| transaction.commit())
    }

    /// Forgets a transaction whose coordinator link has gone.
    pub(crate) fn forget(&self, connection: ConnectionId, id: &[u8]) {
        take(&mut self.current(), connection, id);
    }

    /// Messages in all that are open.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> usize {
        let open = self.current();
        open.values().flat_map(HashMap::values).map(|one| one.messages).sum()
    }

    fn with<R>(
        &self,
        connection: ConnectionId,
        id: &[u8],
        f: impl FnOnce(&mut Transaction, Timestamp) -> Result<R, BrokerError>,
    ) -> Result<R, BrokerError> {
        let mut open = self.current();
        let transaction = open.get_mut(&connection).and_then(|open| open.get_mut(id));
        let transaction = transaction.ok_or(BrokerError::UnknownTransaction)?;
        if transaction.timed_out {
            return Err(BrokerError::TransactionTimeout);
        }
        f(transaction, self.clock.now())
    }

    /// Those that are open, without what some have held for too long.
    fn current(&self) -> MutexGuard<'_, Open> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        for transaction in open.values_mut().flat_map(HashMap::values_mut) {
            if matches!(transaction.begun, Some((at, _)) if at + TIME_LIMIT <= now) {
                *transaction = Transaction {
                    timed_out: true,
                    ..Transaction::default()
                };
            }
        }
        open
    }
}

fn take(open: &mut Open, connection: ConnectionId, id: &[u8]) -> Option<Transaction> {
    let of_connection = open.get_mut(&connection)?;
    let transaction = of_connection.remove(id);
    if of_connection.is_empty() {
        open.remove(&connection);
    }
    transaction
}

impl Transaction {
    fn any_queue(&self) -> Option<Arc<Queue>> {
        let sent_to = self.sends.first().map(|(queue, _)| queue);
        sent_to.or(self.settlements.first().map(|(queue, _)| queue)).cloned()
    }

    fn commit(self) -> Result<(), BrokerError> {
        let rolled_back = |why: BrokerError| BrokerError::RolledBack(why.to_string());
        for (queue, _) in &self.sends {
            queue.check_takes_messages().map_err(rolled_back)?;
        }
        Queue::settle_together(self.settlements).map_err(rolled_back)?;
        // Whatever else could be wrong with them was found when they came.
        for (queue, messages) in self.sends {
            queue.enqueue_admitted(messages);
        }
        Ok(())
    }

    /// Checks that the transaction may have so many more messages, and that the operation is of its entity.
    fn join(&mut self, by: &Participant, messages: usize, now: Timestamp) -> Result<(), BrokerError> {
        if let Some((_, entity)) = &self.begun
            && *entity != by.entity()
        {
            return Err(BrokerError::NotAllowed(format!(
                "Local transactions cannot span multiple entities or partitions: '{entity}' and '{}'. For \
                 transactions across entities attach the coordinator as the first link of the session that all \
                 their links are in, and first of these the one of the entity that messages are settled on.",
                by.entity()
            )));
        }
        if self.messages + messages > MAX_MESSAGES {
            return Err(BrokerError::NotAllowed(format!(
                "A transaction has at most {MAX_MESSAGES} messages."
            )));
        }
        self.begun.get_or_insert_with(|| (now, by.entity().to_owned()));
        self.messages += messages;
        Ok(())
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}
