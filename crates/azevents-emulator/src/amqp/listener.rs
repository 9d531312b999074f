//! Accepts connections and hands them to their tasks.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use super::Service;
use crate::Faults;

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
    /// When to fail on purpose: [`FaultKind::DropConnection`](crate::FaultKind::DropConnection),
    /// `DetachLink` and `LoseOutcome` are taken care of by the listener, the others are the
    /// broker's.
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
            faults: Faults::none(),
        }
    }
}

/// A bound port and everything behind it. Dropping it stops accepting and cuts the connections;
/// [`shutdown`](Self::shutdown) says goodbye first.
#[derive(Debug)]
pub(crate) struct Listener {}

impl Listener {
    /// Listens on plain TCP; port 0 lets the OS choose. Must be called within a tokio runtime.
    pub(crate) async fn bind(
        addr: SocketAddr,
        service: Arc<dyn Service>,
        options: ListenerOptions,
    ) -> io::Result<Self> {
        let _ = (addr, service, options);
        unimplemented!()
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Closes every connection with `amqp:connection:forced`, waits for link tasks to finish, and
    /// frees the port.
    pub(crate) async fn shutdown(self) {}
}
