//! The broker on AMQP links: what `azevents_emulator`'s listener asks a service for.
//!
//! | the client does | where |
//! | --- | --- |
//! | attach a link | [`ServiceBus`], here |
//! | send, also in batches | [`sender`] |
//! | receive and settle, also a session | [`receiver`], [`session`], [`settlement`] |
//! | begin and end a transaction | [`coordinator`] |
//! | ask `<entity>/$management` | [`management`] |

mod coordinator;
mod management;
mod receiver;
mod sender;
mod session;
mod settlement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use self::{management::ManagementNode, session::SessionLinks};
use super::{BrokerError, Namespace, transactions::Transactions};
use crate::amqp::{
    AttachRequest, Attached, ConnectionId, Credential, Direction, Grant, RequestHandler, Service, SharedAccessKey,
    error::{self, Error},
};

/// A namespace behind a listener.
pub(crate) struct ServiceBus {
    namespace: Arc<Namespace>,
    key: SharedAccessKey,
    sessions: Arc<SessionLinks>,
    transactions: Arc<Transactions>,
}

impl ServiceBus {
    /// Serves a namespace to whoever has the key.
    pub(crate) fn new(namespace: Arc<Namespace>, key: SharedAccessKey) -> Self {
        Self {
            namespace,
            key,
            sessions: Arc::default(),
            transactions: Arc::default(),
        }
    }
}

#[async_trait]
impl Service for ServiceBus {
    fn authorize(&self, credential: &Credential) -> Result<Grant, Error> {
        self.key.verify(credential)
    }

    fn request_node(&self, address: &str) -> Result<Option<Arc<dyn RequestHandler>>, Error> {
        const SUFFIX: &str = "/$management";
        let at = address.len().saturating_sub(SUFFIX.len());
        match address.get(at..) {
            Some(end) if end.eq_ignore_ascii_case(SUFFIX) => {}
            _ => return Ok(None),
        }
        let node = self.namespace.resolve(&address[..at])?;
        Ok(Some(Arc::new(ManagementNode::new(
            Arc::clone(node.managed()),
            self.namespace.subscription(&address[..at]),
            self.namespace.config(),
            Arc::clone(&self.sessions),
        ))))
    }

    async fn attach(&self, request: AttachRequest) -> Result<Attached, Error> {
        let node = self.namespace.resolve(&request.address)?;
        match request.direction {
            Direction::Incoming => match node.intake() {
                Some(queue) => Ok(sender::attach(
                    Arc::clone(queue),
                    self.namespace.config(),
                    request.connection,
                    &self.transactions,
                )),
                None => Err(error::not_allowed(format!(
                    "Messages cannot be sent to '{}'.",
                    request.address
                ))),
            },
            Direction::Outgoing => match node.outlet() {
                Some(queue) => receiver::attach(Arc::clone(queue), request, &self.sessions, &self.transactions).await,
                None => Err(error::not_allowed(format!(
                    "Messages of the topic '{}' are received from its subscriptions.",
                    request.address
                ))),
            },
        }
    }

    fn coordinator(&self, connection: ConnectionId) -> Option<Attached> {
        let kept = self.namespace.kept().clone();
        Some(coordinator::attach(connection, Arc::clone(&self.transactions), kept))
    }
}

impl From<BrokerError> for Error {
    fn from(error: BrokerError) -> Self {
        error::custom(error.condition(), error.to_string())
    }
}
