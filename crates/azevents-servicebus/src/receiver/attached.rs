//! An attached receiving link: opening it, its credit, and the dispositions sent over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fe2o3_amqp::Receiver as AmqpReceiver;
use fe2o3_amqp::link::delivery::{Delivery, DeliveryInfo};
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{IllegalLinkStateError, RecvError};
use fe2o3_amqp::transaction::TransactionRetirement;
use fe2o3_amqp::types::definitions::{self, ErrorCondition, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::{Body, Outcome, Released, Source};
use fe2o3_amqp::types::primitives::{OrderedMap, Symbol, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::link::Settle;
use super::{Origin, ReceiveMode};
use crate::amqp::conditions::DEAD_LETTER;
use crate::amqp::connection::AmqpConnection;
use crate::amqp::guard;
use crate::amqp::link::{self, LinkSession};
use crate::amqp::settlements::Registration;
use crate::amqp::values::millis;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Properties, ReceivedMessage, wire};

/// Source filter that binds a link to a session (Azure Service Bus AMQP protocol guide, "Sessions").
pub(crate) const SESSION_FILTER: &str = "com.microsoft:session-filter";
/// Link property: how long the service may look for a free session, in milliseconds.
const TIMEOUT_PROPERTY: &str = "com.microsoft:timeout";

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
    pub(super) fn is_some(&self) -> bool {
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
    mode: ReceiveMode,
    /// What the broker may still send.
    credit: usize,
    /// The broker was asked to use up its credit, and has not said yet that it did.
    draining: bool,
}

/// What a link brings.
#[expect(clippy::large_enum_variant, reason = "nearly every event is a message")]
pub(super) enum Event {
    Message(ReceivedMessage),
    /// A delivery that cannot be used, and was dealt with.
    Unusable,
    /// The broker has used up the credit, as it was asked to.
    Drained,
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
        mode: target.mode,
        credit: 0,
        draining: false,
    })
}

impl Attached {
    /// Says goodbye to the broker.
    pub(super) async fn close(self) {
        link::close(self.session, None, Some(self.receiver)).await;
    }

    /// Raises the broker's credit to `wanted`, not for every single message but by halves. It is never
    /// lowered: `fe2o3-amqp` refuses a transfer that was on its way when the credit went down.
    pub(super) async fn top_up(&mut self, wanted: usize) -> Result<(), IllegalLinkStateError> {
        if !self.draining && wanted > self.credit && self.credit <= wanted / 2 {
            self.receiver
                .set_credit(u32::try_from(wanted).unwrap_or(u32::MAX))
                .await?;
            self.credit = wanted;
        }
        Ok(())
    }

    /// Waits for what comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Event> {
        let received = tokio::select! {
            biased;
            received = guard::receiving(self.receiver.recv::<Body<Value>>()) => received?,
            () = self.settlements.drained(), if self.draining => return Ok(Event::Drained),
        };
        self.credit = self.credit.saturating_sub(1);
        match received {
            Ok(delivery) => Ok(Event::Message(self.message(delivery))),
            Err(error) => self.on_receive_error(error).await.map(|()| Event::Unusable),
        }
    }

    fn message(&self, delivery: Delivery<Body<Value>>) -> ReceivedMessage {
        let (info, message) = delivery.into_parts();
        match self.mode {
            ReceiveMode::PeekLock => {
                let token = wire::lock_token(info.delivery_tag());
                wire::from_amqp(message, token, Some(Origin::new(info, self.id)))
            }
            ReceiveMode::ReceiveAndDelete => wire::from_amqp(message, None, None),
        }
    }

    /// Whether the broker may send more, unless it is about to say that it will not.
    pub(super) fn has_credit(&self) -> bool {
        self.credit > 0 && !self.draining
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Asks the broker to use up the credit, and with that takes back what it does not use.
    pub(super) async fn drain(&mut self) -> Result<(), IllegalLinkStateError> {
        self.receiver.drain().await?;
        self.draining = true;
        Ok(())
    }

    /// Ends a drain. To be called once all that was sent before the answer has been received.
    pub(super) fn end_drain(&mut self) {
        self.draining = false;
        self.credit = 0;
    }

    /// Gives messages back, as though they had not been sent; those that came over this link.
    pub(super) async fn hand_back(&self, messages: Vec<ReceivedMessage>) {
        let deliveries: Vec<_> = messages
            .into_iter()
            .filter_map(|message| message.origin.filter(|origin| origin.link == self.id))
            .filter_map(|origin| origin.claim())
            .collect();
        if let Err(error) = self.receiver.dispose_all(deliveries, Released {}).await {
            tracing::debug!(%error, "prefetched messages stay locked until their locks expire");
        }
    }

    /// Drops a broken link; those who wait for a settlement over it learn that it is gone.
    pub(super) fn discard(self) {
        let Self {
            session,
            receiver,
            settlements,
            ..
        } = self;
        drop(settlements);
        drop(receiver);
        tokio::spawn(link::close(session, None, None));
    }

    /// Sends dispositions, consecutive completions as ranges.
    pub(super) async fn settle(
        &mut self,
        settles: impl ExactSizeIterator<Item = Settle>,
    ) -> Result<(), IllegalLinkStateError> {
        let mut accepted: Vec<DeliveryInfo> = Vec::with_capacity(settles.len());
        for Settle {
            delivery,
            link,
            outcome,
            transaction,
            reply,
        } in settles
        {
            if link != self.id {
                // Received over an earlier link: dropping the reply says so.
                continue;
            }
            self.settlements.expect(delivery.delivery_id(), reply);
            if let Some(transaction) = transaction {
                transaction.retire(&mut self.receiver, delivery, outcome).await?;
                continue;
            }
            match outcome {
                Outcome::Accepted(_) => accepted.push(delivery),
                Outcome::Rejected(rejected) => self.receiver.dispose(delivery, rejected).await?,
                Outcome::Released(released) => self.receiver.dispose(delivery, released).await?,
                Outcome::Modified(modified) => self.receiver.dispose(delivery, modified).await?,
                // The outcome of declaring a transaction, which no message has.
                Outcome::Declared(_) => {}
            }
        }
        self.receiver.accept_all(accepted).await
    }

    async fn on_receive_error(&self, error: RecvError) -> Result<()> {
        match error {
            // Not even AMQP: set it aside at once, since it would fail on every delivery.
            RecvError::MessageDecode(error) => {
                tracing::warn!(error = %error.source, "an undecodable message is dead-lettered");
                let reason = dead_letter_error("Undecodable", &error.source.to_string(), &Properties::new());
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
pub(super) fn dead_letter_error(reason: &str, description: &str, properties: &Properties) -> definitions::Error {
    let text = |text: &str| Value::String(text.to_owned());
    let mut info = fields(properties);
    info.insert(Symbol::from(crate::message::DEAD_LETTER_REASON), text(reason));
    info.insert(Symbol::from(crate::message::DEAD_LETTER_DESCRIPTION), text(description));
    definitions::Error::new(
        ErrorCondition::Custom(Symbol::from(DEAD_LETTER)),
        Some(description.to_owned()),
        Some(info),
    )
}

/// Application properties to set on a message, as outcomes carry them.
pub(super) fn fields(properties: &Properties) -> definitions::Fields {
    properties
        .iter()
        .map(|(name, value)| (Symbol::from(name.as_str()), Value::from(value.to_wire())))
        .collect()
}
