//! Accepts connections and hands them to their tasks.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{ConnectionId, Service, connection::Connection};
use crate::{Faults, transport::Acceptor};

/// Segment size asked of accepted sockets, in bytes: that of Ethernet. On loopback it would be
/// above 32767, and the Python Event Hubs client writes what it reads from `TCP_MAXSEG` back,
/// which Linux then refuses.
const MAX_SEGMENT: u32 = 1460;

/// How long to wait before accepting again after a failure, for example without file handles.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Connections are numbered through all listeners of the process.
static LAST_CONNECTION: AtomicU64 = AtomicU64::new(0);

/// How a [`Listener`] behaves.
#[derive(Clone, Debug)]
pub(crate) struct ListenerOptions {
    /// Our container id, shown to clients in `open`.
    pub(crate) container_id: String,
    /// Largest frame we take, in bytes (at least 512).
    pub(crate) max_frame_size: u32,
    /// Largest message we take, in bytes, unless a link says otherwise.
    pub(crate) max_message_size: u64,
    /// A peer that sends nothing for so long is disconnected, and told to send more often.
    pub(crate) idle_timeout: Duration,
    /// Links need a token (`$cbs`) or a SASL PLAIN login first. `false` lets everybody in.
    pub(crate) require_token: bool,
    /// For clients that begin with TLS.
    pub(crate) tls: Acceptor,
    /// When to fail on purpose: [`FaultKind::DropConnection`](crate::FaultKind::DropConnection),
    /// `DetachLink` and `LoseOutcome` are taken care of by the listener, the others are the
    /// broker's. Links of `$cbs` and management nodes are spared.
    pub(crate) faults: Faults,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            container_id: "azevents-emulator".to_owned(),
            max_frame_size: 64 * 1024,
            max_message_size: 1024 * 1024,
            idle_timeout: Duration::from_secs(240),
            require_token: true,
            tls: Acceptor::default(),
            faults: Faults::none(),
        }
    }
}

/// A bound port and everything behind it. Dropping it stops accepting and ends the connections
/// in the background; [`shutdown`](Self::shutdown) waits for that.
#[derive(Debug)]
pub(crate) struct Listener {
    local_addr: SocketAddr,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Listener {
    /// Listens on TCP, for clients with and without TLS and WebSockets; port 0 lets the OS choose. Must be called within a tokio runtime.
    pub(crate) fn bind(addr: SocketAddr, service: Arc<dyn Service>, options: ListenerOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        #[cfg(unix)]
        {
            socket.set_reuse_address(true)?;
            // Accepted sockets inherit it.
            socket.set_tcp_mss(MAX_SEGMENT)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from_std(socket.into())?;
        let local_addr = listener.local_addr()?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(
            listener,
            service,
            Arc::new(options),
            tasks.clone(),
            stop.clone(),
        ));
        Ok(Self {
            local_addr,
            tasks,
            stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes every connection with `amqp:connection:forced`, waits for link tasks to finish, and
    /// frees the port.
    pub(crate) async fn shutdown(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    service: Arc<dyn Service>,
    options: Arc<ListenerOptions>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let id = ConnectionId(LAST_CONNECTION.fetch_add(1, Ordering::Relaxed) + 1);
        tasks.spawn(Connection::serve(
            id,
            socket,
            Arc::clone(&service),
            Arc::clone(&options),
            tasks.clone(),
            stop.clone(),
        ));
    }
}
