//! Messages from a peer, and the answers to them.

use bytes::Bytes;
use fe2o3_amqp_types::messaging::{Accepted, DeliveryState, Rejected};

use super::{ConnectionId, error::Error};

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
    /// The connection it came on.
    pub(crate) connection: ConnectionId,
    /// The encoded message: every section, fragments joined. A slice of what was read, not a copy,
    /// unless it came in several frames.
    pub(crate) message: Bytes,
    /// 0 for a plain message, 0x80013700 for a batch.
    pub(crate) format: u32,
    /// The sender's tag.
    pub(crate) tag: Bytes,
    /// Sent settled: nobody waits for the answer.
    pub(crate) settled: bool,
    /// The state sent with it: a transactional state in a transaction, else `None`.
    pub(crate) state: Option<DeliveryState>,
}

/// Answers one delivery. May be kept, sent elsewhere and used much later; answers may come in any
/// order and are batched on the wire.
///
/// Dropped without an answer it releases the message, so that no client waits for ever. After the
/// link is gone an answer goes nowhere, without an error: the sender will ask again.
#[derive(Debug)]
pub(crate) struct Responder {}

impl Responder {
    /// The message is stored.
    pub(crate) fn accept(self) {
        self.settle(DeliveryState::Accepted(Accepted {}));
    }

    /// The message is refused for this reason.
    pub(crate) fn reject(self, error: Error) {
        self.settle(DeliveryState::Rejected(Rejected { error: Some(error) }));
    }

    /// Any terminal state.
    pub(crate) fn settle(self, state: DeliveryState) {
        let _ = state;
        unimplemented!()
    }
}
