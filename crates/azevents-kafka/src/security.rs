//! How a client proves who it is.

use std::fmt;
use std::sync::Arc;

use azevents_core::{Error, ErrorKind, Result};
use azure_core::credentials::TokenCredential;
use rdkafka::ClientConfig;

/// The user name that says "the password is a connection string" (Event Hubs for Kafka, shared access
/// signatures).
const CONNECTION_STRING_USER: &str = "$ConnectionString";

#[derive(Clone)]
pub(crate) enum Security {
    Plaintext,
    /// SASL PLAIN over TLS with a whole connection string.
    ConnectionString(String),
    OAuthBearer {
        credential: Arc<dyn TokenCredential>,
        scope: String,
    },
}

impl Security {
    /// The namespace's host and how to enter it. Errors never repeat the key.
    pub(crate) fn from_connection_string(text: &str) -> Result<(String, Self)> {
        let invalid =
            |what: &str| Error::new(ErrorKind::InvalidInput, "read connection string", "event hubs").with_message(what);
        let mut endpoint = None;
        let mut key = false;
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            // Keys end in `=`: only the first one separates.
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| invalid("expected `Name=Value` parts joined by `;`"))?;
            match name.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value.trim()),
                "sharedaccesskey" | "sharedaccesssignature" => key = true,
                _ => {}
            }
        }
        let endpoint = endpoint.ok_or_else(|| invalid("there is no Endpoint"))?;
        if !key {
            return Err(invalid(
                "there is no SharedAccessKey; without one use Kafka::event_hubs with a credential",
            ));
        }
        let host = endpoint
            .split_once("://")
            .map_or(endpoint, |(_, rest)| rest)
            .trim_end_matches('/');
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if host.is_empty() {
            return Err(invalid("the Endpoint has no host"));
        }
        Ok((host.to_owned(), Self::ConnectionString(text.to_owned())))
    }

    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        match self {
            // Left to the settings: a cluster may have any other mechanism.
            Self::Plaintext => {}
            Self::ConnectionString(text) => {
                config
                    .set("security.protocol", "SASL_SSL")
                    .set("sasl.mechanism", "PLAIN")
                    .set("sasl.username", CONNECTION_STRING_USER)
                    .set("sasl.password", text);
            }
            Self::OAuthBearer { .. } => {
                config
                    .set("security.protocol", "SASL_SSL")
                    .set("sasl.mechanism", "OAUTHBEARER");
            }
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("Plaintext"),
            Self::ConnectionString(_) => f.write_str("ConnectionString(..)"),
            Self::OAuthBearer { scope, .. } => f
                .debug_struct("OAuthBearer")
                .field("scope", scope)
                .finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_the_password() {
        let text = "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=a+b/c==";
        let (host, security) = Security::from_connection_string(text).unwrap();
        assert_eq!(host, "shop.servicebus.windows.net");
        let mut config = ClientConfig::new();
        security.apply(&mut config);
        assert_eq!(config.get("security.protocol"), Some("SASL_SSL"));
        assert_eq!(config.get("sasl.username"), Some("$ConnectionString"));
        assert_eq!(config.get("sasl.password"), Some(text));
        assert!(!format!("{security:?}").contains("a+b"));
    }

    #[test]
    fn errors_say_what_is_missing_and_never_the_key() {
        for (text, part) in [
            ("SharedAccessKey=topsecret", "no Endpoint"),
            ("Endpoint=sb://;SharedAccessKey=topsecret", "no host"),
            ("Endpoint=sb://h/;SharedAccessKeyName=n", "no SharedAccessKey"),
            ("topsecret", "Name=Value"),
        ] {
            let error = Security::from_connection_string(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
            assert!(!format!("{error} {error:?}").contains("topsecret"));
        }
    }
}
