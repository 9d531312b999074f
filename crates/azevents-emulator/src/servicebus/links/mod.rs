//! The broker on AMQP links: what `azevents_emulator`'s listener asks a service for.
//!
//! | the client does | where |
//! | --- | --- |
//! | attach a link | [`ServiceBus`], here |
//! | send, also in batches | [`sender`] |
//! | receive and settle, also a session | [`receiver`], [`session`], [`settlement`] |
//! | begin and end a transaction, be part of one | [`coordinator`], [`enlisting`] |
//! | ask `<entity>/$management` | [`management`] |

mod coordinator;
mod enlisting;
mod management;
mod receiver;
mod sender;
mod session;
mod settlement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use serde_amqp::{Value, primitives::Symbol};

use self::{enlisting::Enlisting, management::ManagementNode, session::SessionLinks};
use super::{BrokerError, Namespace, groups::Groups, transactions::Transactions};
use crate::amqp::{
    AttachRequest, Attached, Credential, Direction, Grant, RequestHandler, Right, Rights, Service, SharedAccessKey,
    address::entity_path,
    error::{self, Error},
};

/// The link property of a sender that says where its messages go: the link's own address is the entity
/// they go by way of ("AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", send via).
const TRANSFER_DESTINATION: &str = "com.microsoft:transfer-destination-address";

/// A namespace behind a listener.
pub(crate) struct ServiceBus {
    namespace: Arc<Namespace>,
    key: SharedAccessKey,
    sessions: Arc<SessionLinks>,
    transactions: Arc<Transactions>,
    groups: Arc<Groups>,
}

impl ServiceBus {
    /// Serves a namespace to whoever has the key.
    pub(crate) fn new(namespace: Arc<Namespace>, key: SharedAccessKey) -> Self {
        Self {
            transactions: Arc::new(Transactions::new(namespace.clock().clone())),
            namespace,
            key,
            sessions: Arc::default(),
            groups: Arc::default(),
        }
    }
}

#[async_trait]
impl Service for ServiceBus {
    fn authorize(&self, credential: &Credential) -> Result<Grant, Error> {
        let key_on = |path: &str, name: &str| self.namespace.key_on(path, name);
        self.key.verify_among(credential, &key_on)
    }

    fn request_node(&self, address: &str, rights: Rights) -> Result<Option<Arc<dyn RequestHandler>>, Error> {
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
            rights,
            Arc::clone(&self.sessions),
        ))))
    }

    async fn attach(&self, request: AttachRequest) -> Result<Attached, Error> {
        let node = self.namespace.resolve(&request.address)?;
        match request.direction {
            Direction::Incoming => {
                let destination = match request.properties.get(&Symbol::from(TRANSFER_DESTINATION)) {
                    Some(Value::String(address)) => {
                        let destination = entity_path(address);
                        if !request.control.rights_on(destination).has(Right::Send) {
                            return Err(error::lacks(Right::Send, destination));
                        }
                        destination
                    }
                    _ => &request.address,
                };
                let Some(queue) = self.namespace.resolve(destination)?.intake().cloned() else {
                    let text = format!("Messages cannot be sent to '{destination}'.");
                    return Err(error::not_allowed(text));
                };
                queue.check_takes_messages()?;
                let enlisting = Enlisting::new(self.groups.join(&request)?, &self.transactions);
                Ok(sender::attach(queue, self.namespace.config(), enlisting))
            }
            Direction::Outgoing => match node.outlet() {
                Some(queue) => {
                    let enlisting = Enlisting::new(self.groups.join(&request)?, &self.transactions);
                    receiver::attach(Arc::clone(queue), request, &self.sessions, enlisting).await
                }
                None => Err(error::not_allowed(format!(
                    "Messages of the topic '{}' are received from its subscriptions.",
                    request.address
                ))),
            },
        }
    }

    fn coordinator(&self, request: &AttachRequest) -> Option<Attached> {
        let kept = self.namespace.kept().clone();
        let group = request.alone.then(|| self.groups.open(request.session));
        Some(coordinator::attach(
            request.connection,
            Arc::clone(&self.transactions),
            kept,
            group,
        ))
    }
}

impl From<BrokerError> for Error {
    fn from(error: BrokerError) -> Self {
        error::custom(error.condition(), error.to_string())
    }
}
