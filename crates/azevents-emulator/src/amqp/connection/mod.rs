//! One connection: its shared state, and the tasks around it.
//!
//! A reading task takes frames apart and changes the state, a writing task puts out what the state
//! has queued, link tasks of the broker send through it. All of them meet in one mutex that is
//! never held across an await nor while broker code runs: what has to be told to the broker is
//! collected as [`Action`]s and done after the lock is released.
//!
//! | file | room |
//! | --- | --- |
//! | `handshake` | protocol headers and SASL |
//! | `reader`, `writer` | the two tasks of the socket |
//! | `state` | what a connection, a session and a link are |
//! | `frames` | open, begin, end, close, flow, disposition, detach |
//! | `attach` | asking the broker, answering, refusing |
//! | `hold_up` | faults that make it wait |
//! | `receive` | transfers from the peer, credit, outcomes |
//! | `unfinished` | messages of which more is to come
//! | `send` | transfers to the peer, credit, drain, settlement |

mod attach;
mod frames;
mod handshake;
mod hold_up;
mod reader;
mod receive;
mod send;
mod state;
mod unfinished;
mod writer;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fe2o3_amqp_types::definitions::AmqpError;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AttachRequest, ConnectionId, DetachReason, Grant, IncomingDelivery, IncomingHandler, ListenerOptions, Responder,
    Rights, Service,
    error::{self, Error},
    requests::Response,
    sas::covers,
};
use crate::transport;
pub(super) use receive::Receipt;
pub(super) use send::NotSent;
pub(super) use state::LinkId;
use state::{GRANTS_MAX, Phase, State};
use unfinished::Unfinished;

/// How long a peer may take for the handshake, and for its half of a close.
const PATIENCE: Duration = Duration::from_secs(10);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Above this many bytes to write, nothing more is taken from link tasks.
const HIGH_WATER: usize = 1024 * 1024;

/// Responses to requests that a peer may leave unread before no more of its requests are carried out.
const MAX_RESPONSES: usize = 200;

/// Above this many bytes handed to the broker and not yet answered (or, unlikely, this many
/// answers the peer does not read), nothing more is read.
const MAX_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// A connection that is past the handshake, or on its way there.
pub(super) struct Connection {
    id: ConnectionId,
    service: Arc<dyn Service>,
    options: Arc<ListenerOptions>,
    state: Mutex<State>,
    /// Something is to be written.
    output: Notify,
    /// The reason to pause reading may be gone.
    readable: Notify,
    /// The socket is to be let go of, whatever is still queued.
    dead: CancellationToken,
    /// One for each response to a request that the peer has not taken.
    requests: Arc<Semaphore>,
    /// Every task of every connection, so that a shutdown can wait for them.
    tasks: TaskTracker,
}

/// What is to be told to the broker once the lock is released.
enum Action {
    Attach(LinkId, CancellationToken, Box<AttachRequest>),
    Deliver(Arc<dyn IncomingHandler>, IncomingDelivery, Responder),
    Closed(Arc<dyn IncomingHandler>),
}

