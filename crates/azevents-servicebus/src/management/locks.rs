//! Locks of messages and sessions, settling without a link, and session state.

use fe2o3_amqp::types::primitives::{Array, Binary, Uuid as AmqpUuid, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DispositionStatus, HeldSession, Management, field, items, malformed, text, with_session};
use crate::amqp::values::{instant, map};
use crate::error::{Error, ErrorKind, Result};
use crate::message::Properties;

/// Locks that are renewed in one request.
const RENEWALS: usize = 100;

/// What became of an attempt to renew a lock.
pub(crate) enum Renewal {
    /// It lasts until then.
    Renewed(Uuid, OffsetDateTime),
    /// It was too late.
    Lost(Uuid, Error),
    /// Of one or several it is not known; the next attempt may still come in time.
    Failed(Error),
}

impl Management {
    /// Renews a message's lock; gives its new end.
    pub(crate) async fn renew_lock(&self, token: Uuid) -> Result<OffsetDateTime> {
        let ends = self.renew_locks(&[token]).await?;
        ends.first()
            .copied()
            .ok_or_else(|| malformed("renew lock", &self.entity))
    }

    /// Renews the locks of several messages, all or none; gives their new ends.
    pub(crate) async fn renew_locks(&self, tokens: &[Uuid]) -> Result<Vec<OffsetDateTime>> {
        let body = map([("lock-tokens", uuids(tokens))]);
        let renewing = self.observer.other("renew_lock", &self.entity, tokens.len());
        let answer = renewing.watch(self.call("renew lock", "com.microsoft:renew-lock", body, None));
        let answer = answer.await?;
        let ends: Option<Vec<_>> = items(&answer, "expirations")
            .filter(|ends| ends.len() == tokens.len())
            .and_then(|ends| ends.iter().map(instant).collect());
        ends.ok_or_else(|| malformed("renew lock", &self.entity))
    }

    /// Renews the locks of any number of messages, and tells what became of them. One that is lost does not keep
    /// the others from being renewed.
    pub(crate) async fn renew_each(&self, tokens: &[Uuid], mut tell: impl FnMut(Renewal) + Send) {
        for tokens in tokens.chunks(RENEWALS) {
            match self.renew_locks(tokens).await {
                Ok(ends) => tokens
                    .iter()
                    .zip(ends)
                    .for_each(|(token, until)| tell(Renewal::Renewed(*token, until))),
                Err(error) if error.kind() == ErrorKind::MessageLockLost => match *tokens {
                    [token] => tell(Renewal::Lost(token, error)),
                    _ => {
                        for token in tokens {
                            tell(match self.renew_lock(*token).await {
                                Ok(until) => Renewal::Renewed(*token, until),
                                Err(error) if error.kind() == ErrorKind::MessageLockLost => {
                                    Renewal::Lost(*token, error)
                                }
                                Err(error) => Renewal::Failed(error),
                            });
                        }
                    }
                },
                Err(error) => tell(Renewal::Failed(error)),
            }
        }
    }

    pub(crate) async fn renew_session_lock(&self, session: HeldSession<'_>) -> Result<OffsetDateTime> {
        let body = map([("session-id", text(session.id))]);
        let renewing = self.observer.other("renew_session_lock", &self.entity, 0);
        let renewed = self.call(
            "renew session lock",
            "com.microsoft:renew-session-lock",
            body,
            Some(session),
        );
        let answer = renewing.watch(renewed).await?;
        field(&answer, "expiration")
            .and_then(instant)
            .ok_or_else(|| malformed("renew session lock", &self.entity))
    }

    pub(crate) async fn session_state(&self, session: HeldSession<'_>) -> Result<Option<Vec<u8>>> {
        let body = map([("session-id", text(session.id))]);
        let answer = self
            .call(
                "get session state",
                "com.microsoft:get-session-state",
                body,
                Some(session),
            )
            .await?;
        Ok(match field(&answer, "session-state") {
            Some(Value::Binary(state)) => Some(state.to_vec()),
            _ => None,
        })
    }

    pub(crate) async fn set_session_state(&self, session: HeldSession<'_>, state: Option<&[u8]>) -> Result<()> {
        let state = state.map_or(Value::Null, |state| Value::Binary(Binary::from(state.to_vec())));
        let body = map([("session-id", text(session.id)), ("session-state", state)]);
        self.call(
            "set session state",
            "com.microsoft:set-session-state",
            body,
            Some(session),
        )
        .await
        .map(drop)
    }

    /// Settles a message whose link was lost; its lock outlives the link.
    pub(crate) async fn update_disposition(
        &self,
        token: Uuid,
        status: DispositionStatus,
        dead_letter: Option<(&str, &str)>,
        properties: &Properties,
        session: Option<HeldSession<'_>>,
    ) -> Result<()> {
        let mut body = map([
            ("disposition-status", Value::String(status.as_str().to_owned())),
            ("lock-tokens", uuids(&[token])),
        ]);
        if let Some((reason, description)) = dead_letter {
            body.insert(text("deadletter-reason"), text(reason));
            body.insert(text("deadletter-description"), text(description));
        }
        if !properties.is_empty() {
            let changes = properties
                .iter()
                .map(|(name, value)| (text(name), Value::from(value.to_wire())));
            body.insert(text("properties-to-modify"), Value::Map(changes.collect()));
        }
        with_session(&mut body, session);
        self.call("settle", "com.microsoft:update-disposition", body, session)
            .await
            .map(drop)
    }
}

fn uuids(ids: &[Uuid]) -> Value {
    Value::Array(Array::from(
        ids.iter()
            .map(|id| Value::Uuid(AmqpUuid::from(id.into_bytes())))
            .collect::<Vec<_>>(),
    ))
}
