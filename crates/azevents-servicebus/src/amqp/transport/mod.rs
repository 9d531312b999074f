//! The byte stream under a connection: TCP, TLS on it, a WebSocket in that, a proxy before all of them.

mod proxy;
mod tls;
mod websocket;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) use self::proxy::HttpProxy;
pub(crate) use self::tls::TrustedRoots;
use crate::error::{Error, ErrorKind, Result};

/// How to reach the service.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Plain TCP is for emulators only: Azure takes nothing but TLS.
    pub(crate) tls: bool,
    pub(crate) web_socket: bool,
    pub(crate) proxy: Option<HttpProxy>,
    pub(crate) roots: TrustedRoots,
}

/// Anything that bytes go over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The byte stream of a connection.
pub(crate) enum Transport {
    /// To an emulator.
    Plain(TcpStream),
    /// To Azure. Service Bus starts TLS at once, without the AMQP header that section 5.2 of the AMQP
    /// specification allows for.
    Tls(Box<TlsStream<TcpStream>>),
    /// Through a proxy, or in a WebSocket.
    Other(Box<dyn Wire>),
}

impl Transport {
    pub(crate) async fn connect(route: &Route) -> Result<Self> {
        let (host, port) = (route.host.as_str(), route.port);
        let stream = if let Some(proxy) = &route.proxy {
            let tunnel = proxy.connect(host, port, &route.roots).await?;
            Self::Other(if route.tls {
                Box::new(tls::connect(tunnel, host, &route.roots).await?)
            } else {
                tunnel
            })
        } else {
            let stream = tcp(host, port).await?;
            if route.tls {
                Self::Tls(Box::new(tls::connect(stream, host, &route.roots).await?))
            } else {
                Self::Plain(stream)
            }
        };
        if !route.web_socket {
            return Ok(stream);
        }
        let authority = match (route.tls, port) {
            (true, 443) | (false, 80) => host.to_owned(),
            _ => format!("{host}:{port}"),
        };
        let socket = websocket::connect(stream, &authority, route.tls).await?;
        Ok(Self::Other(socket))
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream> {
    let address = || format!("{host}:{port}");
    // An IPv6 address stands in brackets in a URL, and without them here.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(|error| unreachable(&address(), error))?;
    // Frames are written whole; waiting for more to send only adds latency.
    stream
        .set_nodelay(true)
        .map_err(|error| unreachable(&address(), error))?;
    Ok(stream)
}

fn unreachable(address: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Connection, format!("cannot connect to {address}: {error}")).with_source(error)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
            Self::Other(_) => "Other",
        })
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
