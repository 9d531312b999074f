//! A tunnel through an HTTP proxy (RFC 9110, section 9.3.6).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::tls::{self, TrustedRoots};
use super::{Wire, tcp, unreachable};
use crate::error::{Error, ErrorKind, Result};

/// A proxy whose answer is longer than this is none.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Where the proxy is, and as whom to ask it. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HttpProxy {
    host: String,
    port: u16,
    tls: bool,
    /// The value of `Proxy-Authorization` (RFC 7617).
    authorization: Option<String>,
}

impl HttpProxy {
    /// From `http[s]://[user:password@]host[:port]`; a bare host means `http`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let malformed = || Error::configuration("the proxy is malformed; expected http://[user:password@]host:port");
        let text = text.trim();
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        }
        .map_err(|_| malformed())?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(Error::configuration(format!(
                    "proxies of the kind `{other}` are not supported; use an http or https one"
                )));
            }
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = (!url.username().is_empty()).then(|| {
            let user = decode(url.username());
            let password = url.password().map(decode).unwrap_or_default();
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        });
        Ok(Self {
            host: url.host_str().ok_or_else(malformed)?.to_owned(),
            port: url.port_or_known_default().ok_or_else(malformed)?,
            tls,
            authorization,
        })
    }

    /// The proxy that the environment names for HTTPS to `host`, as `curl` reads it: `HTTPS_PROXY` or
    /// `ALL_PROXY`, unless `NO_PROXY` lists the host or a domain that it is in.
    pub(crate) fn from_environment(host: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let either = |name: &str| {
            variable(name)
                .or_else(|| variable(&name.to_ascii_lowercase()))
                .filter(|value| !value.trim().is_empty())
        };
        let direct = either("NO_PROXY").is_some_and(|list| {
            list.split(',').map(str::trim).any(|entry| {
                let domain = entry.trim_start_matches("*.").trim_start_matches('.');
                let inside = host.len().checked_sub(domain.len() + 1).is_some_and(|dot| {
                    host.is_char_boundary(dot)
                        && host[dot..]
                            .strip_prefix('.')
                            .is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
                });
                entry == "*" || (!domain.is_empty() && (host.eq_ignore_ascii_case(domain) || inside))
            })
        });
        match either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")) {
            Some(proxy) if !direct => Self::parse(&proxy).map(Some),
            _ => Ok(None),
        }
    }

    /// A stream to `host` through the proxy.
    pub(super) async fn connect(&self, host: &str, port: u16, roots: &TrustedRoots) -> Result<Box<dyn Wire>> {
        let stream = tcp(&self.host, self.port).await?;
        let mut stream: Box<dyn Wire> = if self.tls {
            Box::new(tls::connect(stream, &self.host, roots).await?)
        } else {
            Box::new(stream)
        };
        let authorization = match &self.authorization {
            Some(value) => format!("Proxy-Authorization: {value}\r\n"),
            None => String::new(),
        };
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        let answer = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            // Byte by byte: what follows the empty line belongs to whoever is behind the proxy.
            let mut answer = Vec::with_capacity(256);
            while !answer.ends_with(b"\r\n\r\n") && answer.len() < LONGEST_ANSWER {
                answer.push(stream.read_u8().await?);
            }
            Ok(answer)
        };
        let answer = answer.await.map_err(|error| unreachable(&self.host, error))?;
        let status = std::str::from_utf8(&answer)
            .ok()
            .and_then(|answer| answer.strip_prefix("HTTP/1."))
            .and_then(|rest| rest.split_ascii_whitespace().nth(1)?.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(Error::new(
                ErrorKind::Unauthorized,
                format!("the proxy {} wants a user and a password", self.host),
            )),
            Some(status) => Err(Error::new(
                ErrorKind::Connection,
                format!(
                    "the proxy {} refuses a tunnel to {host}:{port} with {status}",
                    self.host
                ),
            )),
            None => Err(Error::new(
                ErrorKind::Connection,
                format!("{} does not answer like an HTTP proxy", self.host),
            )),
        }
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpProxy({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_proxy_is_used_except_for_hosts_it_excludes() {
        let environment = |name: &str| match name {
            "https_proxy" => Some("http://user:p%40ss@proxy.example:3128".to_owned()),
            "NO_PROXY" => Some("localhost, .internal.example,*.other.example".to_owned()),
            _ => None,
        };
        let proxy = HttpProxy::from_environment("shop.servicebus.windows.net", environment)
            .unwrap()
            .unwrap();
        assert_eq!(
            (proxy.host.as_str(), proxy.port, proxy.tls),
            ("proxy.example", 3128, false)
        );
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
        assert!(!format!("{proxy:?}").contains("p@ss"));
        for host in ["LOCALHOST", "a.internal.example", "internal.example", "x.other.example"] {
            assert_eq!(HttpProxy::from_environment(host, environment).unwrap(), None, "{host}");
        }
        for host in ["xinternal.example", "é.example"] {
            assert!(HttpProxy::from_environment(host, environment).unwrap().is_some());
        }
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_by_name() {
        let error = HttpProxy::parse("socks5://proxy:1080").unwrap_err();
        assert!(error.to_string().contains("socks5"), "{error}");
    }
}
