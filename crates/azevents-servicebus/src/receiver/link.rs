//! The task that owns a receiving link: it keeps the broker supplied with credit, fills the buffer, sends
//! settlements, and attaches again after a loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fe2o3_amqp::Receiver as AmqpReceiver;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp::link::receiver::{CreditMode, TerminalDeliveryState};
use fe2o3_amqp::link::{IllegalLinkStateError, RecvError};
use fe2o3_amqp::types::definitions::{self, ErrorCondition, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::{Body, DeliveryState, Released, Source};
use fe2o3_amqp::types::primitives::{OrderedMap, Symbol, Value};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::buffer::Buffer;
use super::{Origin, ReceiveMode};
use crate::amqp::conditions::DEAD_LETTER;
use crate::amqp::connection::AmqpConnection;
use crate::amqp::link::{self, LinkSession};
use crate::amqp::settlements::Registration;
use crate::amqp::values::millis;
use crate::error::{Error, ErrorKind, Result};
use crate::message::wire;
use crate::retry::RetryOptions;

/// Settlements that are sent in one go.
const SETTLE_BATCH: usize = 256;
/// Source filter that binds a link to a session (Azure Service Bus AMQP protocol guide, "Sessions").
pub(crate) const SESSION_FILTER: &str = "com.microsoft:session-filter";
/// Link property: how long the service may look for a free session, in milliseconds.
const TIMEOUT_PROPERTY: &str = "com.microsoft:timeout";

/// A settlement on its way. The broker's answer goes to `reply`; where the link is gone, or is not the one
/// the message came over, `reply` is dropped and the caller settles another way.
pub(super) struct Settle {
    pub(super) origin: Origin,
    pub(super) state: TerminalDeliveryState,
    pub(super) reply: oneshot::Sender<Option<DeliveryState>>,
}

/// Which session a link is bound to.
#[derive(Debug, Clone)]
pub(crate) enum Session {
    /// The entity has none.
    None,
    /// The next one that nobody holds.
    Next,
    Named(String),
}

impl Session {
    fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The value of the source filter that asks for it.
    fn filter(&self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Next => Some(Value::Null),
            Self::Named(id) => Some(Value::String(id.clone())),
        }
    }
}

/// What to attach to.
#[derive(Debug, Clone)]
pub(crate) struct LinkTarget {
    pub(crate) entity: String,
    pub(crate) mode: ReceiveMode,
    pub(crate) session: Session,
    /// How long attaching may take, at the service and here.
    pub(crate) timeout: Duration,
}

/// An attached link.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) name: String,
    session: LinkSession,
    pub(crate) receiver: AmqpReceiver,
    settlements: Registration,
    /// Tells links apart that followed one another.
    id: u64,
    /// What the broker may still send.
    credit: usize,
}

/// Opens a link. Where the caller goes away meanwhile, the link is opened and closed again: a session that
/// was locked by it is free again then.
pub(crate) async fn attach(connection: &Arc<AmqpConnection>, target: &LinkTarget) -> Result<Attached> {
    let (done, taken) = oneshot::channel();
    let (connection, target) = (Arc::clone(connection), target.clone());
    tokio::spawn(async move {
        // `fe2o3-amqp` must not be left in the middle of this; see `link::to_its_end`.
        if let Err(Ok(orphan)) = done.send(attach_now(&connection, &target).await) {
            orphan.close().await;
        }
    });
    taken
        .await
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime is shutting down")))
}

