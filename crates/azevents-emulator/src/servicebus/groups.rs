//! Sessions whose transactions may reach across entities.
//!
//! A client asks for that by attaching the coordinator before any other link of an AMQP session, as the
//! official .NET and Java clients do when cross-entity transactions are enabled. The entity of the next
//! link is then the one all sends of the session go by way of, and the only one to receive from, with or
//! without a transaction. In the service, what is sent lies with that entity until it is passed on;
//! here it goes straight to its destination on commit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::BrokerError;
use crate::amqp::{AttachRequest, ConnectionId, Direction, SessionId};

/// On whose behalf something is done in a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Participant {
    connection: ConnectionId,
    entity: String,
}

impl Participant {
    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The queue or topic whose transaction it can be part of, in lower case.
    pub(crate) fn entity(&self) -> &str {
        &self.entity
    }
}

/// The sessions that are groups, with their entity once there is one.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    known: Mutex<HashMap<SessionId, Option<String>>>,
}

impl Groups {
    /// A coordinator is the first link of its session: that is a group for as long as this is kept.
    pub(crate) fn open(self: &Arc<Self>, session: SessionId) -> Group {
        self.lock().insert(session, None);
        Group {
            groups: Arc::clone(self),
            session,
        }
    }

    /// A link to an entity comes up. What is sent on it goes by way of its address, wherever to.
    pub(crate) fn join(&self, request: &AttachRequest) -> Result<Participant, BrokerError> {
        let own = root(&request.address);
        let mut known = self.lock();
        let entity = match known.get_mut(&request.session) {
            None => own,
            Some(entity) => {
                let entity = entity.get_or_insert_with(|| own.clone());
                if request.direction == Direction::Outgoing && *entity != own {
                    return Err(BrokerError::NotAllowed(format!(
                        "Local transactions cannot span multiple top-level entities such as queue or topic: this \
                         session began with a coordinator and is of '{entity}'. Receive from '{}' in another one.",
                        request.address
                    )));
                }
                entity.clone()
            }
        };
        Ok(Participant {
            connection: request.connection,
            entity,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Option<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a group when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    groups: Arc<Groups>,
    session: SessionId,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.groups.lock().remove(&self.session);
    }
}

/// The queue or topic at the root of a path: it, its subscriptions and its dead-letter queues are one.
fn root(path: &str) -> String {
    let path = path.to_lowercase();
    let end = ["/subscriptions/", "/$"]
        .iter()
        .filter_map(|below| path.find(below))
        .min()
        .unwrap_or(path.len());
    path[..end].to_owned()
}
