//! One request and its answer, over the same TLS, proxies and trusted authorities as AMQP.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::amqp::transport::{Route, Transport};
use crate::credential::{Credential, TokenType};
use crate::error::{Error, ErrorKind, Result};

/// Larger than any page of a hundred descriptions.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Where requests go and as whom. A connection that answered is kept for the next request; requests that
/// run at the same time have one each.
pub(super) struct Http {
    route: Route,
    /// `https://<namespace>/`: what tokens are for, whatever the way to it.
    audience: String,
    host: HeaderValue,
    credential: Credential,
    open_timeout: Duration,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// What is asked for.
pub(super) struct Call {
    pub(super) method: Method,
    /// Escaped, with its query.
    pub(super) path: String,
    /// `If-Match: *`: only what exists may be written.
    pub(super) update: bool,
    pub(super) body: String,
    /// Names of headers that each take a token, for entities that messages are forwarded to.
    pub(super) supplements: Vec<&'static str>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

impl Http {
    pub(super) fn new(namespace: &str, route: Route, credential: Credential, open_timeout: Duration) -> Result<Self> {
        let (scheme, usual) = if route.tls { ("https", 443) } else { ("http", 80) };
        let authority = if route.tls || route.port == usual {
            namespace.to_owned()
        } else {
            format!("{namespace}:{}", route.port)
        };
        let host = HeaderValue::from_str(&authority)
            .map_err(|error| Error::configuration("the namespace is no host name").with_source(error))?;
        Ok(Self {
            audience: format!("{scheme}://{authority}/"),
            route,
            host,
            credential,
            open_timeout,
            kept: Mutex::default(),
        })
    }

    /// The namespace's host name, as addresses of entities carry it.
    pub(super) fn namespace(&self) -> &str {
        self.audience
            .split_once("://")
            .map_or("", |(_, rest)| rest.trim_end_matches('/'))
    }

    /// Cancellation: the connection is dropped; the service may or may not have done what was asked.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer> {
        let request = self.request(call).await?;
        let mut connection = match self.kept_connection().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = match connection.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => match failed.take_message() {
                // The service closed it meanwhile, and has seen nothing of the request.
                Some(request) => {
                    connection = self.connect().await?;
                    connection.send_request(request).await.map_err(lost)?
                }
                None => return Err(lost(failed.into_error())),
            },
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Error::new(ErrorKind::Connection, format!("the answer broke off: {error}")))?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }

    async fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>> {
        let token = self.credential.token(&self.audience).await?;
        let text = match token.kind {
            TokenType::Jwt => format!("Bearer {}", token.value),
            TokenType::Sas => token.value,
        };
        let mut token = HeaderValue::try_from(text)
            .map_err(|_| Error::new(ErrorKind::Unauthorized, "the token cannot stand in a header"))?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, concat!("azevents/", env!("CARGO_PKG_VERSION")));
        if call.update {
            request = request.header(header::IF_MATCH, "*");
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/atom+xml;type=entry;charset=utf-8");
        }
        for name in &call.supplements {
            request = request.header(*name, &token);
        }
        request
            .header(header::AUTHORIZATION, token)
            .body(Full::from(call.body.clone()))
            .map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "the name cannot stand in a URL").with_source(error)
            })
    }

    async fn kept_connection(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        kept.ready().await.ok().map(|()| kept)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let connect = tokio::time::timeout(self.open_timeout, Transport::connect(&self.route));
        let timeout = |_| Error::timeout(format!("no connection within {:?}", self.open_timeout));
        let stream = TokioIo::new(connect.await.map_err(timeout)??);
        let (sender, connection) = http1::handshake(stream).await.map_err(lost)?;
        // Ends with the sender, or when the service closes it.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an administration connection ended");
            }
        });
        Ok(sender)
    }
}

fn lost(error: hyper::Error) -> Error {
    let message = if error.is_parse() {
        "what answers does not speak HTTP: an administration endpoint has a port of its own"
    } else {
        "the connection was lost before the answer came"
    };
    let kind = if error.is_parse() {
        ErrorKind::Configuration
    } else {
        ErrorKind::Connection
    };
    Error::new(kind, message).with_source(error)
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("audience", &self.audience)
            .field("route", &self.route)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}
