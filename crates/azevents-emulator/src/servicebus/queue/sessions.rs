//! The sessions of a queue, and the one that a receiver holds.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;

use super::Queue;
use crate::servicebus::{
    BrokerError,
    clock::Timestamp,
    engine::{AcceptedSession, HolderId, LockToken, ReceiveMode, Received, Settlement},
};

impl Queue {
    /// Accepts the session with this id at once or not at all; with `None` waits up to `wait` for
    /// one that has messages and no holder.
    ///
    /// # Errors
    /// [`BrokerError::SessionCannotBeLocked`] if it is held by somebody else,
    /// [`BrokerError::Timeout`] if nothing became available.
    pub(crate) async fn accept_session(
        self: &Arc<Self>,
        id: Option<&str>,
        wait: Duration,
    ) -> Result<HeldSession, BrokerError> {
        self.check_gives_messages()?;
        let accepted = async {
            loop {
                let arrival = self.arrivals.notified();
                let accepted = self.with(|engine, now| engine.accept_session(id, now));
                if let Some(accepted) = accepted.transpose() {
                    // From here on a guard holds it.
                    return accepted.map(|accepted| HeldSession {
                        queue: Arc::clone(self),
                        accepted,
                    });
                }
                arrival.await;
            }
        };
        tokio::time::timeout(wait, accepted)
            .await
            .unwrap_or(Err(BrokerError::Timeout))
    }

    /// Whoever holds a session now: `$management` requests name the session only.
    pub(crate) fn session_holder(&self, id: &str) -> Result<HolderId, BrokerError> {
        self.with(|engine, now| engine.session_holder(id, now))
    }

    /// Extends a session's lock; returns its new end.
    pub(crate) fn renew_session(&self, id: &str, holder: HolderId) -> Result<Timestamp, BrokerError> {
        self.with(|engine, now| engine.renew_session(id, holder, now))
    }

    /// The application's state of a held session.
    pub(crate) fn session_state(&self, id: &str, holder: HolderId) -> Result<Option<Bytes>, BrokerError> {
        self.with(|engine, now| engine.session_state(id, holder, now))
    }

    /// Sets or clears the application's state of a held session.
    pub(crate) fn set_session_state(
        &self,
        id: &str,
        holder: HolderId,
        state: Option<Bytes>,
    ) -> Result<(), BrokerError> {
        self.with(|engine, now| engine.set_session_state(id, holder, state, now))
    }

    /// Ids of the sessions in use, sorted.
    pub(crate) fn session_ids(&self, skip: usize, top: usize) -> Vec<Arc<str>> {
        self.with(|engine, now| engine.session_ids(skip, top, now))
    }
}

/// A session that is held by a receiver. Dropping it gives the session back.
#[derive(Debug)]
pub(crate) struct HeldSession {
    queue: Arc<Queue>,
    accepted: AcceptedSession,
}

impl HeldSession {
    /// The session's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.accepted.id
    }

    /// Proves who holds it.
    pub(crate) fn holder(&self) -> HolderId {
        self.accepted.holder
    }

    /// End of the lock at the time it was accepted.
    pub(crate) fn locked_until(&self) -> Timestamp {
        self.accepted.locked_until
    }

    /// Up to `max` of the session's messages that are ready now, possibly none.
    ///
    /// # Errors
    /// [`BrokerError::SessionLockLost`] once the lock has expired.
    pub(crate) fn try_receive(&self, max: usize, mode: ReceiveMode) -> Result<Vec<Received>, BrokerError> {
        let AcceptedSession { id, holder, .. } = &self.accepted;
        self.queue
            .with(|engine, now| engine.receive_from_session(id, *holder, max, mode, now))
    }

    /// Up to `max` of the session's messages; waits until there is at least one. Errors as
    /// [`try_receive`](Self::try_receive), also while it waits.
    pub(crate) async fn receive(&self, max: usize, mode: ReceiveMode) -> Result<Vec<Received>, BrokerError> {
        loop {
            let change = self.accepted.changed.notified();
            let mut reconfigured = pin!(self.queue.reconfigured.notified());
            reconfigured.as_mut().enable();
            self.queue.check_gives_messages()?;
            let received = self.try_receive(max, mode)?;
            if !received.is_empty() {
                return Ok(received);
            }
            tokio::select! {
                () = change => {}
                () = reconfigured => {}
            }
        }
    }

    /// Settles a message of the session.
    ///
    /// # Errors
    /// [`BrokerError::SessionLockLost`] where the message's lock went with the session's.
    pub(crate) fn settle(&self, token: LockToken, settlement: &Settlement) -> Result<(), BrokerError> {
        let settled = self.queue.settle(token, settlement);
        if settled == Err(BrokerError::MessageLockLost) && self.queue.session_holder(self.id()) != Ok(self.holder()) {
            return Err(BrokerError::SessionLockLost);
        }
        settled
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        let AcceptedSession { id, holder, .. } = &self.accepted;
        self.queue.with(|engine, now| engine.release_session(id, *holder, now));
    }
}
