//! AMQP in the binary messages of a WebSocket, for networks that let nothing but HTTPS through
//! (AMQP over WebSocket binding, committee specification draft 1).

use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::{Wire, unreachable};
use crate::error::{Error, ErrorKind, Result};

/// Where Service Bus takes WebSockets.
const PATH: &str = "/$servicebus/websocket";
/// What is spoken over it (section 2.1 of the binding).
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("amqp");

/// Speaks HTTP on `stream`, which is encrypted already where it has to be. `authority` is the host, with
/// the port where it is not the usual one.
pub(super) async fn connect<S: Wire + 'static>(stream: S, authority: &str, tls: bool) -> Result<Box<dyn Wire>> {
    let scheme = if tls { "wss" } else { "ws" };
    let mut request = format!("{scheme}://{authority}{PATH}")
        .into_client_request()
        .map_err(|error| {
            Error::configuration(format!("`{authority}` is no host name for a WebSocket")).with_source(error)
        })?;
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL);
    let (socket, _) = client_async(request, stream)
        .await
        .map_err(|error| refused(authority, error))?;
    let (write, read) = socket.split();
    let read = read.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            // Pings are answered by the library, and the end of the stream follows a close.
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let write = write
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| std::future::ready(io::Result::Ok(Message::Binary(bytes))));
    let write = SinkWriter::new(CopyToBytes::new(write));
    Ok(Box::new(tokio::io::join(StreamReader::new(read), write)))
}

fn refused(authority: &str, error: WebSocketError) -> Error {
    match error {
        WebSocketError::Io(error) => unreachable(authority, error),
        WebSocketError::Http(answer) => Error::new(
            ErrorKind::Connection,
            format!("{authority} answers the WebSocket with {}", answer.status().as_u16()),
        ),
        error => Error::new(ErrorKind::Connection, format!("no WebSocket to {authority}")).with_source(error),
    }
}
