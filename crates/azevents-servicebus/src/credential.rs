//! Tokens for claims-based security: signed with a shared access key, or issued by Microsoft Entra ID.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::connection_string::Secret;
use crate::error::{Error, ErrorKind, Result};

/// The scope of Entra ID tokens for Service Bus, the same in every cloud.
const ENTRA_SCOPE: &str = "https://servicebus.azure.net/.default";
/// How long a token that we sign ourselves is valid.
const SAS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// What a URI component may carry unescaped (RFC 3986, section 2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Who the client is.
#[derive(Clone)]
pub(crate) enum Credential {
    SharedAccess(Secret),
    Token(Arc<dyn TokenCredential>),
}

/// The two token types that `$cbs` takes (Service Bus claims-based security).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenType {
    Jwt,
    Sas,
}

impl TokenType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Sas => "servicebus.windows.net:sastoken",
        }
    }
}

/// A token and when it stops working. `Debug` does not show it.
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) kind: TokenType,
    pub(crate) expires_on: OffsetDateTime,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?}, expires {})", self.kind, self.expires_on)
    }
}

impl Credential {
    /// A token for `resource`, as in `amqps://host/entity`.
    pub(crate) async fn token(&self, resource: &str) -> Result<Token> {
        match self {
            Self::SharedAccess(Secret::Key { name, key }) => {
                let expires_on = OffsetDateTime::now_utc() + SAS_LIFETIME;
                Ok(Token {
                    value: sign(resource, name, key, expires_on.unix_timestamp())?,
                    kind: TokenType::Sas,
                    expires_on,
                })
            }
            Self::SharedAccess(Secret::Signature(signature)) => Ok(Token {
                value: signature.clone(),
                kind: TokenType::Sas,
                expires_on: signature_expiry(signature)?,
            }),
            Self::Token(credential) => {
                let token = credential.get_token(&[ENTRA_SCOPE], None).await.map_err(|error| {
                    Error::new(ErrorKind::Unauthorized, "the credential gave no token").with_source(error)
                })?;
                Ok(Token {
                    value: token.token.secret().to_owned(),
                    kind: TokenType::Jwt,
                    expires_on: token.expires_on,
                })
            }
        }
    }

    /// Whether asking again gives a token that lives longer.
    pub(crate) fn is_renewable(&self) -> bool {
        !matches!(self, Self::SharedAccess(Secret::Signature(_)))
    }
}

/// `SharedAccessSignature sr=<resource>&sig=<HMAC-SHA256>&se=<expiry>&skn=<key name>`, signed over the
/// encoded resource and the expiry on two lines (Service Bus shared access signatures).
fn sign(resource: &str, name: &str, key: &str, expiry: i64) -> Result<String> {
    let resource = utf8_percent_encode(resource, COMPONENT);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .map_err(|_| Error::configuration("SharedAccessKey cannot be used as a key"))?;
    mac.update(format!("{resource}\n{expiry}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Ok(format!(
        "SharedAccessSignature sr={resource}&sig={}&se={expiry}&skn={}",
        utf8_percent_encode(&signature, COMPONENT),
        utf8_percent_encode(name, COMPONENT),
    ))
}

fn signature_expiry(signature: &str) -> Result<OffsetDateTime> {
    signature
        .split(['&', ' '])
        .find_map(|part| part.strip_prefix("se="))
        .and_then(|seconds| seconds.parse().ok())
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| Error::configuration("SharedAccessSignature has no valid expiry `se=`"))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedAccess(secret) => secret.fmt(f),
            Self::Token(credential) => credential.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_reproducible_and_escaped() {
        // Computed with Python's hmac, base64 and urllib.parse.quote(safe='').
        let token = sign(
            "amqps://shop.servicebus.windows.net/orders",
            "send",
            "c2VjcmV0",
            1_700_000_000,
        )
        .unwrap();
        assert_eq!(token, EXPECTED);
    }

    const EXPECTED: &str = "SharedAccessSignature sr=amqps%3A%2F%2Fshop.servicebus.windows.net%2Forders&sig=TAQzE8bZJJeS%2BrVH8eq%2FRighyxWOzbg6kG%2B%2FpnL6i8A%3D&se=1700000000&skn=send";

    #[tokio::test]
    async fn a_ready_made_signature_is_used_as_it_is_until_it_expires() {
        let credential = Credential::SharedAccess(Secret::Signature(
            "SharedAccessSignature sr=x&sig=y&se=1700000000&skn=z".into(),
        ));
        let token = credential.token("ignored").await.unwrap();
        assert_eq!(token.expires_on.unix_timestamp(), 1_700_000_000);
        assert!(!credential.is_renewable());
    }
}
