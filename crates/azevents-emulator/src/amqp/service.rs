//! What a broker implements, and what the listener tells it about a link.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use fe2o3_amqp_types::{
    definitions::{Fields, ReceiverSettleMode, SenderSettleMode},
    messaging::{Source, Target},
};
use futures::future::BoxFuture;
use time::OffsetDateTime;

use super::{
    IncomingHandler, LinkEvents, LinkSender, RequestHandler, Rights,
    connection::{Connection, LinkId},
    error::Error,
};

/// A broker behind a [`Listener`](super::Listener).
///
/// # Contract
///
/// - All methods are called concurrently, from many connections.
/// - The future of [`attach`](Self::attach) is dropped when the peer detaches, ends the session or
///   disconnects before the answer; a lock taken inside must be released by a guard, not by the
///   next line.
/// - Nothing here runs while the listener holds a lock of its own, so a broker may call
///   [`LinkSender`], [`Responder`](super::Responder) and [`LinkControl`] from under its own locks.
#[async_trait]
pub(crate) trait Service: Send + Sync + 'static {
    /// Checks what a client presents, over `$cbs` or SASL PLAIN. An error becomes status 401 of
    /// `put-token`, with its description.
    fn authorize(&self, credential: &Credential) -> Result<Grant, Error>;

    /// A node that answers requests (`$management`, `<entity>/$management`), if this address is
    /// one. `Ok(None)` sends the attach on to [`attach`](Self::attach); an error refuses it.
    /// `$cbs` is the listener's own and never asked for. The listener checks rights on other links, but not what is
    /// asked of such a node: `rights`, one at least, is what the client has there.
    fn request_node(&self, address: &str, rights: Rights) -> Result<Option<Arc<dyn RequestHandler>>, Error>;

    /// Accepts or refuses a link. May take its time (a session receiver waits here for a session);
    /// other links of the connection go on meanwhile.
    ///
    /// A refused link is attached without a source or target and detached at once with the error
    /// (AMQP 1.0 section 2.6.3).
    async fn attach(&self, request: AttachRequest) -> Result<Attached, Error>;

    /// A link to the coordinator of transactions (section 4.2), if the service has them.
    fn coordinator(&self, request: &AttachRequest) -> Option<Attached> {
        let _ = request;
        None
    }
}

/// Identifies a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// Which way messages go on a link, seen from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The peer sends.
    Incoming,
    /// The peer receives.
    Outgoing,
}

/// What a client presents to be let in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// `put-token` of type `servicebus.windows.net:sastoken`.
    Sas {
        /// The resource the client wants access to, for example `amqps://host/queue`.
        audience: String,
        /// `SharedAccessSignature sr=…&sig=…&se=…&skn=…`.
        token: String,
    },
    /// `put-token` of type `jwt`.
    Jwt {
        /// The resource the client wants access to.
        audience: String,
        /// Three parts of base64url with dots between.
        token: String,
    },
    /// SASL PLAIN: a shared access key by name, for everything.
    Plain {
        /// Key name.
        name: String,
        /// Key.
        key: String,
    },
}

// Tokens and keys stay out of logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sas { audience, .. } => write!(f, "Sas({audience})"),
            Self::Jwt { audience, .. } => write!(f, "Jwt({audience})"),
            Self::Plain { name, .. } => write!(f, "Plain({name})"),
        }
    }
}

/// What a credential opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Entity path (lower case, no slash at either end) under which every node may be attached;
    /// empty for the whole namespace.
    pub(crate) scope: String,
    /// What may be done there.
    pub(crate) rights: Rights,
    /// When it ends; the connection is closed with `amqp:unauthorized-access` if it has not been
    /// renewed by then. `None`: never.
    pub(crate) expires: Option<OffsetDateTime>,
}

/// Identifies an AMQP session within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) ConnectionId, pub(crate) u64);

