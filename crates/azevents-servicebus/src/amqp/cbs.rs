//! Claims-based security: a token per entity, put to `$cbs` before its first link is attached and again
//! before it expires, for as long as the connection lives.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fe2o3_amqp::types::messaging::ApplicationProperties;
use fe2o3_amqp::types::primitives::Value;
use time::OffsetDateTime;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::link::LinkSession;
use super::rpc::{Request, RpcLink};
use crate::credential::Credential;
use crate::error::Result;

const NODE: &str = "$cbs";
/// Renew this long ahead of expiry, or halfway where the token lives shorter.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Pause after a renewal that failed or gave a token that is as old as the last.
const PAUSE: Duration = Duration::from_secs(5);

/// The claims of one connection.
#[derive(Debug)]
pub(crate) struct Cbs {
    link: RpcLink,
    credential: Credential,
    /// When each audience's token must be put again.
    audiences: Mutex<HashMap<String, Claim>>,
    /// Wakes the renewal when an audience was added, or when the claims are dropped.
    changed: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    expires: Instant,
    renew: Instant,
}

impl Cbs {
    pub(crate) async fn open(session: LinkSession, credential: Credential) -> Result<Arc<Self>> {
        let cbs = Arc::new(Self {
            link: RpcLink::open(session, NODE).await?,
            credential,
            audiences: Mutex::default(),
            changed: Arc::default(),
        });
        if cbs.credential.is_renewable() {
            tokio::spawn(renew_until_dropped(Arc::downgrade(&cbs), Arc::clone(&cbs.changed)));
        }
        Ok(cbs)
    }

    /// Whether the link to `$cbs` is gone while its connection may still be there.
    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Makes sure that the connection may use `audience`, as in `amqps://host/entity`.
    pub(crate) async fn authorize(&self, audience: &str) -> Result<()> {
        // Held while the token is put: a second link to the same entity waits instead of asking again.
        let mut audiences = self.audiences.lock().await;
        if audiences
            .get(audience)
            .is_some_and(|claim| claim.expires > Instant::now())
        {
            return Ok(());
        }
        let claim = self.put_token(audience).await?;
        audiences.insert(audience.to_owned(), claim);
        self.changed.notify_one();
        Ok(())
    }

    async fn put_token(&self, audience: &str) -> Result<Claim> {
        let token = self.credential.token(audience).await?;
        let properties = ApplicationProperties::builder()
            .insert("operation", "put-token")
            .insert("type", token.kind.as_str())
            .insert("name", audience)
            .build();
        // 200 and 202 are both used for a token that was taken.
        self.link
            .call(Request {
                properties,
                body: Value::String(token.value),
            })
            .await?
            .into_result()?;
        let lifetime = Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
        let now = Instant::now();
        Ok(Claim {
            expires: now + lifetime,
            renew: now + renewal_delay(lifetime),
        })
    }

    /// Renews whatever is due and says when to look again.
    async fn renew_due(&self) -> Option<Instant> {
        let mut audiences = self.audiences.lock().await;
        let now = Instant::now();
        for (audience, claim) in audiences.iter_mut().filter(|(_, claim)| claim.renew <= now) {
            match self.put_token(audience).await {
                Ok(renewed) => *claim = renewed,
                Err(error) => {
                    tracing::warn!(%error, audience, "a token could not be renewed");
                    claim.renew = Instant::now() + PAUSE;
                }
            }
        }
        audiences.values().map(|claim| claim.renew).min()
    }
}

/// `lifetime - min(lifetime / 2, margin)`, and never at once: a credential may give the same token again.
fn renewal_delay(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(MARGIN.min(lifetime / 2)).max(PAUSE)
}

/// Holds no strong reference while it waits: the claims go when the connection goes.
async fn renew_until_dropped(claims: Weak<Cbs>, changed: Arc<Notify>) {
    loop {
        let Some(cbs) = claims.upgrade().filter(|cbs| !cbs.is_closed()) else {
            return;
        };
        let next = cbs.renew_due().await;
        drop(cbs);
        let wake = next.unwrap_or_else(|| Instant::now() + MARGIN);
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = changed.notified() => {}
        }
    }
}

impl Drop for Cbs {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_five_minutes_ahead_or_halfway_but_never_at_once() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(renewal_delay(minutes(60)), minutes(55));
        assert_eq!(renewal_delay(minutes(4)), minutes(2));
        assert_eq!(renewal_delay(Duration::ZERO), PAUSE);
    }
}
