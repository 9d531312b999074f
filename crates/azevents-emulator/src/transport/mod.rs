//! What a client may put between TCP and its protocol: TLS, WebSockets, both or neither.
//!
//! Every port takes all of them. The first byte tells: a TLS handshake begins with 22 (RFC 8446
//! section 5.1), a WebSocket with a `GET`, AMQP with its name (AMQP 1.0 section 2.2). So a
//! client's endpoint has one port, whatever transport its user chose.

mod amqp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
mod websocket;

use std::io;

use tokio::net::TcpStream;

pub(crate) use amqp::{ReadHalf, WriteHalf, accept as accept_amqp, acknowledge_now};
pub(crate) use tls::{Acceptor, TlsStream};
pub use tls::{Tls, TlsError};

/// The content type of a TLS handshake, which is the first byte of a connection with TLS.
const TLS_HANDSHAKE: u8 = 22;

/// Whether a client that has just connected begins with TLS. Takes nothing off the socket.
pub(crate) async fn begins_with_tls(socket: &TcpStream) -> io::Result<bool> {
    Ok(first_byte(socket).await? == TLS_HANDSHAKE)
}

async fn first_byte(socket: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}
