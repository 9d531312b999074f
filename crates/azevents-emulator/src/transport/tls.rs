//! TLS with a certificate that is made at the start, or one that is given.

use std::{fmt, io, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

pub(crate) type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// Names a generated certificate is good for, beside those given.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate to serve TLS with, on every port beside what is not encrypted.
///
/// ```
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use azevents_emulator::{Emulator, Tls};
///
/// let emulator = Emulator::builder().tls(Tls::generate(&[])?).start().await?;
/// let trusted = emulator.ready().tls.as_ref().map(|tls| &tls.ca_pem);
/// # let _ = trusted;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    ca_pem: String,
}

/// A certificate that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read, or holds no certificate or no key.
    #[error("{file}: {what}; write PEM, the certificate first and then those that signed it")]
    File {
        /// The file as it was named.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The certificate and the key are not a pair, or a name is not a name.
    #[error("the certificate can't be used: {0}")]
    Unusable(String),
}

impl Tls {
    /// Makes an authority and a certificate of it for localhost and for `names` (host names or IP
    /// addresses), both for this run only. A client has to trust [`ca_pem`](Self::ca_pem).
    pub fn generate(names: &[&str]) -> Result<Self, TlsError> {
        let made = |error: rcgen::Error| TlsError::Unusable(error.to_string());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority
            .distinguished_name
            .push(DnType::CommonName, "azevents emulator, for tests only");
        let authority_key = KeyPair::generate().map_err(made)?;
        let ca_pem = authority.self_signed(&authority_key).map_err(made)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let names: Vec<String> = LOCAL_NAMES.iter().chain(names).map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names).map_err(made)?;
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(made)?;
        let certificate = server.signed_by(&key, &issuer).map_err(made)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| TlsError::Unusable(error.to_owned()))?;
        Self::new(vec![certificate.der().clone()], key, ca_pem)
    }

    /// Takes a certificate (with those that signed it behind it) and its key from PEM files.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |file: &Path, what: String| TlsError::File {
            file: file.display().to_string(),
            what,
        };
        let pem = std::fs::read_to_string(certificate).map_err(|error| wrong(certificate, error.to_string()))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(certificate, "there is no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
        Self::new(chain, key, pem)
    }

    /// What a client has to trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, ca_pem: String) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| TlsError::Unusable(error.to_string()))?;
        // AMQP clients ask for none of these and get none (RFC 7301 section 3.2 lets them).
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca_pem,
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_pem", &self.ca_pem)
            .finish_non_exhaustive()
    }
}

/// Takes clients that begin with TLS, if there is a certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acceptor(Option<Tls>);

impl From<Option<Tls>> for Acceptor {
    fn from(tls: Option<Tls>) -> Self {
        Self(tls)
    }
}

impl Acceptor {
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream> {
        match &self.0 {
            Some(tls) => tls.acceptor.accept(socket).await,
            None => Err(io::Error::other(
                "the client wants TLS, which is off: start the emulator with --tls, or tell the client not to",
            )),
        }
    }
}
