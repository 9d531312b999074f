//! A message while its handler runs: it can be settled, and its lock is watched.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use azevents_core::BatchSettlement;
use azevents_core::pipeline::panic_text;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::handler::{BoxError, ErrorSource, MessageHandler, ProcessorError};
use crate::error::{ErrorKind, Result};
use crate::message::{Properties, ReceivedMessage};
use crate::receiver::{Receiver, Settlement};
use crate::session::SessionReceiver;
use crate::transaction::Transaction;

/// Whose link the message came over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    Receiver(&'a Receiver),
    Session(&'a SessionReceiver),
}

impl Holder<'_> {
    fn entity(&self) -> &str {
        match self {
            Self::Receiver(receiver) => receiver.entity(),
            Self::Session(session) => session.entity(),
        }
    }
}

/// A received message with what a handler can do about it. Settling it here takes the place of what the
/// processor would do after the handler.
#[derive(Debug)]
pub struct HeldMessage<'a> {
    message: ReceivedMessage,
    holder: Holder<'a>,
    lock_lost: CancellationToken,
    settled: Mutex<Option<Settlement>>,
}

impl<'a> HeldMessage<'a> {
    pub(super) fn new(message: ReceivedMessage, holder: Holder<'a>, lock_lost: CancellationToken) -> Self {
        Self {
            message,
            holder,
            lock_lost,
            settled: Mutex::default(),
        }
    }

    /// The message.
    pub fn message(&self) -> &ReceivedMessage {
        &self.message
    }

    /// Cancelled when the message, or its session, no longer belongs to this processor.
    pub fn lock_lost(&self) -> &CancellationToken {
        &self.lock_lost
    }

    /// The queue or subscription the message came from.
    pub fn entity(&self) -> &str {
        self.holder.entity()
    }

    /// The session the message came in, for its state; `None` where there are no sessions.
    pub fn session(&self) -> Option<&SessionReceiver> {
        match self.holder {
            Holder::Receiver(_) => None,
            Holder::Session(session) => Some(session),
        }
    }

    /// Settles the message.
    ///
    /// # Errors
    /// As of [`Receiver::complete`]. Where the lock turns out to be lost, [`lock_lost`](Self::lock_lost) is
    /// cancelled.
    pub async fn settle(&self, settlement: &Settlement) -> Result<()> {
        self.settle_with(settlement, &Properties::new()).await
    }

    /// Settles the message and sets application properties on it. Completing sets none.
    ///
    /// # Errors
    /// As of [`settle`](Self::settle).
    pub async fn settle_with(&self, settlement: &Settlement, properties: &Properties) -> Result<()> {
        let result = match self.holder {
            Holder::Receiver(receiver) => receiver.settle_with(&self.message, settlement, properties).await,
            Holder::Session(session) => session.settle_with(&self.message, settlement, properties).await,
        };
        match &result {
            Ok(()) => self.set_settled(settlement.clone()),
            Err(error) if matches!(error.kind(), ErrorKind::MessageLockLost | ErrorKind::SessionLockLost) => {
                self.lock_lost.cancel();
            }
            Err(_) => {}
        }
        result
    }

    /// Gives the message back as if it had not been delivered, without waiting for the broker's word: at worst it stays
    /// locked until its lock expires.
    pub(crate) async fn release(&self) {
        match self.holder {
            Holder::Receiver(receiver) => receiver.core().release(&self.message).await,
            Holder::Session(session) => session.core().release(&self.message).await,
        }
        self.set_settled(Settlement::Abandon);
    }

    /// Does the settling of the message and other things all at once, or not at all.
    ///
    /// # Errors
    /// Those of the transaction. Where its outcome is unknown, the message is nobody's to settle any more.
    pub(crate) async fn settle_in(&self, transaction: &Transaction, settlement: &Settlement) -> Result<()> {
        match self.holder {
            Holder::Receiver(receiver) => transaction.settle(receiver, &self.message, settlement).await,
            Holder::Session(session) => transaction.settle_in_session(session, &self.message, settlement).await,
        }
    }

    /// Leaves the message to what was done about it elsewhere: the processor won't settle it.
    pub(crate) fn set_settled(&self, settlement: Settlement) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some(settlement);
    }

    /// What the message was settled as.
    pub(super) fn settled(&self) -> Option<Settlement> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn into_message(self) -> ReceivedMessage {
        self.message
    }

    /// Whether it is still to be settled.
    pub(super) fn is_open(&self) -> bool {
        self.message.lock_token().is_some() && self.settled().is_none()
    }

    /// Runs the handler; gives what is left to settle.
    pub(super) async fn run(&self, handler: &dyn MessageHandler, auto_complete: bool) -> Option<Settlement> {
        let handled = AssertUnwindSafe(handler.handle(self)).catch_unwind().await;
        let result = handled.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).into()));
        let open = self.is_open();
        match result {
            Ok(()) => (open && auto_complete).then_some(Settlement::Complete),
            Err(error) => {
                handler.on_error(&self.error(ErrorSource::UserCallback, error));
                (open && !self.lock_lost.is_cancelled()).then_some(Settlement::Abandon)
            }
        }
    }

    /// Carries out what [`run`](Self::run) left; says whether it worked.
    pub(super) async fn finish(&self, handler: &dyn MessageHandler, settlement: &Settlement) -> bool {
        let Err(error) = self.settle(settlement).await else {
            return true;
        };
        let source = match settlement {
            Settlement::Complete => ErrorSource::Complete,
            _ => ErrorSource::Abandon,
        };
        handler.on_error(&self.error(source, error));
        false
    }

    /// Runs the handler on several messages, which are not none. One that panics has not handled them.
    pub(super) async fn run_batch(held: &[HeldMessage<'_>], handler: &dyn MessageHandler) -> BatchSettlement {
        let handled = AssertUnwindSafe(handler.handle_batch(held)).catch_unwind().await;
        handled.unwrap_or_else(|panic| {
            if let Some(first) = held.first() {
                handler.on_error(&first.error_around(ErrorSource::UserCallback, panic_text(panic.as_ref())));
            }
            BatchSettlement::OneByOne
        })
    }

    pub(super) fn error(&self, source: ErrorSource, error: impl Into<BoxError>) -> ProcessorError {
        self.error_around(source, error).of_message(self.message.message_id())
    }

    /// One that is not the message's alone.
    fn error_around(&self, source: ErrorSource, error: impl Into<BoxError>) -> ProcessorError {
        ProcessorError::new(source, self.holder.entity(), error)
            .in_session(self.session().map(SessionReceiver::session_id))
    }
}
