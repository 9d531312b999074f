//! Remembering what has been handled, so that a copy of a message has no second effect.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use time::OffsetDateTime;

use crate::batch_handler::BatchHandler;
use crate::error::Result;
use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::Message;

/// What an inbox remembers a message by: who handles it, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxKey {
    /// The consumer's name; each consumer handles every message once.
    pub consumer: Arc<str>,
    /// The message's id.
    pub message: String,
}

impl InboxKey {
    /// `message` as handled by `consumer`.
    pub fn new(consumer: impl Into<Arc<str>>, message: impl Into<String>) -> Self {
        Self {
            consumer: consumer.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for InboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.consumer, self.message)
    }
}

/// The right to handle a message now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxLease {
    /// The message.
    pub key: InboxKey,
    /// Fencing token: it grows with every lease of the same message, so that a store can refuse the
    /// late effects of an earlier holder.
    pub token: u64,
    /// When others may take over.
    pub expires: OffsetDateTime,
}

/// What an inbox answers to a message that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Handle it; nobody else will until the lease expires.
    Granted(InboxLease),
    /// It has been handled.
    AlreadyHandled,
    /// Somebody is handling it until this time.
    InProgress(OffsetDateTime),
}

/// Keeps a mark per handled message.
///
/// # Contract
/// - Of two `begin`s at once for one key, exactly one is granted.
/// - After `complete`, every `begin` answers [`Begin::AlreadyHandled`] until the mark expires.
/// - `complete` fails with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the lease has expired
///   and was granted again: its holder's effects may have been repeated, and it must not settle.
/// - Cancellation: a dropped call may or may not have happened; a lease left behind expires.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Asks to handle a message for at most `lease`.
    async fn begin(&self, key: &InboxKey, lease: Duration) -> Result<Begin>;

    /// Marks it handled.
    async fn complete(&self, lease: &InboxLease) -> Result<()>;

    /// Gives the lease back, so that the next delivery need not wait for it to expire.
    async fn release(&self, lease: &InboxLease) -> Result<()>;
}

#[async_trait]
impl<I: Inbox + ?Sized> Inbox for Arc<I> {
    async fn begin(&self, key: &InboxKey, lease: Duration) -> Result<Begin> {
        self.as_ref().begin(key, lease).await
    }

    async fn complete(&self, lease: &InboxLease) -> Result<()> {
        self.as_ref().complete(lease).await
    }

    async fn release(&self, lease: &InboxLease) -> Result<()> {
        self.as_ref().release(lease).await
    }
}

/// Runs a handler once per message, whatever it does.
///
/// The mark is written after the handler's effects: a crash between the two repeats the handler once the
/// lease has expired. Where the effects are documents, a [`ReadModel`](crate::ReadModel) writes effect
/// and mark together and closes that gap.
///
/// It guards a [`BatchHandler`] as well: copies are left out of the batch.
#[derive(Debug)]
pub struct Idempotent<H, I> {
    handler: H,
    inbox: I,
    consumer: Arc<str>,
    lease: Duration,
}

impl<H, I: Inbox> Idempotent<H, I> {
    /// Guards `handler` with `inbox` under the consumer's name. A lease lasts a minute unless changed.
    pub fn new(consumer: impl Into<Arc<str>>, handler: H, inbox: I) -> Self {
        Self {
            handler,
            inbox,
            consumer: consumer.into(),
            lease: Duration::from_secs(60),
        }
    }

    /// Sets how long one handling may take before another consumer may try. Longer than the slowest
    /// handler.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The lease of a message that is to be handled; `None` for a copy of one that has been.
    async fn begin(&self, message: &Message) -> Result<Option<InboxLease>, HandlerError> {
        let key = InboxKey::new(self.consumer.clone(), &message.id);
        match self.inbox.begin(&key, self.lease).await? {
            Begin::Granted(lease) => Ok(Some(lease)),
            Begin::AlreadyHandled => Ok(None),
            Begin::InProgress(until) => Err(HandlerError::transient(format!(
                "{key} is being handled elsewhere until {until}"
            ))),
        }
    }

    /// Best effort: a lease that stays behind only delays the next try until it expires.
    async fn release(&self, lease: &InboxLease) {
        if let Err(release) = self.inbox.release(lease).await {
            tracing::debug!(key = %lease.key, error = %release, "inbox lease not released");
        }
    }
}

#[async_trait]
impl<H: Handler, I: Inbox> Handler for Idempotent<H, I> {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let Some(lease) = self.begin(message).await? else {
            return Ok(Handled::Duplicate);
        };
        match self.handler.handle(message, delivery).await {
            Ok(handled) => {
                self.inbox.complete(&lease).await?;
                Ok(handled)
            }
            Err(error) => {
                self.release(&lease).await;
                Err(error)
            }
        }
    }
}

#[async_trait]
impl<H: BatchHandler, I: Inbox> BatchHandler for Idempotent<H, I> {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        // A second message of the same id would wait for the first.
        let mut ids = HashSet::new();
        let distinct: Vec<&Message> = messages.iter().copied().filter(|m| ids.insert(&m.id)).collect();
        let begun = join_all(distinct.iter().map(|message| self.begin(message))).await;

        let (mut fresh, mut leases, mut refused) = (Vec::new(), Vec::new(), None);
        for (message, begun) in distinct.into_iter().zip(begun) {
            match begun {
                Ok(Some(lease)) => {
                    fresh.push(message);
                    leases.push(lease);
                }
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        let handled = match refused {
            Some(error) => Err(error),
            None if fresh.is_empty() => Ok(()),
            None => self.handler.handle_batch(&fresh, delivery).await,
        };
        if handled.is_err() {
            join_all(leases.iter().map(|lease| self.release(lease))).await;
            return handled;
        }
        // Every mark that can be made is made: one that fails leaves the others valid.
        let marked = join_all(leases.iter().map(|lease| self.inbox.complete(lease))).await;
        Ok(marked.into_iter().collect::<Result<()>>()?)
    }
}
