//! The link on which a client begins and ends its transactions (AMQP 1.0 section 4.3).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fe2o3_amqp_types::{
    messaging::{Body, DeliveryState},
    primitives::Binary,
    transaction::Declared,
};
use serde_amqp::{Value, descriptor::Descriptor};

use crate::{
    amqp::{Attached, ConnectionId, IncomingDelivery, IncomingHandler, LinkReply, Responder, decode_message},
    servicebus::{
        BrokerError,
        groups::Group,
        store::Kept,
        transactions::{TransactionId, Transactions},
    },
};

/// Descriptors of what is sent to a coordinator (sections 4.5.2 and 4.5.3).
const DECLARE: u64 = 0x31;
const DISCHARGE: u64 = 0x32;

/// Requests a client may have unanswered.
const CREDIT: u32 = 100;

pub(super) fn attach(
    connection: ConnectionId,
    transactions: Arc<Transactions>,
    kept: Kept,
    group: Option<Group>,
) -> Attached {
    Attached::Incoming {
        reply: LinkReply::default(),
        handler: Arc::new(Coordinator {
            link: Arc::new(Link {
                connection,
                transactions,
                kept,
                declared: Mutex::default(),
            }),
            _group: group,
        }),
        credit: CREDIT,
    }
}

struct Coordinator {
    link: Arc<Link>,
    /// Its session's, if that is one.
    _group: Option<Group>,
}

struct Link {
    connection: ConnectionId,
    transactions: Arc<Transactions>,
    kept: Kept,
    /// Those begun on this link: they end with it.
    declared: Mutex<Vec<TransactionId>>,
}

enum Request {
    Declare,
    Discharge { id: TransactionId, fail: bool },
}

impl IncomingHandler for Coordinator {
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder) {
        let link = Arc::clone(&self.link);
        if delivery.enlisting.is_empty() {
            return link.deliver(&delivery.message, responder);
        }
        // What the client has settled before belongs to the transaction, though it hasn't waited for the answers.
        tokio::spawn(async move {
            for settlement in &delivery.enlisting {
                settlement.cancelled().await;
            }
            link.deliver(&delivery.message, responder);
        });
    }

    fn closed(&self) {
        let Link {
            declared,
            transactions,
            connection,
            ..
        } = &*self.link;
        let declared = std::mem::take(&mut *declared.lock().unwrap_or_else(PoisonError::into_inner));
        for id in declared {
            transactions.forget(*connection, &id);
        }
    }
}

impl Link {
    fn deliver(&self, message: &Bytes, responder: Responder) {
        match self.answer(message) {
            Ok(Some(state)) => responder.settle(state),
            Ok(None) => self.kept.when_written(move |written| match written {
                Ok(()) => responder.accept(),
                Err(why) => responder.reject(why.into()),
            }),
            Err(why) => responder.reject(why.into()),
        }
    }

    fn answer(&self, message: &Bytes) -> Result<Option<DeliveryState>, BrokerError> {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        match read(message)? {
            Request::Declare => {
                let id = self.transactions.declare(self.connection)?;
                declared.push(id.clone());
                let txn_id = Binary::from(id);
                Ok(Some(DeliveryState::Declared(Declared { txn_id })))
            }
            Request::Discharge { id, fail } => {
                declared.retain(|known| *known != id);
                self.transactions.discharge(self.connection, &id, fail)?;
                Ok(None)
            }
        }
    }
}

fn read(message: &Bytes) -> Result<Request, BrokerError> {
    let malformed = || BrokerError::Malformed("A coordinator takes declare and discharge only.".into());
    let message = decode_message(message).map_err(|_| malformed())?;
    let Body::Value(value) = message.body else {
        return Err(malformed());
    };
    let Value::Described(described) = value.0 else {
        return Err(malformed());
    };
    let Value::List(fields) = described.value else {
        return Err(malformed());
    };
    match code(&described.descriptor) {
        Some(DECLARE) => match fields.first() {
            None | Some(Value::Null) => Ok(Request::Declare),
            Some(_) => Err(BrokerError::NotSupported("A distributed transaction".into())),
        },
        Some(DISCHARGE) => match fields.as_slice() {
            [Value::Binary(id), rest @ ..] => Ok(Request::Discharge {
                id: id.to_vec(),
                fail: matches!(rest.first(), Some(Value::Bool(true))),
            }),
            _ => Err(malformed()),
        },
        _ => Err(malformed()),
    }
}

/// A descriptor is its code or its name (section 1.2.1); Qpid Proton's clients write the names.
fn code(descriptor: &Descriptor) -> Option<u64> {
    match descriptor {
        Descriptor::Code(code) => Some(*code),
        Descriptor::Name(name) => match name.as_str() {
            "amqp:declare:list" => Some(DECLARE),
            "amqp:discharge:list" => Some(DISCHARGE),
            _ => None,
        },
    }
}
