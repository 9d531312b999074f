//! Links on which a client receives, from an entity or from one of its sessions.

use std::sync::Arc;

use fe2o3_amqp_types::{definitions::SenderSettleMode, messaging::DeliveryState};

use super::{
    enlisting::Enlisting,
    session::{self, SessionLinks, Wanted},
    settlement,
};
use crate::{
    amqp::{
        AttachRequest, Attached, Delivery, DeliveryId, DeliveryTag, LinkEvent, LinkEvents, LinkReply, LinkSender,
        error::Error,
    },
    servicebus::{
        BrokerError,
        engine::{LockToken, ReceiveMode, Received, Settlement},
        queue::{HeldSession, Queue},
        usage::InUse,
    },
};

/// Messages taken from the queue at a time, however much credit there is. Few, because those that
/// can't be sent at once are put back.
const BATCH: usize = 16;

/// Gives a client what is in a queue, or accepts a session for it first.
pub(super) async fn attach(
    queue: Arc<Queue>,
    request: AttachRequest,
    sessions: &Arc<SessionLinks>,
    enlisting: Enlisting,
) -> Result<Attached, Error> {
    if let Some(to) = queue.forwards_to() {
        return Err(BrokerError::NotAllowed(format!(
            "'{}' passes its messages on to '{to}'; receive them there.",
            queue.path()
        ))
        .into());
    }
    queue.check_gives_messages()?;
    let in_use = queue.usage().receive();
    let settled = matches!(request.snd_settle_mode, SenderSettleMode::Settled);
    let wanted = Wanted::read(&request)?;
    let Some(wanted) = wanted else {
        if queue.requires_session() {
            return Err(BrokerError::NotAllowed(format!(
                "It is not possible for an entity that requires sessions to create a \
                 non-sessionful message receiver: '{}'.",
                queue.path()
            ))
            .into());
        }
        let outlet = Outlet::Queue(queue);
        return Ok(Attached::outgoing(LinkReply::default(), move |sender, events| {
            Receiver {
                outlet,
                settled,
                sender,
                enlisting,
                _in_use: in_use,
            }
            .run(events)
        }));
    };
    let session = session::accept(&queue, &wanted, &request).await?;
    let reply = session::reply(&session, &request);
    let link = sessions.enter(&request, &session);
    let outlet = Outlet::Session(queue, session);
    Ok(Attached::outgoing(reply, move |sender, events| async move {
        // The session goes back when the receiver is dropped, the link's name after it.
        let _link = link;
        Receiver {
            outlet,
            settled,
            sender,
            enlisting,
            _in_use: in_use,
        }
        .run(events)
        .await
    }))
}

/// Where a receiver's messages come from.
enum Outlet {
    Queue(Arc<Queue>),
    Session(Arc<Queue>, HeldSession),
}

impl Outlet {
    /// Messages are always taken under a lock, also for receive-and-delete: what can't be sent
    /// after all is put back, not lost.
    const MODE: ReceiveMode = ReceiveMode::PeekLock;