impl Connection {
    /// Serves a socket until it ends. `stop` asks for a polite end.
    pub(super) async fn serve(
        id: ConnectionId,
        socket: TcpStream,
        service: Arc<dyn Service>,
        options: Arc<ListenerOptions>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let connection = Arc::new(Self {
            id,
            service,
            state: Mutex::new(State {
                unfinished: Unfinished::new(options.max_message_size),
                ..State::default()
            }),
            requests: Arc::new(Semaphore::new(MAX_RESPONSES)),
            output: Notify::new(),
            readable: Notify::new(),
            dead: CancellationToken::new(),
            options,
            tasks,
        });
        let handshake = async {
            let (mut read, mut write) = transport::accept_amqp(socket, &connection.options.tls).await?;
            let buffer = connection.handshake(&mut read, &mut write).await?;
            std::io::Result::Ok((read, write, buffer))
        };
        let (read, write, buffer) = tokio::select! {
            result = tokio::time::timeout(PATIENCE, handshake) => match result {
                Ok(Ok(connected)) => connected,
                Ok(Err(error)) => return tracing::debug!(?id, %error, "handshake failed"),
                Err(_) => return tracing::debug!(?id, "handshake took too long"),
            },
            () = stop.cancelled() => return,
        };
        let writing = connection.tasks.spawn(Arc::clone(&connection).write_frames(write));
        tokio::select! {
            () = connection.read_frames(read, buffer) => {}
            () = stop.cancelled() => {
                connection.close(
                    &DetachReason::Shutdown,
                    Some(&error::connection_forced("The emulator is shutting down.")),
                );
                // The writer leaves once the close is out.
                let _ = tokio::time::timeout(CLOSE_PATIENCE, writing).await;
            }
        }
        connection.abort();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, tells the broker what came of it, and wakes the writer.
    fn update<T>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Vec<Action>) -> T) -> T {
        let mut actions = Vec::new();
        let (result, corked) = {
            let mut state = self.lock();
            let result = change(&mut state, &mut actions);
            (result, state.corked)
        };
        self.run(&mut actions);
        if !corked {
            self.output.notify_one();
        }
        result
    }

    fn run(self: &Arc<Self>, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Attach(link, cancel, request) => self.ask_broker(link, cancel, request),
                Action::Deliver(handler, delivery, responder) => {
                    handler.deliver(delivery, responder);
                }
                Action::Closed(handler) => handler.closed(),
            }
        }
    }

    /// Ends the connection politely: a close frame, then the socket.
    fn close(self: &Arc<Self>, reason: &DetachReason, error: Option<&Error>) {
        self.update(|state, actions| state.close(reason, error, actions));
    }

    /// Ends the connection at once; what was queued is not written.
    pub(super) fn abort(self: &Arc<Self>) {
        self.update(|state, actions| {
            state.die();
            state.drop_sessions(&DetachReason::ConnectionLost, actions);
        });
        self.dead.cancel();
    }

    /// Lets the connection reach what the grant covers; a grant for the same scope is replaced.
    pub(super) fn grant(&self, grant: Grant) -> Result<(), Error> {
        let mut state = self.lock();
        state.grants.retain(|old| old.scope != grant.scope);
        if state.grants.len() >= GRANTS_MAX {
            return Err(error::with(
                AmqpError::ResourceLimitExceeded,
                format!("A connection takes tokens for at most {GRANTS_MAX} entities."),
            ));
        }
        state.grants.push(grant);
        drop(state);
        // The writer also watches for the end of grants.
        self.output.notify_one();
        Ok(())
    }

    /// What the peer may do at an address.
    pub(super) fn rights_on(&self, address: &str) -> Rights {
        if self.options.require_token {
            self.lock().rights_on(address)
        } else {
            Rights::ALL
        }
    }

    pub(super) fn service(&self) -> &Arc<dyn Service> {
        &self.service
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Leave for one more request to be answered: there is none while the peer leaves too many responses where they are.
    pub(super) fn requests(&self) -> &Arc<Semaphore> {
        &self.requests
    }

    /// Puts a response on the way back of a request/response node: the link with that target
    /// address, else the latest one on the node (Python names no address for `$cbs`).
    pub(super) fn respond(&self, node: &str, reply_to: Option<&str>, response: Response) {
        let state = self.lock();
        let on_node = || state.reply_links.iter().rev().filter(|link| link.node == node);
        let link = reply_to
            .and_then(|_| on_node().find(|link| link.reply_to.as_deref() == reply_to))
            .or_else(|| on_node().next());
        // Both ways nobody is left who waits for it.
        if link.is_none_or(|link| link.responses.send(response).is_err()) {
            tracing::debug!(id = ?self.id, node, "nobody to send a response to");
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }
}

impl State {
    /// Nothing is read or written from here on.
    fn die(&mut self) {
        self.phase = Phase::Dead;
        self.out.clear();
    }

    /// What this connection may do at the node. A namespace's own `$management` is open to any token.
    fn rights_on(&self, address: &str) -> Rights {
        let address = address.to_lowercase();
        let grants = self.grants.iter();
        grants
            .filter(|grant| address == "$management" || covers(&grant.scope, &address))
            .fold(Rights::NONE, |rights, grant| rights.and(grant.rights))
    }

    fn close(&mut self, reason: &DetachReason, error: Option<&Error>, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::AwaitingOpen | Phase::Open) {
            self.drop_sessions(reason, actions);
            self.out.close(error);
            self.phase = Phase::Closing;
        }
    }

    fn drop_sessions(&mut self, reason: &DetachReason, actions: &mut Vec<Action>) {
        for (_, mut session) in self.sessions.drain() {
            for (_, link) in session.links.drain() {
                link.over(reason.clone(), actions);
            }
        }
        self.reply_links.clear();
    }
}
