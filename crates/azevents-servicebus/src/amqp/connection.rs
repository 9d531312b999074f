//! One AMQP connection, shared by every link of a client and opened again after it was lost.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::connection::{Connection, ConnectionHandle};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::Session;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::cbs::Cbs;
use super::link::{self, LinkSession};
use super::settlements::Settlements;
use super::tap::Tapped;
use super::transactions::{Coordinator, Declared};
use super::transport::{Route, Transport};
use crate::client::ClientOptions;
use crate::credential::Credential;
use crate::error::{Error, ErrorKind, Result};

/// The largest frame we take; what Service Bus offers as well.
const MAX_FRAME: u32 = 64 * 1024;
/// Sessions, and so links, on one connection: the limit of Service Bus.
const MAX_CHANNELS: u16 = 4999;
/// How long a polite goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where to connect, as whom, and the connection while there is one.
#[derive(Debug)]
pub(crate) struct AmqpConnection {
    /// The namespace's own host name, whatever the way to it.
    namespace: String,
    route: Route,
    credential: Credential,
    /// How our connections appear in the service's logs.
    identifier: String,
    open_timeout: Duration,
    /// Silence after which the peer counts as gone. It has to send something, at least empty frames, more
    /// often than this (AMQP 1.0 section 2.4.5).
    idle_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Open(Live),
    Closed,
}

#[derive(Debug)]
struct Live {
    handle: ConnectionHandle<()>,
    settlements: Arc<Settlements>,
    cbs: Arc<Cbs>,
    /// Opened by the first transaction.
    coordinator: Option<Arc<Coordinator>>,
}

impl AmqpConnection {
    pub(crate) fn new(namespace: String, route: Route, credential: Credential, options: ClientOptions) -> Self {
        let identifier = options
            .identifier
            .unwrap_or_else(|| format!("azevents-{}", Uuid::new_v4().simple()));
        Self {
            namespace,
            route,
            credential,
            identifier,
            open_timeout: options.open_timeout,
            idle_timeout: options.idle_timeout,
            state: Mutex::new(State::Idle),
        }
    }

    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// A session for one link to `entity`, which this connection is then allowed to use. Connects first,
    /// or again, where needed; callers that come meanwhile wait for the same connection.
    ///
    /// Cancellation: a session that was begun is ended again.
    pub(crate) async fn session_for(self: &Arc<Self>, entity: &str) -> Result<LinkSession> {
        self.session_for_all(&[entity]).await
    }

    /// As [`session_for`](Self::session_for), for a link that has to do with several entities.
    pub(crate) async fn session_for_all(self: &Arc<Self>, entities: &[&str]) -> Result<LinkSession> {
        let connection = Arc::clone(self);
        let (session, cbs) = link::to_its_end(async move { connection.begin_session().await }).await?;
        for entity in entities {
            let audience = format!("amqps://{}/{entity}", self.namespace);
            match tokio::time::timeout(self.open_timeout, cbs.authorize(&audience)).await {
                Ok(authorized) => authorized?,
                Err(_) => return Err(Error::timeout("the service did not answer to the token")),
            }
        }
        Ok(session)
    }

    /// Begins a transaction on the connection.
    ///
    /// Cancellation: it is rolled back again.
    pub(crate) async fn declare(self: &Arc<Self>) -> Result<Declared> {
        let connection = Arc::clone(self);
        link::to_its_end(async move {
            let coordinator = connection.coordinator().await?;
            let declared = Arc::clone(&coordinator).declare().await;
            if declared.is_err() {
                connection.forget(&coordinator).await;
            }
            declared
        })
        .await
    }

