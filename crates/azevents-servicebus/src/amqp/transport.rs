//! TCP, and TLS on it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};

use crate::connection_string::Endpoint;
use crate::error::{Error, ErrorKind, Result};

/// The byte stream of a connection.
#[derive(Debug)]
pub(crate) enum Transport {
    /// To an emulator.
    Plain(TcpStream),
    /// To Azure. Service Bus starts TLS at once, without the AMQP header that section 5.2 of the AMQP
    /// specification allows for.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self> {
        let unreachable = |error: io::Error| {
            Error::new(
                ErrorKind::Connection,
                format!("cannot connect to {}:{}: {error}", endpoint.host, endpoint.port),
            )
            .with_source(error)
        };
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(unreachable)?;
        // Frames are written whole; waiting for more to send only adds latency.
        stream.set_nodelay(true).map_err(unreachable)?;
        if !endpoint.tls {
            return Ok(Self::Plain(stream));
        }
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|_| Error::configuration(format!("`{}` is not a host name that TLS can verify", endpoint.host)))?;
        let stream = tls()?.connect(name, stream).await.map_err(unreachable)?;
        Ok(Self::Tls(Box::new(stream)))
    }
}

/// Verifies with the roots that the operating system trusts, so that a company's own proxy works. The
/// crypto provider is named: with two of them compiled in, rustls refuses to choose and panics.
fn tls() -> Result<TlsConnector> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, rustls::Error>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(Arc::new(config))
    });
    match config {
        Ok(config) => Ok(TlsConnector::from(Arc::clone(config))),
        Err(error) => Err(
            Error::configuration("TLS cannot be set up: the system's trusted roots cannot be read")
                .with_source(error.clone()),
        ),
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
