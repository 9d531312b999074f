//! Finds out what an AMQP client speaks, and makes two halves of it that carry AMQP.

use std::io::{self, Cursor};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::either::Either;

use super::{Acceptor, TLS_HANDSHAKE, first_byte, websocket};

/// What AMQP is read from. Plain TCP isn't boxed: it is what nearly everybody uses.
pub(crate) type ReadHalf = Either<OwnedReadHalf, Box<dyn AsyncRead + Send + Sync + Unpin>>;

/// What AMQP is written to.
pub(crate) type WriteHalf = Either<OwnedWriteHalf, Box<dyn AsyncWrite + Send + Sync + Unpin>>;

/// Does what comes before the protocol header. Unbounded in time: the caller sets a limit.
pub(crate) async fn accept(socket: TcpStream, tls: &Acceptor) -> io::Result<(ReadHalf, WriteHalf)> {
    match first_byte(&socket).await? {
        TLS_HANDSHAKE => {
            let (mut read, write) = tokio::io::split(tls.accept(socket).await?);
            let mut first = [0];
            read.read_exact(&mut first).await?;
            let read = Cursor::new(first).chain(read);
            if is_http(first[0]) {
                Ok(boxed(websocket::accept(tokio::io::join(read, write)).await?))
            } else {
                Ok(boxed((read, write)))
            }
        }
        first if is_http(first) => Ok(boxed(websocket::accept(socket).await?)),
        _ => {
            let (read, write) = socket.into_split();
            Ok((Either::Left(read), Either::Left(write)))
        }
    }
}

/// A WebSocket begins as a GET (RFC 6455 section 4.1). Other protocols are answered with ours.
fn is_http(first: u8) -> bool {
    first == b'G'
}

fn boxed<R, W>((read, write): (R, W)) -> (ReadHalf, WriteHalf)
where
    R: AsyncRead + Send + Sync + Unpin + 'static,
    W: AsyncWrite + Send + Sync + Unpin + 'static,
{
    (Either::Right(Box::new(read)), Either::Right(Box::new(write)))
}

/// Asks the kernel not to wait with the acknowledgement of what was just read. Clients on
/// `fe2o3-amqp` leave Nagle's algorithm on and would hold a second small frame back for it, up to
/// 40 ms on Linux. The kernel forgets the wish after a while, so it is made for every read.
pub(crate) fn acknowledge_now(socket: &ReadHalf) {
    #[cfg(target_os = "linux")]
    if let Either::Left(socket) = socket
        && let Err(error) = socket2::SockRef::from(socket.as_ref()).set_tcp_quickack(true)
    {
        tracing::trace!(%error, "TCP_QUICKACK");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}
