//! Options of a client: how it reaches the service, and how it tries again.

use std::time::Duration;

#[cfg(feature = "opentelemetry")]
use azevents_core::telemetry::ClientTelemetry;
use url::Url;

use crate::amqp::transport::{HttpProxy, Route, TrustedRoots};
use crate::connection_string::Endpoint;
use crate::error::{Error, Result};
use crate::retry::RetryOptions;

/// Silence after which the service counts as gone, as in the .NET SDK.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The port of AMQP over WebSockets.
const WEB_SOCKET_PORT: u16 = 443;

/// What AMQP is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TransportType {
    /// TLS on port 5671; plain TCP to an emulator.
    #[default]
    Tcp,
    /// A WebSocket on port 443, for networks that let nothing but HTTPS out.
    WebSockets,
}

/// Whether to go through an HTTP proxy. `Debug` does not show its address, which may hold a password.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Proxy {
    /// WebSockets go through what `HTTPS_PROXY` or `ALL_PROXY` names, unless `NO_PROXY` excludes the host.
    #[default]
    Environment,
    /// Straight to the service.
    Direct,
    /// Through this one, whatever the transport: `http[s]://[user:password@]host:port`.
    Http(String),
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Environment => "Environment",
            Self::Direct => "Direct",
            Self::Http(_) => "Http(***)",
        })
    }
}

/// Options of a [`ServiceBusClient`](super::ServiceBusClient).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How failed operations are repeated.
    pub retry: RetryOptions,
    /// How long connecting may take, TLS and the first token included. Default: 30 s.
    pub open_timeout: Duration,
    /// Silence on a connection after which the service counts as gone, and the connection is replaced. The
    /// service is told to send something, at least empty frames, more often. Default: 60 s.
    pub idle_timeout: Duration,
    /// How this client appears in the service's logs. Default: a random name.
    pub identifier: Option<String>,
    /// What AMQP is carried over. Default: TLS on port 5671.
    pub transport: TransportType,
    /// Whether to go through a proxy. Default: what the environment says, for WebSockets.
    pub proxy: Proxy,
    /// Where to connect instead of the namespace itself, as in `gateway.example:5671`: an application
    /// gateway or private link in front of it. Tokens are still for the namespace.
    pub custom_endpoint: Option<String>,
    /// Certificates in PEM, trusted beside those of the operating system.
    pub trusted_ca: Option<String>,
    /// Who is told of sends, receives and settlements. Default: nobody.
    #[cfg(feature = "opentelemetry")]
    pub telemetry: Option<ClientTelemetry>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            retry: RetryOptions::default(),
            open_timeout: Duration::from_secs(30),
            idle_timeout: IDLE_TIMEOUT,
            identifier: None,
            transport: TransportType::default(),
            proxy: Proxy::default(),
            custom_endpoint: None,
            trusted_ca: None,
            #[cfg(feature = "opentelemetry")]
            telemetry: None,
        }
    }
}

impl ClientOptions {
    /// Sets how failed operations are repeated.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryOptions) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub fn with_open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = timeout;
        self
    }

    /// Sets the silence after which the service counts as gone.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Names this client in the service's logs.
    #[must_use]
    pub fn with_identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// Sets what AMQP is carried over.
    #[must_use]
    pub fn with_transport(mut self, transport: TransportType) -> Self {
        self.transport = transport;
        self
    }

    /// Sets whether to go through a proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Connects to `host[:port]` instead of the namespace itself.
    #[must_use]
    pub fn with_custom_endpoint(mut self, address: impl Into<String>) -> Self {
        self.custom_endpoint = Some(address.into());
        self
    }

    /// Trusts these certificates, in PEM, beside those of the operating system.
    #[must_use]
    pub fn with_trusted_ca(mut self, pem: impl Into<String>) -> Self {
        self.trusted_ca = Some(pem.into());
        self
    }

    /// Tells of sends, receives and settlements: see [`telemetry`](crate::telemetry).
    ///
    /// ```
    /// use azevents_core::telemetry::ClientTelemetry;
    /// use azevents_servicebus::ClientOptions;
    ///
    /// // By the tracer and the meter that the program has set for the whole process.
    /// let options = ClientOptions::default().with_telemetry(ClientTelemetry::global("servicebus"));
    /// ```
    #[cfg(feature = "opentelemetry")]
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: ClientTelemetry) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// The way to a namespace.
    pub(crate) fn route(&self, namespace: &Endpoint) -> Result<Route> {
        let web_socket = self.transport == TransportType::WebSockets;
        let (mut host, mut port) = (namespace.host.clone(), namespace.port);
        if web_socket && namespace.tls {
            port = WEB_SOCKET_PORT;
        }
        if let Some(address) = &self.custom_endpoint {
            let (custom_host, custom_port) = host_and_port(address)?;
            host = custom_host;
            port = custom_port.unwrap_or(port);
        }
        let proxy = match &self.proxy {
            Proxy::Http(address) => Some(HttpProxy::parse(address)?),
            // No proxy has business between us and an emulator.
            Proxy::Environment if web_socket && namespace.tls => {
                HttpProxy::from_environment(&host, |name| std::env::var(name).ok())?
            }
            Proxy::Environment | Proxy::Direct => None,
        };
        let roots = self.trusted_ca.as_deref().map(TrustedRoots::from_pem).transpose()?;
        Ok(Route {
            host,
            port,
            tls: namespace.tls,
            web_socket,
            proxy,
            roots: roots.unwrap_or_default(),
        })
    }
}

fn host_and_port(address: &str) -> Result<(String, Option<u16>)> {
    let malformed = || Error::configuration("the custom endpoint is malformed; expected host or host:port");
    let text = if address.contains("://") {
        address.to_owned()
    } else {
        format!("sb://{address}")
    };
    let url = Url::parse(&text).map_err(|_| malformed())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
    Ok((host.to_owned(), url.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_namespace_follows_the_options() {
        let namespace = Endpoint::azure("shop.servicebus.windows.net").unwrap();
        let way = |options: ClientOptions| {
            let route = options.with_proxy(Proxy::Direct).route(&namespace).unwrap();
            (route.host, route.port, route.tls)
        };
        let host = || "shop.servicebus.windows.net".to_owned();
        assert_eq!(way(ClientOptions::default()), (host(), 5671, true));
        let sockets = ClientOptions::default().with_transport(TransportType::WebSockets);
        assert_eq!(way(sockets.clone()), (host(), 443, true));
        let gateway = "gateway.example".to_owned();
        let behind = sockets.clone().with_custom_endpoint("gateway.example");
        assert_eq!(way(behind), (gateway.clone(), 443, true));
        let behind = sockets.with_custom_endpoint("https://gateway.example:8443/");
        assert_eq!(way(behind), (gateway, 8443, true));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let namespace = Endpoint::azure("shop.servicebus.windows.net").unwrap();
        for (options, word) in [
            (ClientOptions::default().with_trusted_ca("no certificate"), "PEM"),
            (ClientOptions::default().with_custom_endpoint("a b"), "custom endpoint"),
            (
                ClientOptions::default().with_proxy(Proxy::Http("ftp://x".into())),
                "ftp",
            ),
        ] {
            let error = options.route(&namespace).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
