//! Messages from a peer, and the answers to them.

use std::fmt;

use bytes::Bytes;
use fe2o3_amqp_types::messaging::{DeliveryState, Rejected, Released};
use tokio_util::sync::CancellationToken;

use super::{connection::Receipt, error::Error};

/// Takes the messages of one incoming link.
pub(crate) trait IncomingHandler: Send + Sync + 'static {
    /// One complete message, in the order sent. Called from the connection's reading task: do what
    /// is quick right here (an append under a lock), hand the rest to a task. The next message
    /// comes without waiting for the answer.
    fn deliver(&self, delivery: IncomingDelivery, responder: Responder);

    /// The link is gone: detached by either side, or the connection has ended. Called once.
    fn closed(&self) {}
}

/// A complete message as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct IncomingDelivery {
    /// The encoded message: every section, fragments joined. A slice of what was read, not a copy,
    /// unless it came in several frames.
    pub(crate) message: Bytes,
    /// 0 for a plain message, 0x80013700 for a batch.
    pub(crate) format: u32,
    /// The state sent with it: a transactional state in a transaction, else `None`.
    pub(crate) state: Option<DeliveryState>,
    /// Settlements in transactions that came before it and are not dealt with yet; each is cancelled when it is. Who
    /// commits a transaction waits for them: clients need not wait for their answers.
    pub(crate) enlisting: Vec<CancellationToken>,
}

/// Answers one delivery. May be kept, sent elsewhere and used much later; answers may come in any
/// order and are batched on the wire.
///
/// Dropped without an answer it releases the message, so that no client waits for ever. After the
/// link is gone an answer goes nowhere, without an error: the sender will ask again.
pub(crate) struct Responder {
    receipt: Option<Receipt>,
}

impl Responder {
    pub(super) fn new(receipt: Receipt) -> Self {
        Self { receipt: Some(receipt) }
    }

    /// The message is stored.
    pub(crate) fn accept(self) {
        self.answer(None);
    }

    /// The message is refused for this reason.
    pub(crate) fn reject(self, error: Error) {
        self.settle(DeliveryState::Rejected(Rejected { error: Some(error) }));
    }

    /// Any terminal state.
    pub(crate) fn settle(self, state: DeliveryState) {
        self.answer(match state {
            DeliveryState::Accepted(_) => None,
            other => Some(Box::new(other)),
        });
    }

    fn answer(mut self, state: Option<Box<DeliveryState>>) {
        if let Some(receipt) = self.receipt.take() {
            receipt.answer(state);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.answer(Some(Box::new(DeliveryState::Released(Released {}))));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}