    async fn coordinator(&self) -> Result<Arc<Coordinator>> {
        let mut state = self.state.lock().await;
        let live = self.ensure_open(&mut state).await?;
        if let Some(coordinator) = &live.coordinator {
            return Ok(Arc::clone(coordinator));
        }
        let open = async {
            let session = begin(&mut live.handle, &live.settlements).await?;
            Coordinator::open(session).await
        };
        let timeout = || Error::timeout("the service did not answer on an open connection");
        let opened = tokio::time::timeout(self.open_timeout, open)
            .await
            .map_err(|_| timeout())??;
        live.coordinator = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Lets go of a coordinator whose link may be gone: the next transaction opens another.
    async fn forget(&self, coordinator: &Arc<Coordinator>) {
        if let State::Open(live) = &mut *self.state.lock().await
            && live
                .coordinator
                .as_ref()
                .is_some_and(|known| Arc::ptr_eq(known, coordinator))
        {
            live.coordinator = None;
        }
    }

    /// One after the other: `fe2o3-amqp` takes the connection by `&mut` until the peer has answered a
    /// `begin`, and its handle cannot be cloned. Attaching, which may wait long for a session to lock, does
    /// not come under this. A burst of links so takes a round trip each, a thousand sessions 10 s where a round
    /// trip takes 10 ms, beside what it costs to compute: about 2 ms each in a debug build, both ends of it.
    async fn begin_session(&self) -> Result<(LinkSession, Arc<Cbs>)> {
        let mut state = self.state.lock().await;
        let live = self.ensure_open(&mut state).await?;
        let begun = tokio::time::timeout(self.open_timeout, begin(&mut live.handle, &live.settlements)).await;
        let Ok(session) = begun else {
            // Whoever does not answer a `begin` is not there any more.
            *state = State::Idle;
            return Err(Error::timeout("the service did not answer on an open connection"));
        };
        Ok((session?, Arc::clone(&live.cbs)))
    }

    async fn ensure_open<'a>(&self, state: &'a mut State) -> Result<&'a mut Live> {
        match state {
            State::Closed => return Err(Error::new(ErrorKind::Closed, "the client was closed")),
            State::Open(live) if !live.handle.is_closed() => {}
            State::Open(_) | State::Idle => {
                *state = State::Idle;
                let opened = tokio::time::timeout(self.open_timeout, self.open()).await;
                let timeout = || Error::timeout(format!("no connection within {:?}", self.open_timeout));
                *state = State::Open(opened.map_err(|_| timeout())??);
            }
        }
        let State::Open(live) = state else {
            unreachable!("opened above")
        };
        if live.cbs.is_closed() {
            // The link to `$cbs` can be detached on its own; the other links go on with what they have.
            let session = begin(&mut live.handle, &live.settlements).await?;
            live.cbs = Cbs::open(session, self.credential.clone()).await?;
        }
        Ok(live)
    }

    async fn open(&self) -> Result<Live> {
        let settlements = Arc::new(Settlements::default());
        let stream = Tapped::new(Transport::connect(&self.route).await?, Arc::clone(&settlements));
        let mut handle = Connection::builder()
            .container_id(self.identifier.as_str())
            .hostname(self.namespace.as_str())
            // The stream is encrypted already where it has to be.
            .scheme("amqp")
            // Who we are is settled by `$cbs`, as in the official clients.
            .sasl_profile(SaslProfile::Anonymous)
            .max_frame_size(MAX_FRAME)
            .channel_max(MAX_CHANNELS)
            .idle_time_out(super::values::millis(self.idle_timeout))
            .open_with_stream(stream)
            .await?;
        let session = begin(&mut handle, &settlements).await?;
        let cbs = Cbs::open(session, self.credential.clone()).await?;
        tracing::debug!(host = self.route.host, "connected");
        Ok(Live {
            handle,
            settlements,
            cbs,
            coordinator: None,
        })
    }

    /// Says goodbye and refuses to open again.
    pub(crate) async fn close(&self) {
        let previous = std::mem::replace(&mut *self.state.lock().await, State::Closed);
        if let State::Open(mut live) = previous
            && tokio::time::timeout(GOODBYE, live.handle.close()).await.is_err()
        {
            tracing::debug!("the peer did not answer a closing connection");
        }
    }
}

async fn begin(handle: &mut ConnectionHandle<()>, settlements: &Arc<Settlements>) -> Result<LinkSession> {
    let handle = Session::begin(handle).await?;
    Ok(LinkSession {
        handle,
        settlements: Arc::clone(settlements),
    })
}
