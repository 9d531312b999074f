//! Transactions: what was sent and settled within one is kept aside, and happens together or not at all
//! (AMQP 1.0 part 4, with the service's limits: one entity, 100 messages).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use super::{
    BrokerError,
    engine::{LockToken, Settlement},
    message::Message,
    queue::Queue,
};
use crate::amqp::ConnectionId;

/// The most messages of one transaction ("Service Bus quotas").
const MAX_MESSAGES: usize = 100;

/// The transactions that are open, by the connection they belong to.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: Mutex<HashMap<(ConnectionId, TransactionId), Transaction>>,
}

/// What a client calls a transaction by.
pub(crate) type TransactionId = Vec<u8>;

#[derive(Debug, Default)]
struct Transaction {
    sends: Vec<(Arc<Queue>, Vec<Message>)>,
    /// All of one queue, so that they can be settled under one lock.
    settlements: Option<Settlements>,
    messages: usize,
}

type Settlements = (Arc<Queue>, Vec<(LockToken, Settlement)>);

impl Transactions {
    pub(crate) fn declare(&self, connection: ConnectionId) -> TransactionId {
        let id = Uuid::new_v4().into_bytes().to_vec();
        self.lock().insert((connection, id.clone()), Transaction::default());
        id
    }

    /// Takes messages to be sent on commit, after the checks that sending makes.
    pub(crate) fn send(
        &self,
        connection: ConnectionId,
        id: &[u8],
        queue: &Arc<Queue>,
        messages: Vec<Message>,
    ) -> Result<(), BrokerError> {
        let messages = queue.admitted(messages)?;
        self.with(connection, id, |transaction| {
            transaction.join(queue, messages.len())?;
            transaction.sends.push((Arc::clone(queue), messages));
            Ok(())
        })
    }

    /// Takes a settlement to be made on commit, if the lock holds now.
    pub(crate) fn settle(
        &self,
        connection: ConnectionId,
        id: &[u8],
        queue: &Arc<Queue>,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<(), BrokerError> {
        queue.check_locked(&[token])?;
        self.with(connection, id, |transaction| {
            transaction.join(queue, 1)?;
            let (of, settlements) = transaction
                .settlements
                .get_or_insert_with(|| (Arc::clone(queue), Vec::new()));
            if !Arc::ptr_eq(of, queue) {
                return Err(BrokerError::NotSupported(
                    "Settling messages of several queues or subscriptions in one transaction".into(),
                ));
            }
            if settlements.iter().any(|(known, _)| *known == token) {
                return Err(BrokerError::MessageLockLost);
            }
            settlements.push((token, settlement));
            Ok(())
        })
    }

    /// Ends a transaction: does all of it, or forgets it.
    pub(crate) fn discharge(&self, connection: ConnectionId, id: &[u8], fail: bool) -> Result<(), BrokerError> {
        let transaction = self.lock().remove(&(connection, id.to_vec()));
        let transaction = transaction.ok_or(BrokerError::UnknownTransaction)?;
        if fail {
            return Ok(());
        }
        let Some(queue) = transaction.any_queue() else {
            return Ok(());
        };
        queue.together(|| transaction.commit())
    }

    /// Forgets a transaction whose coordinator link has gone.
    pub(crate) fn forget(&self, connection: ConnectionId, id: &[u8]) {
        self.lock().remove(&(connection, id.to_vec()));
    }

    fn with<R>(
        &self,
        connection: ConnectionId,
        id: &[u8],
        f: impl FnOnce(&mut Transaction) -> Result<R, BrokerError>,
    ) -> Result<R, BrokerError> {
        let mut open = self.lock();
        let transaction = open.get_mut(&(connection, id.to_vec()));
        f(transaction.ok_or(BrokerError::UnknownTransaction)?)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(ConnectionId, TransactionId), Transaction>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transaction {
    fn any_queue(&self) -> Option<Arc<Queue>> {
        let sent_to = self.sends.first().map(|(queue, _)| queue);
        sent_to.or(self.settlements.as_ref().map(|(queue, _)| queue)).cloned()
    }

    fn commit(self) -> Result<(), BrokerError> {
        if let Some((queue, settlements)) = &self.settlements {
            queue
                .settle_all(settlements)
                .map_err(|why| BrokerError::RolledBack(why.to_string()))?;
        }
        // Whatever could be wrong with them was found when they came.
        for (queue, messages) in self.sends {
            queue.enqueue_admitted(messages);
        }
        Ok(())
    }

    /// Checks that the transaction may have so many more messages, and that this entity is its own.
    fn join(&mut self, queue: &Queue, messages: usize) -> Result<(), BrokerError> {
        if let Some(known) = self.any_queue()
            && entity(&known.path()) != entity(&queue.path())
        {
            return Err(BrokerError::NotSupported(format!(
                "A transaction over several entities, '{}' and '{}',",
                known.path(),
                queue.path()
            )));
        }
        if self.messages + messages > MAX_MESSAGES {
            return Err(BrokerError::NotAllowed(format!(
                "A transaction has at most {MAX_MESSAGES} messages."
            )));
        }
        self.messages += messages;
        Ok(())
    }
}

/// The queue or topic at the root of a path: it, its subscriptions and its dead-letter queues are one.
fn entity(path: &str) -> String {
    let path = path.to_lowercase();
    let end = ["/subscriptions/", "/$"]
        .iter()
        .filter_map(|below| path.find(below))
        .min()
        .unwrap_or(path.len());
    path[..end].to_owned()
}
