//! Links on which a client sends.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp_types::{
    definitions::Fields,
    messaging::{Accepted, DeliveryState, Outcome, Rejected},
    transaction::TransactionalState,
};
use serde_amqp::{Value, primitives::Symbol};

use crate::{
    amqp::{Attached, ConnectionId, IncomingDelivery, IncomingHandler, LinkReply, Responder},
    servicebus::{BrokerError, config::NamespaceConfig, message::Message, queue::Queue, transactions::Transactions},
};

/// The message format of a batch, in the official clients.
const BATCH_FORMAT: u32 = 0x8001_3700;

/// Deliveries a client may have unanswered. The service gives 1000.
const CREDIT: u32 = 1000;

/// Takes what a client sends into a queue, or a topic's intake.
pub(super) fn attach(
    queue: Arc<Queue>,
    limits: NamespaceConfig,
    connection: ConnectionId,
    transactions: &Arc<Transactions>,
) -> Attached {
    let mut properties = Fields::default();
    properties.insert(
        Symbol::from("com.microsoft:max-message-batch-size"),
        Value::Ulong(limits.max_message_size),
    );
    Attached::Incoming {
        reply: LinkReply {
            properties,
            max_message_size: limits.max_message_size,
            ..LinkReply::default()
        },
        handler: Arc::new(Sender {
            queue,
            limits,
            connection,
            transactions: Arc::clone(transactions),
        }),
        credit: CREDIT,
    }
}

struct Sender {
    queue: Arc<Queue>,
    limits: NamespaceConfig,
    connection: ConnectionId,
    transactions: Arc<Transactions>,
}

impl IncomingHandler for Sender {
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder) {
        match self.store(&delivery) {
            Ok(None) => self.queue.when_written(move |written| match written {
                Ok(()) => responder.accept(),
                Err(why) => responder.reject(why.into()),
            }),
            Ok(Some(state)) => responder.settle(state),
            Err(why) => responder.reject(why.into()),
        }
    }
}

impl Sender {
    /// Keeps the messages, or remembers them for a transaction; gives the state to answer with where it is
    /// more than accepted.
    fn store(&self, delivery: &IncomingDelivery) -> Result<Option<DeliveryState>, BrokerError> {
        let messages = match delivery.format {
            0 => vec![decode(&delivery.message, self.limits)?],
            BATCH_FORMAT => {
                check_size(&delivery.message, self.limits)?;
                Message::decode_batch(&delivery.message)?
            }
            other => {
                return Err(BrokerError::NotSupported(format!("Message format {other:#x}")));
            }
        };
        let transaction = match &delivery.state {
            None => return self.queue.send(messages).map(|_| None),
            Some(DeliveryState::TransactionalState(state)) => &state.txn_id,
            Some(other) => {
                let text = format!("A message cannot be sent with the state {other:?}.");
                return Err(BrokerError::Malformed(text));
            }
        };
        let sent = self
            .transactions
            .send(self.connection, transaction, &self.queue, messages);
        // What the outcome will be if the transaction is committed (section 4.4.2).
        let outcome = match sent {
            Ok(()) => Outcome::Accepted(Accepted {}),
            Err(why) => Outcome::Rejected(Rejected {
                error: Some(why.into()),
            }),
        };
        Ok(Some(DeliveryState::TransactionalState(TransactionalState {
            txn_id: transaction.clone(),
            outcome: Some(outcome),
        })))
    }
}

/// Takes a message from its encoded form, unless it is larger than the namespace allows.
pub(super) fn decode(encoded: &Bytes, limits: NamespaceConfig) -> Result<Message, BrokerError> {
    check_size(encoded, limits)?;
    Message::decode(encoded)
}

fn check_size(encoded: &Bytes, limits: NamespaceConfig) -> Result<(), BrokerError> {
    let (size, limit) = (encoded.len() as u64, limits.max_message_size);
    if size > limit {
        return Err(BrokerError::MessageTooLarge { size, limit });
    }
    Ok(())
}
