//! Stands in for `tls` where the feature is off: nobody has a certificate, and clients that want
//! TLS are turned away.

use std::{convert::Infallible, io, path::Path};

use tokio::net::TcpStream;

/// Never comes to be without the feature `tls`.
#[derive(Clone, Debug)]
pub struct Tls(Infallible);

/// The feature `tls` is off.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this emulator was built without TLS: build it with the feature `tls`")]
#[non_exhaustive]
pub struct TlsError;

pub(crate) type TlsStream = TcpStream;

impl Tls {
    /// Fails without the feature `tls`.
    pub fn generate(_names: &[&str]) -> Result<Self, TlsError> {
        Err(TlsError)
    }

    /// Fails without the feature `tls`.
    pub fn from_files(_certificate: &Path, _key: &Path) -> Result<Self, TlsError> {
        Err(TlsError)
    }

    /// What a client has to trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        match self.0 {}
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Acceptor;

impl From<Option<Tls>> for Acceptor {
    fn from(_: Option<Tls>) -> Self {
        Self
    }
}

impl Acceptor {
    #[expect(clippy::unused_async, reason = "as it is with TLS")]
    pub(crate) async fn accept(&self, _socket: TcpStream) -> io::Result<TlsStream> {
        Err(io::Error::other(TlsError))
    }
}
