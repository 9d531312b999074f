//! Tokens ahead of time.
//!
//! librdkafka asks for a token in a callback that must not wait, when four fifths of the last one's life are
//! over. So a task fetches each token earlier than that, and the callback reads what is there.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use azevents_core::error::chain;
use azevents_core::{Error, ErrorKind, Result, RetryPolicy};
use azure_core::credentials::{AccessToken, TokenCredential};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

/// The share of a token's life after which the next one is fetched; librdkafka asks at 0.8.
const REFRESH_AT: f64 = 0.6;
/// The least time between two fetches, whatever lifetime a credential claims.
const LEAST: Duration = Duration::from_secs(1);

/// The newest token, kept fresh until this is dropped.
pub(crate) struct Tokens {
    newest: Arc<RwLock<AccessToken>>,
    refreshing: JoinHandle<()>,
}

impl Tokens {
    /// Fetches the first token, and starts to fetch each next one in time.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] when the credential gives none.
    pub(crate) async fn start(credential: Arc<dyn TokenCredential>, scope: &str) -> Result<Self> {
        let first = credential.get_token(&[scope], None).await;
        let first = first.map_err(|e| Error::new(ErrorKind::Unauthorized, "fetch token", scope).with_source(e))?;
        let newest = Arc::new(RwLock::new(first));
        let refreshing = tokio::spawn(refresh(credential, scope.to_owned(), newest.clone()));
        Ok(Self { newest, refreshing })
    }

    /// The newest token. Never waits for the credential.
    pub(crate) fn newest(&self) -> AccessToken {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn refresh(credential: Arc<dyn TokenCredential>, scope: String, newest: Arc<RwLock<AccessToken>>) {
    loop {
        let expires_on = newest.read().unwrap_or_else(PoisonError::into_inner).expires_on;
        let left = (expires_on - OffsetDateTime::now_utc())
            .try_into()
            .unwrap_or(Duration::ZERO);
        tokio::time::sleep(left.mul_f64(REFRESH_AT).max(LEAST)).await;
        let mut delays = RetryPolicy::forever().with_base(LEAST).delays();
        let next = loop {
            match credential.get_token(&[&scope], None).await {
                Ok(token) => break token,
                Err(error) => {
                    tracing::warn!(scope, error = chain(&error), "no new token, trying again");
                    tokio::time::sleep(delays.next().unwrap_or(LEAST)).await;
                }
            }
        };
        *newest.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires_on", &self.newest().expires_on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use azure_core::credentials::TokenRequestOptions;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::watch;

    /// Gives tokens of an hour, and fails the second time it is asked.
    #[derive(Debug)]
    struct Hourly {
        asked: AtomicU32,
        given: watch::Sender<u32>,
    }

    #[async_trait]
    impl TokenCredential for Hourly {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            assert_eq!(scopes, ["https://shop.servicebus.windows.net/.default"]);
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if asked == 1 {
                return Err(azure_core::Error::with_message(
                    azure_core::error::ErrorKind::Credential,
                    "not now",
                ));
            }
            self.given.send_modify(|given| *given += 1);
            let expires_on = OffsetDateTime::now_utc() + Duration::from_secs(3600);
            Ok(AccessToken::new(format!("token-{asked}"), expires_on))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_token_is_there_before_the_last_one_is_asked_to_be_replaced() {
        let given = watch::Sender::new(0);
        let mut changes = given.subscribe();
        let credential = Arc::new(Hourly {
            asked: AtomicU32::new(0),
            given,
        });
        let began = tokio::time::Instant::now();
        let tokens = Tokens::start(credential, "https://shop.servicebus.windows.net/.default")
            .await
            .unwrap();
        assert_eq!(tokens.newest().token.secret(), "token-0");
        changes.wait_for(|given| *given == 2).await.unwrap();
        let took = began.elapsed();
        assert!(
            took >= Duration::from_secs(2159) && took < Duration::from_secs(2880),
            "{took:?}"
        );
        tokio::task::yield_now().await;
        assert_eq!(tokens.newest().token.secret(), "token-2");
    }
}
