//! Receiving from a session: its messages in order, by one receiver at a time, with a state kept beside them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fe2o3_amqp::types::primitives::Symbol;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::amqp::conditions;
use crate::amqp::values::{instant, text};
use crate::client::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::management::HeldSession;
use crate::message::{Properties, ReceivedMessage};
use crate::receiver::attached::{self, Attached, LinkTarget, SESSION_FILTER, Session};
use crate::receiver::{Core, ReceiveMode, Settlement};

/// Link property with the end of the session's lock, in .NET ticks.
const LOCKED_UNTIL: &str = "com.microsoft:locked-until-utc";

/// Options of a [`SessionReceiver`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionReceiverOptions {
    /// Who is responsible for received messages. Default: peek-lock.
    pub mode: ReceiveMode,
    /// Messages fetched ahead of being asked for. Default: 0.
    pub prefetch: u32,
    /// How long to wait for a session. Default: 60 s.
    pub accept_timeout: Duration,
}

impl Default for SessionReceiverOptions {
    fn default() -> Self {
        Self {
            mode: ReceiveMode::PeekLock,
            prefetch: 0,
            accept_timeout: Duration::from_secs(60),
        }
    }
}

impl SessionReceiverOptions {
    /// Sets who is responsible for received messages.
    #[must_use]
    pub fn with_mode(mut self, mode: ReceiveMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how many messages are fetched ahead.
    #[must_use]
    pub fn with_prefetch(mut self, count: u32) -> Self {
        self.prefetch = count;
        self
    }

    /// Sets how long to wait for a session.
    #[must_use]
    pub fn with_accept_timeout(mut self, timeout: Duration) -> Self {
        self.accept_timeout = timeout;
        self
    }
}

/// Receives from one session, which is locked for this receiver until the lock expires or the receiver is
/// dropped. After a lost connection it fails with
/// [`ErrorKind::SessionLockLost`]: accept the session again.
///
/// Cancellation is as of [`Receiver`](crate::Receiver).
///
/// ```no_run
/// use std::time::Duration;
/// use azevents_servicebus::{ServiceBusClient, SessionReceiverOptions};
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// while let Some(session) = client.accept_next_session("orders", &SessionReceiverOptions::default()).await? {
///     for message in session.receive_batch(100, Duration::from_secs(1)).await? {
///         println!("{} {:?}", session.session_id(), message.body());
///         session.complete(&message).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SessionReceiver {
    core: Core,
    session_id: String,
    locked_until: Mutex<OffsetDateTime>,
}

impl SessionReceiver {
    pub(crate) async fn accept(
        client: &Arc<Shared>,
        entity: &str,
        session_id: &str,
        options: &SessionReceiverOptions,
    ) -> Result<Self> {
        Self::attach(client, entity, Session::Named(session_id.to_owned()), options).await
    }

    pub(crate) async fn accept_next(
        client: &Arc<Shared>,
        entity: &str,
        options: &SessionReceiverOptions,
    ) -> Result<Option<Self>> {
        match Self::attach(client, entity, Session::Next, options).await {
            Ok(session) => Ok(Some(session)),
            // The service's own timeout, and not one of ours: it looked and found none.
            Err(error) if error.condition() == Some(conditions::TIMEOUT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn attach(
        client: &Arc<Shared>,
        entity: &str,
        session: Session,
        options: &SessionReceiverOptions,
    ) -> Result<Self> {
        let target = LinkTarget {
            entity: entity.to_owned(),
            mode: options.mode,
            session,
            timeout: options.accept_timeout,
        };
        let failed = |error: Error| error.during("accept session", entity);
        let link = attached::attach(&client.connection, &target).await.map_err(failed)?;
        let (session_id, locked_until) = accepted(&link).map_err(failed)?;
        let name = link.name.clone();
        let held = Some((session_id.clone(), name));
        let core = Core::start(client, target, options.prefetch, held, Some(link));
        Ok(Self {
            core,
            session_id,
            locked_until: Mutex::new(locked_until),
        })
    }

    fn held(&self) -> HeldSession<'_> {
        // Requests name the link that holds the lock, so that a receiver that has lost the session cannot
        // act for the one that has it now.
        self.core.held_session().expect("a session's receiver has one")
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The session.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The queue or subscription.
    pub fn entity(&self) -> &str {
        &self.core.entity
    }

    /// Until when the session is locked, as of accepting it or the last renewal.
    pub fn locked_until(&self) -> OffsetDateTime {
        *self.locked_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `max` messages, in order: those that are there, as soon as there is one; none after `max_wait`.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`].
    pub async fn receive_batch(&self, max: usize, max_wait: Duration) -> Result<Vec<ReceivedMessage>> {
        self.core.receive(max, Some(max_wait)).await
    }

    /// Settles a message: it is done.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`]: the message will come again.
    pub async fn complete(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Complete).await
    }

    /// Gives a message back: it comes again before those after it.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn abandon(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Abandon).await
    }

    /// Sets a message aside: from here on it can be received by its sequence number only.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn defer(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Defer).await
    }

