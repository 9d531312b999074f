//! TLS, verified with the roots that the operating system trusts and those that the user adds.

use std::sync::{Arc, OnceLock};

use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig};

use super::unreachable;
use crate::error::{Error, Result};

/// Whom to trust beside the system's own authorities.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedRoots(Vec<CertificateDer<'static>>);

impl TrustedRoots {
    pub(crate) fn from_pem(pem: &str) -> Result<Self> {
        let unusable = || Error::configuration("the trusted authority is not a certificate in PEM");
        let roots: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unusable().with_source(error))?;
        if roots.is_empty() {
            return Err(unusable());
        }
        Ok(Self(roots))
    }
}

pub(super) async fn connect<S>(stream: S, host: &str, roots: &TrustedRoots) -> Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::configuration(format!("`{host}` is not a host name that TLS can verify")))?;
    let connector = connector(roots).map_err(|error| {
        Error::configuration("TLS cannot be set up: the system's trusted roots cannot be read").with_source(error)
    })?;
    connector
        .connect(name, stream)
        .await
        .map_err(|error| unreachable(host, error))
}

/// The crypto provider is named: with two of them compiled in, rustls refuses to choose and panics.
fn connector(roots: &TrustedRoots) -> Result<TlsConnector, rustls::Error> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, rustls::Error>> = OnceLock::new();
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let builder = || ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    if !roots.0.is_empty() {
        let verifier = Verifier::new_with_extra_roots(roots.0.iter().cloned(), provider())?;
        let config = builder()?
            .dangerous() // What rustls calls any verifier but its own.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        return Ok(TlsConnector::from(Arc::new(config)));
    }
    let config = CONFIG.get_or_init(|| Ok(Arc::new(builder()?.with_platform_verifier()?.with_no_client_auth())));
    Ok(TlsConnector::from(Arc::clone(config.as_ref().map_err(Clone::clone)?)))
}
