//! Service Bus connection strings: what the portal hands out, and what an emulator prints.

use std::fmt;

use url::Url;

use crate::error::{Error, Result};

/// The port of AMQP over TLS.
const TLS_PORT: u16 = 5671;
/// The port of plain AMQP, used with emulators only.
const PLAIN_PORT: u16 = 5672;

/// A parsed connection string. `Debug` never shows the key or the signature.
///
/// ```
/// use azevents_servicebus::ConnectionString;
///
/// let parsed = ConnectionString::parse(
///     "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0;EntityPath=orders",
/// )?;
/// assert_eq!(parsed.host(), "shop.servicebus.windows.net");
/// assert_eq!(parsed.entity_path(), Some("orders"));
/// assert!(!format!("{parsed:?}").contains("c2VjcmV0"));
/// # Ok::<_, azevents_servicebus::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    pub(crate) endpoint: Endpoint,
    pub(crate) secret: Secret,
    entity_path: Option<String>,
}

/// Where the namespace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Plain TCP is for emulators only: Azure takes nothing but TLS.
    pub(crate) tls: bool,
}

impl Endpoint {
    /// A namespace in Azure, by its host name.
    pub(crate) fn azure(host: &str) -> Result<Self> {
        let host = host.trim().trim_start_matches("sb://").trim_end_matches('/');
        if host.is_empty() || host.contains(['/', ':', ' ']) {
            return Err(Error::configuration(format!(
                "`{host}` is not a host name; expected one like shop.servicebus.windows.net"
            )));
        }
        Ok(Self {
            host: host.to_owned(),
            port: TLS_PORT,
            tls: true,
        })
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Key {
        name: String,
        key: String,
    },
    /// A token signed by somebody else; it cannot be renewed.
    Signature(String),
}

impl ConnectionString {
    /// Parses a connection string. Keys are matched without regard to case, order does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming the part that is missing or
    /// malformed and never its value.
    pub fn parse(text: &str) -> Result<Self> {
        let mut endpoint = None;
        let (mut key_name, mut key, mut signature, mut entity_path) = (None, None, None, None);
        let mut emulator = false;
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            // Keys and signatures end in `=`: only the first one separates.
            let Some((name, value)) = part.split_once('=') else {
                return Err(Error::configuration(
                    "connection string has a part without `=`; expected `Name=Value` parts joined by `;`",
                ));
            };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value),
                "sharedaccesskeyname" => key_name = Some(value),
                "sharedaccesskey" => key = Some(value),
                "sharedaccesssignature" => signature = Some(value),
                "entitypath" => entity_path = Some(value.to_owned()).filter(|path| !path.is_empty()),
                "usedevelopmentemulator" => emulator = value.eq_ignore_ascii_case("true"),
                // Other services' parts and future ones are none of our business.
                _ => {}
            }
        }
        let endpoint = parse_endpoint(endpoint.ok_or_else(|| missing("Endpoint"))?, emulator)?;
        let secret = match (key_name, key, signature) {
            (_, _, Some(signature)) if !signature.is_empty() => Secret::Signature(signature.to_owned()),
            (Some(name), Some(key), _) if !name.is_empty() && !key.is_empty() => Secret::Key {
                name: name.to_owned(),
                key: key.to_owned(),
            },
            (Some(_), None, _) => return Err(missing("SharedAccessKey")),
            (None, Some(_), _) => return Err(missing("SharedAccessKeyName")),
            _ => {
                return Err(missing(
                    "SharedAccessKeyName and SharedAccessKey (or SharedAccessSignature)",
                ));
            }
        };
        Ok(Self {
            endpoint,
            secret,
            entity_path,
        })
    }

    /// The host name of the namespace.
    pub fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// The port, 5671 unless an emulator's connection string says otherwise.
    pub fn port(&self) -> u16 {
        self.endpoint.port
    }

    /// Whether it points at an emulator, over plain TCP.
    pub fn is_emulator(&self) -> bool {
        !self.endpoint.tls
    }

    /// The entity the key is for, where the string names one.
    pub fn entity_path(&self) -> Option<&str> {
        self.entity_path.as_deref()
    }
}

fn missing(part: &str) -> Error {
    Error::configuration(format!(
        "connection string has no {part}; copy it again from the namespace's shared access policies"
    ))
}

fn parse_endpoint(value: &str, emulator: bool) -> Result<Endpoint> {
    let malformed = || Error::configuration("Endpoint is malformed; expected sb://<namespace>.servicebus.windows.net/");
    // A bare host is accepted, as the other SDKs do.
    let text = if value.contains("://") {
        value.to_owned()
    } else {
        format!("sb://{value}")
    };
    let url = Url::parse(&text).map_err(|_| malformed())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
    let port = match (url.port(), emulator) {
        (Some(port), true) => port,
        (None, true) => PLAIN_PORT,
        // Portal strings carry no port, and a stray :443 from HTTP tooling must not break AMQP.
        (_, false) => TLS_PORT,
    };
    Ok(Endpoint {
        host: host.to_owned(),
        port,
        tls: !emulator,
    })
}

impl std::str::FromStr for ConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString")
            .field("endpoint", &self.endpoint)
            .field("secret", &self.secret)
            .field("entity_path", &self.entity_path)
            .finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { name, .. } => write!(f, "Key({name}, ***)"),
            Self::Signature(_) => f.write_str("Signature(***)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_emulator_string_means_plain_tcp_on_any_port() {
        let parsed = ConnectionString::parse(
            "Endpoint=sb://127.0.0.1:40123;SharedAccessKeyName=R;SharedAccessKey=a+b/c==;UseDevelopmentEmulator=true;",
        )
        .unwrap();
        assert_eq!(
            (parsed.host(), parsed.port(), parsed.is_emulator()),
            ("127.0.0.1", 40123, true)
        );
        assert_eq!(
            parsed.secret,
            Secret::Key {
                name: "R".into(),
                key: "a+b/c==".into()
            }
        );
    }

    #[test]
    fn azure_is_always_tls_on_5671() {
        let parsed = ConnectionString::parse(
            "sharedaccesskey=k;SHAREDACCESSKEYNAME=n;endpoint=sb://shop.servicebus.windows.net:443/",
        )
        .unwrap();
        assert_eq!((parsed.port(), parsed.is_emulator()), (5671, false));
    }

    #[test]
    fn errors_name_the_missing_part_and_never_the_secret() {
        for (text, part) in [
            ("SharedAccessKeyName=n;SharedAccessKey=topsecret", "Endpoint"),
            ("Endpoint=sb://h/;SharedAccessKey=topsecret", "SharedAccessKeyName"),
            ("Endpoint=sb://h/;SharedAccessKeyName=n", "SharedAccessKey"),
            ("Endpoint=sb://h/;topsecret", "`=`"),
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(part), "{error}");
            assert!(!format!("{error} {error:?}").contains("topsecret"));
        }
    }
}