/// A link that a peer wants.
#[derive(Clone, Debug)]
pub(crate) struct AttachRequest {
    /// The connection it comes from.
    pub(crate) connection: ConnectionId,
    /// The session it is to be in.
    pub(crate) session: SessionId,
    /// No other link is in that session.
    pub(crate) alone: bool,
    /// The peer's name for the link; unique per connection and direction. `associated-link-name`
    /// of `$management` requests refers to it.
    pub(crate) name: String,
    /// Which way messages go.
    pub(crate) direction: Direction,
    /// Address of the node on our side: the target of an incoming link, the source of an outgoing
    /// one. Scheme and host are cut off, also slashes at either end; the case is the client's.
    pub(crate) address: String,
    /// The source as the peer wrote it, with filters.
    pub(crate) source: Option<Source>,
    /// The target as the peer wrote it.
    pub(crate) target: Option<Target>,
    /// The sender settle mode in use (incoming) or asked for (outgoing). Settled means
    /// receive-and-delete.
    pub(crate) snd_settle_mode: SenderSettleMode,
    /// The receiver settle mode asked for.
    pub(crate) rcv_settle_mode: ReceiverSettleMode,
    /// What the client may do at the address.
    pub(crate) rights: Rights,
    /// What the peer would use if we had it, for example `com.microsoft:enable-receiver-runtime-metric`.
    pub(crate) desired_capabilities: Vec<String>,
    /// Link properties, for example `com.microsoft:epoch` or `com.microsoft:timeout`.
    pub(crate) properties: Fields,
    /// To end this link later, from anywhere.
    pub(crate) control: LinkControl,
}

impl AttachRequest {
    /// Whether the peer would use this if we had it.
    pub(crate) fn desires(&self, capability: &str) -> bool {
        self.desired_capabilities.iter().any(|desired| desired == capability)
    }
}

/// What goes into our half of the attach. The default echoes the peer's source and target, adds no
/// properties and states the listener's maximum message size.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkReply {
    /// Replaces the echoed source, for example to carry the actual session id in its filter.
    pub(crate) source: Option<Source>,
    /// Replaces the echoed target.
    pub(crate) target: Option<Target>,
    /// What we have, of what the peer would use.
    pub(crate) offered_capabilities: Vec<&'static str>,
    /// Our link properties, for example `com.microsoft:locked-until-utc`.
    pub(crate) properties: Fields,
    /// Largest message we take on this link, in bytes; 0: what [`ListenerOptions`](super::ListenerOptions) says.
    pub(crate) max_message_size: u64,
}

/// Runs an outgoing link until it is over. `Ok` detaches without an error, `Err` with one; after
/// [`LinkEvent::Closed`](super::LinkEvent::Closed) either is ignored. It is never aborted, so it
/// can put locks in order at the end.
pub(crate) type OutgoingTask = Box<dyn FnOnce(LinkSender, LinkEvents) -> BoxFuture<'static, Result<(), Error>> + Send>;

/// An accepted link.
pub(crate) enum Attached {
    /// The peer sends.
    Incoming {
        /// Our half of the attach.
        reply: LinkReply,
        /// Gets the messages.
        handler: Arc<dyn IncomingHandler>,
        /// Deliveries the peer may have unanswered at a time (credit).
        credit: u32,
    },
    /// The peer receives.
    Outgoing {
        /// Our half of the attach.
        reply: LinkReply,
        /// Started as a task of its own once the attach has been answered.
        task: OutgoingTask,
    },
}

impl Attached {
    /// An outgoing link run by an async closure.
    pub(crate) fn outgoing<F, Fut>(reply: LinkReply, task: F) -> Self
    where
        F: FnOnce(LinkSender, LinkEvents) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::Outgoing {
            reply,
            task: Box::new(move |sender, events| Box::pin(task(sender, events))),
        }
    }
}

/// Ends a link from outside of its task or handler. Cheap to clone; does nothing once the link is
/// gone.
#[derive(Clone)]
pub(crate) struct LinkControl {
    // Weak, so that a broker that keeps one does not keep the connection.
    connection: Weak<Connection>,
    link: LinkId,
}

impl LinkControl {
    pub(super) fn new(connection: &Arc<Connection>, link: LinkId) -> Self {
        Self {
            connection: Arc::downgrade(connection),
            link,
        }
    }

    /// What the peer may do at another address than that of the link.
    pub(crate) fn rights_on(&self, address: &str) -> Rights {
        let connection = self.connection.upgrade();
        connection.map_or(Rights::NONE, |connection| connection.rights_on(address))
    }

    /// Detaches the link with an error; its task sees [`LinkEvent::Closed`](super::LinkEvent::Closed).
    /// While the attach is not answered yet, this happens right after the answer.
    pub(crate) fn detach(&self, error: Error) {
        if let Some(connection) = self.connection.upgrade() {
            connection.detach(self.link, error);
        }
    }
}

impl fmt::Debug for LinkControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkControl")
    }
}