    fn try_receive(&self, max: usize) -> Result<Vec<Received>, BrokerError> {
        match self {
            Self::Queue(queue) => Ok(queue.try_receive(max, Self::MODE)),
            Self::Session(_, session) => session.try_receive(max, Self::MODE),
        }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>, BrokerError> {
        match self {
            Self::Queue(queue) => queue.receive(max, Self::MODE).await,
            Self::Session(_, session) => session.receive(max, Self::MODE).await,
        }
    }

    fn settle(&self, token: LockToken, settlement: &Settlement) -> Result<(), BrokerError> {
        match self {
            Self::Queue(queue) => queue.settle(token, settlement),
            Self::Session(_, session) => session.settle(token, settlement),
        }
    }

    fn queue(&self) -> &Queue {
        let (Self::Queue(queue) | Self::Session(queue, _)) = self;
        queue
    }

    /// Settles for the broker itself, which is spared injected faults.
    fn settle_own(&self, token: LockToken, settlement: &Settlement) {
        // The lock is as young as the delivery; if it ended meanwhile, the message is back anyway.
        let _ = self.queue().settle_without_faults(token, settlement);
    }
}

struct Receiver {
    outlet: Outlet,
    /// Receive-and-delete.
    settled: bool,
    sender: LinkSender,
    enlisting: Enlisting,
    _in_use: InUse,
}

impl Receiver {
    /// Until the link is over. Messages the client had not settled stay locked until their locks
    /// expire, except a session's: those go back with the session.
    async fn run(mut self, mut events: LinkEvents) -> Result<(), Error> {
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    None | Some(LinkEvent::Closed(_)) => return Ok(()),
                    Some(LinkEvent::Drain) => self.drain().await?,
                    Some(LinkEvent::Disposition { delivery, tag, state, settled, enlisting }) => {
                        self.settle(delivery, tag, state, settled);
                        drop(enlisting);
                    }
                },
                batch = next_batch(&self.sender, &self.outlet) => match batch? {
                    Some(batch) => { self.deliver(batch).await?; }
                    // Gone: the event that says so is on its way.
                    None => match events.next().await {
                        Some(event) if !matches!(event, LinkEvent::Closed(_)) => {
                            self.last_words(event);
                        }
                        _ => return Ok(()),
                    },
                },
            }
        }
    }

    /// Sends what there is, as far as the credit goes, then says that this was all.
    async fn drain(&mut self) -> Result<(), BrokerError> {
        loop {
            let credit = self.sender.credit() as usize;
            let batch = match credit {
                0 => Vec::new(),
                credit => self.outlet.try_receive(credit.min(BATCH))?,
            };
            if batch.is_empty() || !self.deliver(batch).await? {
                break;
            }
        }
        self.sender.drained();
        Ok(())
    }

    /// Sends messages that were taken; puts those back that can't go out now. Returns whether all
    /// were sent.
    async fn deliver(&mut self, batch: Vec<Received>) -> Result<bool, BrokerError> {
        if self.settled && self.outlet.queue().kept().keeps() {
            return self.deliver_for_good(batch).await;
        }
        let mut blocked = false;
        for received in batch {
            if !blocked {
                blocked = self.sender.try_send(self.delivery(&received)).is_err();
            }
            if blocked {
                self.outlet.settle_own(received.token, &Settlement::Release);
            } else if self.settled {
                self.outlet.settle_own(received.token, &Settlement::Complete);
            }
        }
        Ok(!blocked)
    }

    /// Receive-and-delete from what is kept: a message is gone from the disk before it is sent, or it
    /// could come once more after a restart. One that the link's end overtakes is lost, as this mode
    /// has it.
    async fn deliver_for_good(&mut self, batch: Vec<Received>) -> Result<bool, BrokerError> {
        for received in &batch {
            self.outlet.settle_own(received.token, &Settlement::Complete);
        }
        self.outlet.queue().kept().written().await?;
        for received in &batch {
            if self.sender.send(self.delivery(received)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn delivery(&self, received: &Received) -> Delivery {
        let mut stamp = received.stamp;
        if self.settled {
            stamp.locked_until = None;
        }
        let (front, bare) = received.message.encode(&stamp);
        Delivery {
            tag: received.token.to_tag(),
            message: [front, bare],
            format: 0,
            settled: self.settled,
        }
    }

    /// Carries out what the client decided, and answers it if it waits for that.
    fn settle(&self, delivery: DeliveryId, tag: DeliveryTag, state: Option<DeliveryState>, settled: bool) {
        // Settled without an outcome: nothing was decided, the lock runs out.
        let Some(state) = state else { return };
        let token = LockToken::from_tag(tag);
        if let DeliveryState::TransactionalState(state) = state {
            let (Outlet::Queue(queue) | Outlet::Session(queue, _)) = &self.outlet;
            let answer = self.enlisting.settle(queue, token, state);
            let answer = answer.unwrap_or_else(settlement::refusal);
            if !settled {
                self.sender.settle(delivery, &answer);
            }
            return;
        }
        let outcome = settlement::from_state(&state).and_then(|settlement| match settlement {
            Some(settlement) => self.outlet.settle(token, &settlement).map(|()| true),
            None => Ok(false),
        });
        let answer = match outcome {
            Ok(true) => settlement::confirmation(state),
            Ok(false) => return,
            Err(why) => settlement::refusal(why),
        };
        if !settled {
            let settle = self.sender.settling();
            self.outlet.queue().when_written(move |written| match written {
                Ok(()) => settle(delivery, &answer),
                Err(why) => settle(delivery, &settlement::refusal(why)),
            });
        }
    }

    /// A disposition that came before the link was gone still counts.
    fn last_words(&self, event: LinkEvent) {
        if let LinkEvent::Disposition {
            delivery,
            tag,
            state,
            settled,
            enlisting,
        } = event
        {
            self.settle(delivery, tag, state, settled);
            drop(enlisting);
        }
    }
}

/// Waits for credit, then for messages; `None` if the link is gone. Takes messages only in the poll
/// that returns them, so it may be dropped at any time.
async fn next_batch(sender: &LinkSender, outlet: &Outlet) -> Result<Option<Vec<Received>>, BrokerError> {
    let Ok(credit) = sender.ready().await else {
        return Ok(None);
    };
    outlet.receive((credit as usize).min(BATCH)).await.map(Some)
}
