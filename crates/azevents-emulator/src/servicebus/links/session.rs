//! Which session a receiver asks for, what it is told, and how `$management` finds it again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fe2o3_amqp_types::{definitions::Fields, messaging::Source};
use serde_amqp::{Value, primitives::Symbol};

use crate::{
    amqp::{AttachRequest, ConnectionId, LinkReply},
    servicebus::{
        BrokerError,
        engine::HolderId,
        queue::{HeldSession, Queue},
    },
};

const SESSION_FILTER: &str = "com.microsoft:session-filter";
const TIMEOUT: &str = "com.microsoft:timeout";
const LOCKED_UNTIL: &str = "com.microsoft:locked-until-utc";

/// How long a client that doesn't say waits for the next session: the SDKs' default for a try.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The session a receiver wants.
pub(super) enum Wanted {
    /// This one.
    Named(String),
    /// Any that has messages.
    NextAvailable,
}

impl Wanted {
    /// Reads the source's filter; `None` for a receiver that wants no session.
    pub(super) fn read(request: &AttachRequest) -> Result<Option<Self>, BrokerError> {
        let filter = request.source.as_ref().and_then(|source| source.filter.as_ref());
        let Some(wanted) = filter.and_then(|filter| filter.get(&Symbol::from(SESSION_FILTER))) else {
            return Ok(None);
        };
        let wanted = match wanted {
            // Some clients describe the filter (AMQP 1.0 section 3.5.8), the official ones don't.
            Value::Described(described) => &described.value,
            plain => plain,
        };
        match wanted {
            Value::Null => Ok(Some(Self::NextAvailable)),
            Value::String(id) => Ok(Some(Self::Named(id.clone()))),
            other => Err(BrokerError::Malformed(format!(
                "The session filter must be a string or null, not {other:?}."
            ))),
        }
    }
}

/// Accepts the session, waiting for the next available one as long as the client is ready to.
pub(super) async fn accept(
    queue: &Arc<Queue>,
    wanted: &Wanted,
    request: &AttachRequest,
) -> Result<HeldSession, BrokerError> {
    let wait = match request.properties.get(&Symbol::from(TIMEOUT)) {
        Some(Value::Uint(millis)) => Duration::from_millis(u64::from(*millis)),
        Some(Value::Ulong(millis)) => Duration::from_millis(*millis),
        _ => DEFAULT_WAIT,
    };
    let id = match wanted {
        Wanted::Named(id) => Some(id.as_str()),
        Wanted::NextAvailable => None,
    };
    queue.accept_session(id, wait).await
}

/// Tells the receiver which session it holds, and until when.
pub(super) fn reply(session: &HeldSession, request: &AttachRequest) -> LinkReply {
    let mut source: Source = request.source.clone().unwrap_or_default();
    let filter = source.filter.get_or_insert_default();
    filter.insert(Symbol::from(SESSION_FILTER), Value::String(session.id().to_string()));
    let mut properties = Fields::default();
    properties.insert(
        Symbol::from(LOCKED_UNTIL),
        Value::Long(session.locked_until().as_dotnet_ticks()),
    );
    LinkReply {
        source: Some(source),
        properties,
        ..LinkReply::default()
    }
}

/// Session receivers by connection and link name. A request about a session names the link it
/// belongs to (`associated-link-name`); by that, a receiver that has lost its session doesn't renew
/// the lock of the one that has it now.
#[derive(Debug, Default)]
pub(super) struct SessionLinks {
    holders: Mutex<HashMap<(ConnectionId, String), HolderId>>,
}

impl SessionLinks {
    /// Notes who holds a session by which link, until the entry is dropped.
    pub(super) fn enter(self: &Arc<Self>, request: &AttachRequest, session: &HeldSession) -> SessionLink {
        let key = (request.connection, request.name.clone());
        self.with(|holders| holders.insert(key.clone(), session.holder()));
        SessionLink {
            links: Arc::clone(self),
            key,
            holder: session.holder(),
        }
    }

    /// Who holds a session by this link, if it is a session receiver.
    pub(super) fn holder(&self, connection: ConnectionId, link: &str) -> Option<HolderId> {
        self.with(|holders| holders.get(&(connection, link.to_owned())).copied())
    }

    fn with<R>(&self, f: impl FnOnce(&mut HashMap<(ConnectionId, String), HolderId>) -> R) -> R {
        f(&mut self.holders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An entry in [`SessionLinks`].
#[derive(Debug)]
pub(super) struct SessionLink {
    links: Arc<SessionLinks>,
    key: (ConnectionId, String),
    holder: HolderId,
}

impl Drop for SessionLink {
    fn drop(&mut self) {
        self.links.with(|holders| {
            // A new link of the same name may have entered already.
            if holders.get(&self.key) == Some(&self.holder) {
                holders.remove(&self.key);
            }
        });
    }
}