async fn attach_now(connection: &Arc<AmqpConnection>, target: &LinkTarget) -> Result<Attached> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    let mut session = connection.session_for(&target.entity).await?;
    let name = format!("{}-{}", target.entity, Uuid::new_v4().simple());
    let settlements = session.settlements.register(&name);
    let mut source = Source::builder().address(target.entity.as_str());
    if let Some(value) = target.session.filter() {
        source = source.filter(OrderedMap::from_iter([(Symbol::from(SESSION_FILTER), value)]));
    }
    // Peek-lock settles second, as in the .NET and JavaScript SDKs: our disposition is unsettled, and the
    // broker's settled answer carries the outcome, which may be that the lock was lost. Settling first
    // would be fire and forget.
    let (theirs, ours) = match target.mode {
        ReceiveMode::PeekLock => (SenderSettleMode::Unsettled, ReceiverSettleMode::Second),
        ReceiveMode::ReceiveAndDelete => (SenderSettleMode::Settled, ReceiverSettleMode::First),
    };
    let timeout = Value::Uint(millis(target.timeout));
    let attach = AmqpReceiver::builder()
        .name(name.as_str())
        .source(source.build())
        .sender_settle_mode(theirs)
        .receiver_settle_mode(ours)
        // Credit follows demand; `Auto` would refill by what was settled.
        .credit_mode(CreditMode::Manual)
        .properties(OrderedMap::from_iter([(Symbol::from(TIMEOUT_PROPERTY), timeout)]))
        .verify_incoming_source(false)
        .verify_incoming_target(false)
        .attach(&mut session.handle);
    // The service answers at its own timeout; ours is for a service that does not.
    let patience = target.timeout + Duration::from_secs(5);
    let receiver = match tokio::time::timeout(patience, attach).await {
        Ok(receiver) => receiver?,
        Err(_) => return Err(Error::timeout("the link was not attached in time")),
    };
    tracing::debug!(entity = target.entity, "receiving link attached");
    Ok(Attached {
        name,
        session,
        receiver,
        settlements,
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        credit: 0,
    })
}

/// The link's task.
pub(crate) struct LinkTask {
    pub(super) connection: Arc<AmqpConnection>,
    pub(super) target: LinkTarget,
    pub(super) retry: RetryOptions,
    pub(super) buffer: Arc<Buffer>,
    pub(super) settles: mpsc::Receiver<Settle>,
}

/// Why a link is not used any more.
enum Ended {
    /// The receiver was closed.
    Closed,
    Lost(Error),
}

impl LinkTask {
    /// Receives over `attached` and, where the link is not bound to a session, over others after it.
    pub(super) async fn run(mut self, attached: Option<Attached>) {
        let mut next = attached;
        loop {
            let attached = match next.take() {
                Some(attached) => attached,
                None => match self.attach_when_wanted().await {
                    Some(attached) => attached,
                    None => return,
                },
            };
            let mut attached = attached;
            match self.serve(&mut attached).await {
                Ended::Closed => {
                    self.hand_back(&attached).await;
                    attached.close().await;
                    return;
                }
                Ended::Lost(error) => {
                    tracing::debug!(%error, entity = self.target.entity, "receiving link lost");
                    let Attached {
                        session,
                        receiver,
                        settlements,
                        ..
                    } = attached;
                    // Those who wait for a settlement learn that the link is gone.
                    drop(settlements);
                    drop(receiver);
                    tokio::spawn(link::close(session, None, None));
                    if self.target.session.is_some() {
                        // The session's lock went with its link, and every message's with it.
                        self.buffer.clear();
                        self.buffer.end(session_lost(&error));
                        return;
                    }
                }
            }
        }
    }

    /// Waits for somebody who wants messages, then attaches, with backoff. `None` when closed.
    async fn attach_when_wanted(&mut self) -> Option<Attached> {
        let mut delays = self.retry.policy.delays();
        loop {
            while !self.buffer.is_wanted() {
                tokio::select! {
                    // Dropped unanswered: there is no link to settle over.
                    settle = self.settles.recv() => drop(settle?),
                    () = self.buffer.wanted() => {}
                }
            }
            let error = match attach(&self.connection, &self.target).await {
                Ok(attached) => return Some(attached),
                Err(error) => error.during("open receiver", &self.target.entity),
            };
            let delay = if error.is_transient() { delays.next() } else { None };
            let Some(delay) = delay else {
                // Enough: those who wait learn about it, and who comes next tries anew.
                self.buffer.fail(error);
                delays = self.retry.policy.delays();
                tokio::task::yield_now().await;
                continue;
            };
            let pause = self.retry.pause(&error, delay);
            tracing::warn!(%error, ?pause, "attaching again");
            let sleep = tokio::time::sleep(pause);
            tokio::pin!(sleep);
            loop {
                tokio::select! {
                    () = &mut sleep => break,
                    settle = self.settles.recv() => drop(settle?),
                }
            }
        }
    }

