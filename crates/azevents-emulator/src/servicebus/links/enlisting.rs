//! A link's part in transactions.

use std::sync::Arc;

use fe2o3_amqp_types::{
    messaging::{Accepted, DeliveryState, Outcome, Rejected},
    transaction::TransactionalState,
};

use super::settlement;
use crate::servicebus::{
    BrokerError,
    engine::LockToken,
    groups::Participant,
    message::Message,
    queue::Queue,
    transactions::{TransactionId, Transactions},
};

/// How what comes over a link is taken into the transactions of its client.
pub(super) struct Enlisting {
    by: Participant,
    transactions: Arc<Transactions>,
}

impl Enlisting {
    pub(super) fn new(by: Participant, transactions: &Arc<Transactions>) -> Self {
        Self {
            by,
            transactions: Arc::clone(transactions),
        }
    }

    /// Sends with a transaction; gives what to answer: the outcome there will be if it is committed
    /// (AMQP 1.0 section 4.4.2).
    pub(super) fn send(&self, id: &TransactionId, queue: &Arc<Queue>, messages: Vec<Message>) -> DeliveryState {
        let outcome = match self.transactions.send(&self.by, id, queue, messages) {
            Ok(()) => Outcome::Accepted(Accepted {}),
            Err(why) => Outcome::Rejected(Rejected {
                error: Some(why.into()),
            }),
        };
        provisional(id, outcome)
    }

    /// Settles with a transaction; as [`send`](Self::send).
    pub(super) fn settle(
        &self,
        queue: &Arc<Queue>,
        token: LockToken,
        state: TransactionalState,
    ) -> Result<DeliveryState, BrokerError> {
        let malformed = || BrokerError::Malformed("A settlement in a transaction needs an outcome.".into());
        let mut outcome = state.outcome.ok_or_else(malformed)?;
        let settlement = settlement::from_state(&outcome.clone().into())?.ok_or_else(malformed)?;
        if let Outcome::Rejected(rejected) = &mut outcome {
            // As in `settlement::confirmation`.
            rejected.error = None;
        }
        self.transactions
            .settle(&self.by, &state.txn_id, queue, token, settlement)?;
        Ok(provisional(&state.txn_id, outcome))
    }
}

fn provisional(id: &TransactionId, outcome: Outcome) -> DeliveryState {
    DeliveryState::TransactionalState(TransactionalState {
        txn_id: id.clone().into(),
        outcome: Some(outcome),
    })
}
