//! Messages to a peer: credit, sending, and what the peer makes of them.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use fe2o3_amqp_types::messaging::DeliveryState;
use thiserror::Error as ThisError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::DropGuard;

use super::{
    connection::{Connection, LinkId, NotSent},
    error::Error,
};

/// 16 bytes that name a delivery; Service Bus clients read it as the lock token.
pub(crate) type DeliveryTag = [u8; 16];

/// A delivery's number within its session; unique among those that are not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeliveryId(pub(crate) u32);

/// The link, its session or its connection has ended; nothing can be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[error("the link is gone")]
pub(crate) struct LinkGone;

/// A message to send.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Names it for the peer.
    pub(crate) tag: DeliveryTag,
    /// The encoded message; may be in pieces (a header of ours, the bare message as it came).
    /// Empty pieces are fine.
    pub(crate) message: [Bytes; 2],
    /// 0 for a plain message.
    pub(crate) format: u32,
    /// Sent settled: there will be no disposition.
    pub(crate) settled: bool,
}

/// Sends on one outgoing link. Every future here may be dropped at any await without loss: a
/// delivery has either been taken whole or not at all.
pub(crate) struct LinkSender {
    connection: Arc<Connection>,
    link: LinkId,
    wake: Arc<Notify>,
}

impl LinkSender {
    pub(super) fn new(connection: Arc<Connection>, link: LinkId, wake: Arc<Notify>) -> Self {
        Self { connection, link, wake }
    }

    /// Waits until a delivery can be sent at once: the peer has given credit, the previous one has
    /// left, and the connection has room. Returns how many deliveries the credit allows (>= 1).
    /// For one task at a time.
    pub(crate) async fn ready(&self) -> Result<u32, LinkGone> {
        loop {
            match self.connection.poll_ready(self.link) {
                None => return Err(LinkGone),
                Some(0) => self.wake.notified().await,
                Some(credit) => return Ok(credit),
            }
        }
    }

    /// Credit right now; 0 also when the link is gone.
    pub(crate) fn credit(&self) -> u32 {
        self.connection.credit(self.link)
    }

    /// Sends, after waiting as [`ready`](Self::ready) does. Returns when the listener has taken
    /// the message, not when the peer has it.
    pub(crate) async fn send(&mut self, delivery: Delivery) -> Result<DeliveryId, LinkGone> {
        let mut delivery = delivery;
        loop {
            match self.connection.try_send(self.link, delivery) {
                Ok(id) => return Ok(id),
                Err(not_sent) => match *not_sent {
                    (_, NotSent::Gone) => return Err(LinkGone),
                    (back, NotSent::NotNow) => delivery = back,
                },
            }
            self.ready().await?;
        }
    }

    /// Like [`send`](Self::send), but gives the delivery back where that would have to wait, or
    /// the link is gone.
    pub(crate) fn try_send(&mut self, delivery: Delivery) -> Result<DeliveryId, Box<Delivery>> {
        self.connection
            .try_send(self.link, delivery)
            .map_err(|not_sent| Box::new(not_sent.0))
    }

    /// Settles from our side: the answer to an unsettled disposition of the peer, with the state
    /// that holds now (receiver settle mode second; AMQP 1.0 section 2.6.12). Unknown ids (settled
    /// before) are ignored.
    pub(crate) fn settle(&self, delivery: DeliveryId, state: &DeliveryState) {
        self.connection.settle(self.link, delivery, state);
    }

    /// [`settle`](Self::settle) for later, and from elsewhere.
    pub(crate) fn settling(&self) -> impl FnOnce(DeliveryId, &DeliveryState) + Send + use<> {
        let (connection, link) = (Arc::clone(&self.connection), self.link);
        move |delivery, state| connection.settle(link, delivery, state)
    }

    /// The answer to [`LinkEvent::Drain`]: there is nothing more to send now. Uses up the credit
    /// and says so (AMQP 1.0 section 2.6.7). Ignored when no drain is pending.
    pub(crate) fn drained(&mut self) {
        self.connection.drained(self.link);
    }
}

impl fmt::Debug for LinkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSender")
    }
}

/// What the peer does on an outgoing link, in order.
#[derive(Debug)]
pub(crate) struct LinkEvents {
    events: mpsc::UnboundedReceiver<LinkEvent>,
}

impl LinkEvents {
    // Unbounded is bounded here: at most a few events for each delivery the broker itself sent.
    pub(super) fn new(events: mpsc::UnboundedReceiver<LinkEvent>) -> Self {
        Self { events }
    }

    /// The next event; `None` after [`LinkEvent::Closed`]. May be dropped at any await.
    pub(crate) async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }
}

/// See [`LinkEvents`].
#[derive(Clone, Debug)]
pub(crate) enum LinkEvent {
    /// The peer's disposition for one delivery (a range on the wire comes as one event each).
    Disposition {
        /// Which.
        delivery: DeliveryId,
        /// Its tag.
        tag: DeliveryTag,
        /// The outcome; `None` if the peer settled without one.
        state: Option<DeliveryState>,
        /// `false`: the peer waits for [`LinkSender::settle`] with the result.
        settled: bool,
        /// Dropped, it says that this was dealt with, to what waits for it ([`IncomingDelivery::enlisting`]).
        ///
        /// [`IncomingDelivery::enlisting`]: super::IncomingDelivery::enlisting
        enlisting: Option<Arc<DropGuard>>,
    },
    /// The peer wants what there is now, at most the credit, and then [`LinkSender::drained`].
    Drain,
    /// Over. Unsettled deliveries will get no disposition on this link any more.
    Closed(DetachReason),
}

/// Why a link is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DetachReason {
    /// The peer detached it or ended its session, with or without an error.
    Peer(Option<Error>),
    /// [`LinkControl::detach`](super::LinkControl::detach), a fault, or a protocol error of the
    /// peer's that the listener answered.
    Local(Error),
    /// The connection is gone.
    ConnectionLost,
    /// The listener is shutting down.
    Shutdown,
}
