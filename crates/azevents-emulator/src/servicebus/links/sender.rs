//! Links on which a client sends.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp_types::{definitions::Fields, messaging::DeliveryState};
use serde_amqp::{Value, primitives::Symbol};

use super::enlisting::Enlisting;
use crate::{
    amqp::{Attached, IncomingDelivery, IncomingHandler, LinkReply, Responder},
    servicebus::{BrokerError, NamespaceConfig, message::Message, queue::Queue},
};

/// The message format of a batch, in the official clients.
const BATCH_FORMAT: u32 = 0x8001_3700;

/// Deliveries a client may have unanswered. The service gives 1000.
const CREDIT: u32 = 1000;

/// Takes what a client sends into a queue, or a topic's intake. A limit of the entity's own is the one it has now.
pub(super) fn attach(queue: Arc<Queue>, limits: NamespaceConfig, enlisting: Enlisting) -> Attached {
    let limits = queue.limits(limits);
    let mut properties = Fields::default();
    properties.insert(
        Symbol::from("com.microsoft:max-message-batch-size"),
        Value::Ulong(limits.max_batch_size()),
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
            enlisting,
        }),
        credit: CREDIT,
    }
}

struct Sender {
    queue: Arc<Queue>,
    limits: NamespaceConfig,
    enlisting: Enlisting,
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
                check_size(&delivery.message, self.limits.max_batch_size())?;
                Message::decode_batch(&delivery.message)?
            }
            other => {
                return Err(BrokerError::NotSupported(format!("Message format {other:#x}")));
            }
        };
        match &delivery.state {
            None => self.queue.send(messages).map(|_| None),
            Some(DeliveryState::TransactionalState(state)) => {
                Ok(Some(self.enlisting.send(&state.txn_id, &self.queue, messages)))
            }
            Some(other) => {
                let text = format!("A message cannot be sent with the state {other:?}.");
                Err(BrokerError::Malformed(text))
            }
        }
    }
}

/// Takes a message from its encoded form, unless it is larger than these limits allow.
pub(super) fn decode(encoded: &Bytes, limits: NamespaceConfig) -> Result<Message, BrokerError> {
    check_size(encoded, limits.max_message_size)?;
    Message::decode(encoded)
}

fn check_size(encoded: &Bytes, limit: u64) -> Result<(), BrokerError> {
    let size = encoded.len() as u64;
    if size > limit {
        return Err(BrokerError::MessageTooLarge { size, limit });
    }
    Ok(())
}
