//! AMQP over WebSockets, for clients behind a proxy that lets nothing but HTTP through.

use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// Where Service Bus and Event Hubs take WebSockets.
const PATH: &str = "/$servicebus/websocket";

/// What clients ask to speak: the protocol's registered name, or the name Microsoft's older
/// clients use. The bytes are the same.
const SUBPROTOCOLS: [&str; 2] = ["amqp", "AMQPWSB10"];

/// A message of a WebSocket holds some frames of AMQP, which have limits of their own.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Answers the request a WebSocket begins with. What is read and written then is AMQP, cut into
/// messages at any place.
pub(super) async fn accept<S>(
    stream: S,
) -> io::Result<(
    impl AsyncRead + Send + Sync + Unpin + use<S>,
    impl AsyncWrite + Send + Sync + Unpin + use<S>,
)>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = accept_hdr_async_with_config(stream, answer, Some(config))
        .await
        .map_err(io::Error::other)?;
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
        .with(|bytes: Bytes| std::future::ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    Ok((StreamReader::new(read), SinkWriter::new(CopyToBytes::new(write))))
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn answer(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let path = request.uri().path().trim_end_matches('/');
    if !path.eq_ignore_ascii_case(PATH) {
        return Err(refused(
            StatusCode::NOT_FOUND,
            format!("There is nothing at {path}; AMQP over WebSockets is at {PATH}."),
        ));
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let chosen = offered.find(|name| SUBPROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(name)));
    match chosen.and_then(|name| HeaderValue::from_str(name).ok()) {
        Some(name) => {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
            Ok(response)
        }
        None => Err(refused(
            StatusCode::BAD_REQUEST,
            format!("Ask for the subprotocol {}.", SUBPROTOCOLS[0]),
        )),
    }
}

fn refused(status: StatusCode, sentence: String) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(sentence));
    *response.status_mut() = status;
    response
}