    /// Moves a message to the dead-letter queue.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn dead_letter(&self, message: &ReceivedMessage, reason: &str, description: &str) -> Result<()> {
        self.settle(message, &Settlement::dead_letter(reason, description))
            .await
    }

    /// Settles a message in whichever way.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn settle(&self, message: &ReceivedMessage, settlement: &Settlement) -> Result<()> {
        self.settle_with(message, settlement, &Properties::new()).await
    }

    /// Settles a message and sets application properties on it, beside those it has.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn settle_with(
        &self,
        message: &ReceivedMessage,
        settlement: &Settlement,
        properties: &Properties,
    ) -> Result<()> {
        self.core.settle(message, settlement, properties).await
    }

    /// Receives messages of the session that were deferred, by sequence number.
    ///
    /// # Errors
    /// [`ErrorKind::MessageNotFound`] where one of them is not there; [`ErrorKind::SessionLockLost`].
    pub async fn receive_deferred(&self, sequence_numbers: &[i64]) -> Result<Vec<ReceivedMessage>> {
        let peek_lock = self.core.mode == ReceiveMode::PeekLock;
        self.core
            .management
            .receive_deferred(sequence_numbers, peek_lock, Some(self.held()))
            .await
    }

    /// Cancelled when the session is known to be lost.
    pub(crate) fn lock_lost(&self) -> CancellationToken {
        self.core.ended().clone()
    }

    /// Gives messages back that nobody has looked at: unlike abandoning, this is no failed delivery.
    pub(crate) async fn release(&self, messages: impl IntoIterator<Item = ReceivedMessage> + Send) {
        for message in messages {
            self.core.release(&message).await;
        }
    }

    /// Prolongs the lock on the session, and so on all of its messages; gives its new end.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`] where it is too late.
    pub async fn renew_lock(&self) -> Result<OffsetDateTime> {
        let end = self.core.management.renew_session_lock(self.held()).await?;
        *self.locked_until.lock().unwrap_or_else(PoisonError::into_inner) = end;
        Ok(end)
    }

    /// What was last stored with [`set_state`](Self::set_state), by any receiver of this session.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`].
    pub async fn state(&self) -> Result<Option<Vec<u8>>> {
        self.core.management.session_state(self.held()).await
    }

    /// Stores bytes with the session; `None` removes them.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`].
    pub async fn set_state(&self, state: Option<&[u8]>) -> Result<()> {
        self.core.management.set_session_state(self.held(), state).await
    }

    /// Releases the session, and waits until it is free for others. Dropping the receiver does the same,
    /// without waiting.
    pub async fn close(self) {
        self.core.close().await;
    }

    /// Looks at up to `max` messages of the session from a sequence number on, without receiving them.
    ///
    /// # Errors
    /// [`ErrorKind::SessionLockLost`].
    pub async fn peek(&self, from_sequence_number: i64, max: u32) -> Result<Vec<ReceivedMessage>> {
        self.core
            .management
            .peek(from_sequence_number, max, Some(self.held()))
            .await
    }
}

/// Which session was locked, and until when.
fn accepted(attached: &Attached) -> Result<(String, OffsetDateTime)> {
    let filters = attached
        .receiver
        .source()
        .as_ref()
        .and_then(|source| source.filter.as_ref());
    let session = filters
        .and_then(|filters| filters.get(&Symbol::from(SESSION_FILTER)))
        .and_then(text)
        .ok_or_else(|| Error::new(ErrorKind::Other, "the service did not say which session was locked"))?;
    let locked_until = attached
        .receiver
        .properties(|properties| properties.as_ref()?.get(&Symbol::from(LOCKED_UNTIL)).and_then(instant));
    // Always there in practice; without it, renewing at once finds out.
    Ok((session.to_owned(), locked_until.unwrap_or_else(OffsetDateTime::now_utc)))
}