    async fn serve(&mut self, attached: &mut Attached) -> Ended {
        let mut settles = Vec::with_capacity(SETTLE_BATCH);
        loop {
            if let Err(error) = attached.top_up(self.buffer.shortfall()).await {
                return Ended::Lost(error.into());
            }
            tokio::select! {
                biased;
                count = self.settles.recv_many(&mut settles, SETTLE_BATCH) => {
                    if count == 0 {
                        return Ended::Closed;
                    }
                    if let Err(error) = attached.settle(settles.drain(..)).await {
                        return Ended::Lost(error.into());
                    }
                }
                delivery = attached.receiver.recv::<Body<Value>>() => {
                    attached.credit = attached.credit.saturating_sub(1);
                    match delivery {
                        Ok(delivery) => self.deliver(attached, delivery),
                        Err(error) => if let Err(error) = attached.on_receive_error(error).await {
                            return Ended::Lost(error);
                        }
                    }
                }
                () = self.buffer.wanted() => {}
            }
        }
    }

    fn deliver(&self, attached: &Attached, delivery: Delivery<Body<Value>>) {
        let (info, message) = delivery.into_parts();
        let (token, origin) = match self.target.mode {
            ReceiveMode::PeekLock => (
                wire::lock_token(info.delivery_tag()),
                Some(Origin::new(info, attached.id)),
            ),
            ReceiveMode::ReceiveAndDelete => (None, None),
        };
        self.buffer.push(wire::from_amqp(message, token, origin));
    }

    /// Gives messages that nobody asked for back to the broker, instead of keeping them locked.
    async fn hand_back(&self, attached: &Attached) {
        let unseen: Vec<_> = self
            .buffer
            .clear()
            .into_iter()
            .filter_map(|message| message.origin.filter(|origin| origin.link == attached.id))
            .map(|origin| origin.delivery)
            .collect();
        if let Err(error) = attached.receiver.dispose_all(unseen, Released {}).await {
            tracing::debug!(%error, "prefetched messages stay locked until their locks expire");
        }
    }
}

impl Attached {
    async fn close(self) {
        link::close(self.session, None, Some(self.receiver)).await;
    }

    /// Raises the broker's credit to `wanted`, not for every single message but by halves. It is never
    /// lowered: `fe2o3-amqp` refuses a transfer that was on its way when the credit went down.
    async fn top_up(&mut self, wanted: usize) -> Result<(), IllegalLinkStateError> {
        if wanted > self.credit && self.credit <= wanted / 2 {
            self.receiver
                .set_credit(u32::try_from(wanted).unwrap_or(u32::MAX))
                .await?;
            self.credit = wanted;
        }
        Ok(())
    }

    /// Sends dispositions, consecutive completions as ranges.
    async fn settle(&self, settles: impl Iterator<Item = Settle>) -> Result<(), IllegalLinkStateError> {
        let mut accepted: Vec<DeliveryInfo> = Vec::new();
        for Settle { origin, state, reply } in settles {
            if origin.link != self.id {
                // Received over an earlier link: dropping the reply says so.
                continue;
            }
            self.settlements.expect(origin.delivery.delivery_id(), reply);
            match state {
                TerminalDeliveryState::Accepted(_) => accepted.push(origin.delivery),
                state => self.receiver.dispose(origin.delivery, state).await?,
            }
        }
        self.receiver.accept_all(accepted).await
    }

    async fn on_receive_error(&self, error: RecvError) -> Result<()> {
        match error {
            // Not even AMQP: set it aside at once, since it would fail on every delivery.
            RecvError::MessageDecode(error) => {
                tracing::warn!(error = %error.source, "an undecodable message is dead-lettered");
                let reason = dead_letter_error("Undecodable", &error.source.to_string());
                Ok(self.receiver.reject(error.info, reason).await?)
            }
            error if error.recovery().link_is_usable() => {
                tracing::warn!(%error, "a delivery was dropped; it comes again when its lock expires");
                Ok(())
            }
            error => Err(error.into()),
        }
    }
}

/// What a dead-lettering disposition carries.
pub(super) fn dead_letter_error(reason: &str, description: &str) -> definitions::Error {
    let text = |text: &str| Value::String(text.to_owned());
    definitions::Error::new(
        ErrorCondition::Custom(Symbol::from(DEAD_LETTER)),
        Some(description.to_owned()),
        Some(OrderedMap::from_iter([
            (Symbol::from(crate::message::DEAD_LETTER_REASON), text(reason)),
            (Symbol::from(crate::message::DEAD_LETTER_DESCRIPTION), text(description)),
        ])),
    )
}

fn session_lost(cause: &Error) -> Error {
    match cause.kind() {
        ErrorKind::SessionLockLost => cause.clone(),
        _ => Error::new(ErrorKind::SessionLockLost, "the session's link was lost").with_source(cause.clone()),
    }
}
