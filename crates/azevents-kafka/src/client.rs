//! What librdkafka calls back into from every kind of client: logs, errors, tokens.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::token::Tokens;

/// The context of a client. Clones share the token and the last refusal.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    servers: Arc<str>,
    tokens: Option<Arc<Tokens>>,
    refused: Arc<Mutex<Option<String>>>,
}

impl Context {
    pub(crate) fn new(servers: String, tokens: Option<Tokens>) -> Self {
        Self {
            servers: servers.into(),
            tokens: tokens.map(Arc::new),
            refused: Arc::default(),
        }
    }

    /// Why a broker refused the credential, if one did since this was last asked.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    // Without OAUTHBEARER the callback is never called.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
        // librdkafka reconnects by itself; whoever waits for an answer hears of it there.
        tracing::debug!(servers = %self.servers, %error, reason, "librdkafka reports an error");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let tokens = self
            .tokens
            .as_ref()
            .ok_or("OAUTHBEARER needs a token credential: use Kafka::with_tokens")?;
        let newest = tokens.newest();
        Ok(OAuthToken {
            token: newest.token.secret().to_owned(),
            // Azure reads who it is from the token.
            principal_name: String::new(),
            lifetime_ms: newest.expires_on.unix_timestamp() * 1000,
        })
    }
}
