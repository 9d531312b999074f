//! The task that owns a receiving link: it keeps the broker supplied with credit, fills the buffer, sends
//! settlements, and attaches again after a loss.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::link::IllegalLinkStateError;
use fe2o3_amqp::link::delivery::DeliveryInfo;
use fe2o3_amqp::types::messaging::{DeliveryState, Outcome};
use tokio::sync::{mpsc, oneshot};

use super::ReceiveMode;
use super::attached::{Attached, Event, LinkTarget, attach};
use super::buffer::Buffer;
use crate::amqp::connection::AmqpConnection;
use crate::amqp::transactions::Enlisted;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryOptions;

/// Settlements that are sent in one go.
const SETTLE_BATCH: usize = 256;
/// How long credit that nobody waits for is left with the broker.
const IDLE: Duration = Duration::from_millis(500);
/// How long the broker may take to say that it has used up its credit.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// After so long without a message, all that had been read from the socket has been seen.
const QUIET: Duration = Duration::from_millis(20);

/// A settlement on its way. The broker's answer goes to `reply`; where the link is gone, or is not the one
/// the message came over, `reply` is dropped and the caller settles another way.
pub(super) struct Settle {
    pub(super) delivery: DeliveryInfo,
    /// The one it came over.
    pub(super) link: u64,
    pub(super) outcome: Outcome,
    pub(super) transaction: Option<Enlisted>,
    pub(super) reply: oneshot::Sender<Option<DeliveryState>>,
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
    /// The link works and another one is needed.
    Renew,
    Lost(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

impl From<IllegalLinkStateError> for Ended {
    fn from(error: IllegalLinkStateError) -> Self {
        Self::Lost(error.into())
    }
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
            let Err(ended) = self.serve(&mut attached).await;
            match ended {
                Ended::Closed => {
                    self.withdraw(&mut attached).await;
                    attached.close().await;
                    return;
                }
                Ended::Renew => {
                    tokio::spawn(attached.close());
                }
                Ended::Lost(error) => {
                    tracing::debug!(%error, entity = self.target.entity, "receiving link lost");
                    attached.discard();
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
        let mut delays = self.retry.delays();
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
                delays = self.retry.delays();
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

    /// Runs the link until it ends.
    async fn serve(&mut self, attached: &mut Attached) -> Result<Infallible, Ended> {
        let mut settles = Vec::with_capacity(SETTLE_BATCH);
        // Messages that came after the broker was asked to stop.
        let mut late = 0_usize;
        loop {
            attached.top_up(self.buffer.shortfall()).await?;
            let idle = attached.has_credit() && self.is_idle();
            tokio::select! {
                biased;
                count = self.settles.recv_many(&mut settles, SETTLE_BATCH) => {
                    if count == 0 {
                        return Err(Ended::Closed);
                    }
                    attached.settle(settles.drain(..)).await?;
                }
                event = attached.next() => match event? {
                    Event::Message(message) => {
                        late += usize::from(attached.is_draining());
                        self.buffer.push(message);
                    }
                    Event::Unusable => late += usize::from(attached.is_draining()),
                    Event::Drained => {
                        late += self.receive_late(attached).await?;
                        attached.end_drain();
                        if late > 0 {
                            return Err(self.after_late(attached).await);
                        }
                    }
                },
                () = self.buffer.wanted() => {}
                () = tokio::time::sleep(IDLE), if idle => {
                    late = 0;
                    attached.drain().await?;
                }
                () = tokio::time::sleep(DRAIN_PATIENCE), if attached.is_draining() => {
                    return Err(Error::timeout("the broker did not answer a drain").into());
                }
            }
        }
    }

    /// Whether messages that the broker may send would find nobody: they would stay locked here, away from
    /// other receivers. A session's messages are nobody else's anyway.
    fn is_idle(&self) -> bool {
        !self.target.session.is_some() && self.buffer.is_idle()
    }

    /// What was sent before the broker said that it was done. It is in the engine's queues by now.
    async fn receive_late(&self, attached: &mut Attached) -> Result<usize> {
        let mut late = 0;
        while let Ok(event) = tokio::time::timeout(QUIET, attached.next()).await {
            if let Event::Message(message) = event? {
                self.buffer.push(message);
            }
            late += 1;
        }
        Ok(late)
    }

    /// Messages came while the link was being drained. `fe2o3-amqp` takes the delivery count of the broker's
    /// answer over at once and then counts those messages a second time, so that it would grant too much
    /// from here on and refuse what comes of it: the link has to be replaced.
    async fn after_late(&self, attached: &Attached) -> Ended {
        if self.buffer.is_idle() && self.target.mode == ReceiveMode::PeekLock {
            attached.hand_back(self.buffer.clear()).await;
        }
        Ended::Renew
    }

    /// Gives messages that nobody has taken back to the broker, those on their way included.
    async fn withdraw(&self, attached: &mut Attached) {
        // Those who wait for a settlement are answered while the link is drained.
        if !self.target.session.is_some() && attached.has_credit() && attached.drain().await.is_ok() {
            let drained = async {
                loop {
                    match attached.next().await {
                        Ok(Event::Message(message)) => self.buffer.push(message),
                        Ok(Event::Unusable) => {}
                        Ok(Event::Drained) | Err(_) => return,
                    }
                }
            };
            if tokio::time::timeout(DRAIN_PATIENCE, drained).await.is_ok() {
                let _ = self.receive_late(attached).await;
            }
        }
        attached.hand_back(self.buffer.clear()).await;
    }
}

fn session_lost(cause: &Error) -> Error {
    match cause.kind() {
        ErrorKind::SessionLockLost => cause.clone(),
        _ => Error::new(ErrorKind::SessionLockLost, "the session's link was lost").with_source(cause.clone()),
    }
}
