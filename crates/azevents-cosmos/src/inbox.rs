//! Marks of handled messages: one document per consumer and message.
//!
//! As with leases, every write carries a nonce, by which a write recognises itself when the SDK has
//! repeated it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Begin, CostObserver, Error, ErrorKind, Inbox, InboxKey, InboxLease, Result};
use azure_core::http::Etag;
use azure_data_cosmos::ContainerClient;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::connection::Cosmos;
use crate::ids;
use crate::items::{Items, Stored, Swap};
use crate::wire;

/// How long a mark is kept unless set otherwise: a week, Service Bus's longest duplicate detection.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often `begin` starts over because somebody else changed the mark in between.
const TURNS: usize = 10;

/// An [`Inbox`] on a container made by [`ContainerSpec::inbox`](crate::ContainerSpec::inbox). Clones
/// share the connection.
///
/// | operation | requests |
/// | --- | --- |
/// | begin, a new message | 1 |
/// | begin, a copy | 2 |
/// | complete, release | 2 |
#[derive(Clone)]
pub struct CosmosInbox {
    items: Items,
    retention: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    InProgress,
    Done,
}

/// A mark. All fields are written by the consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MarkDocument {
    /// Consumer and message, escaped: the partition key.
    id: String,
    /// Whether the message is being handled, or has been.
    state: State,
    /// Fencing token: how many leases there have been.
    token: u64,
    /// When the lease ends. RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    /// Which write this was.
    nonce: Uuid,
    /// Seconds after the last change at which the service removes the document.
    ttl: u64,
}

impl CosmosInbox {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// An inbox in a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        Self {
            items: Items::new(container),
            retention: RETENTION,
        }
    }

    /// Sets how long a mark is remembered after the message was handled; a week unless set. Longer than
    /// any copy can take to arrive.
    #[must_use]
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Tells `observer` what every request costs.
    #[must_use]
    pub fn with_costs(mut self, observer: Arc<dyn CostObserver>) -> Self {
        self.items = self.items.with_costs(observer);
        self
    }

    fn mark(&self, id: String, state: State, token: u64, expires: OffsetDateTime) -> MarkDocument {
        // The service takes whole seconds from 1 to 2^31 - 1.
        let ttl = self.retention.as_secs().clamp(1, i32::MAX as u64);
        MarkDocument {
            id,
            state,
            token,
            expires,
            nonce: Uuid::new_v4(),
            ttl,
        }
    }

    async fn read(&self, id: &str, what: &'static str) -> Result<Option<Stored<MarkDocument>>> {
        self.items.read(id, id, what).await
    }

    /// Whether `mark` was written over the version with this etag, or as a new document.
    async fn swap(&self, mark: &MarkDocument, if_match: Option<&Etag>, what: &'static str) -> Result<Swapped> {
        let id = mark.id.as_str();
        let swap = wire::settled(what, || async move {
            match if_match {
                Some(etag) => self.items.replace(id, id, mark, etag, what).await,
                None => self.items.create(id, id, mark, what).await,
            }
        })
        .await?;
        if let Swap::Written(_) = swap {
            return Ok(Swapped::Written);
        }
        Ok(match self.read(id, what).await? {
            Some(now) if now.document.nonce == mark.nonce => Swapped::Written,
            now => Swapped::Lost(now),
        })
    }

    /// The mark of a lease that is still the latest; `Err` where it was granted again.
    async fn held(&self, lease: &InboxLease, what: &'static str) -> Result<Stored<MarkDocument>> {
        let stored = self.read(&mark_id(&lease.key, what)?, what).await?;
        stored
            .filter(|stored| stored.document.token == lease.token)
            .ok_or_else(|| superseded(lease, what))
    }
}

enum Swapped {
    Written,
    Lost(Option<Stored<MarkDocument>>),
}

impl fmt::Debug for CosmosInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosInbox")
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Inbox for CosmosInbox {
    async fn begin(&self, key: &InboxKey, lease: Duration) -> Result<Begin> {
        let what = "begin message";
        let id = mark_id(key, what)?;
        // Most messages are new: try to be the first before looking.
        let mut stored: Option<Stored<MarkDocument>> = None;
        for _ in 0..TURNS {
            let now = OffsetDateTime::now_utc();
            let (token, etag) = match &stored {
                Some(Stored { document, .. }) if document.state == State::Done => return Ok(Begin::AlreadyHandled),
                Some(Stored { document, .. }) if document.expires > now => {
                    return Ok(Begin::InProgress(document.expires));
                }
                Some(Stored { document, etag }) => (document.token + 1, Some(etag)),
                None => (1, None),
            };
            let expires = now + lease;
            let mark = self.mark(id.clone(), State::InProgress, token, expires);
            match self.swap(&mark, etag, what).await? {
                Swapped::Written => {
                    return Ok(Begin::Granted(InboxLease {
                        key: key.clone(),
                        token,
                        expires,
                    }));
                }
                Swapped::Lost(now) => stored = now,
            }
        }
        Err(Error::new(ErrorKind::Unavailable, what, key)
            .with_message(format!("lost to other consumers {TURNS} times in a row")))
    }

    async fn complete(&self, lease: &InboxLease) -> Result<()> {
        let what = "complete message";
        let stored = self.held(lease, what).await?;
        if stored.document.state == State::Done {
            return Ok(());
        }
        let done = self.mark(stored.document.id, State::Done, lease.token, lease.expires);
        match self.swap(&done, Some(&stored.etag), what).await? {
            Swapped::Written => Ok(()),
            Swapped::Lost(_) => Err(superseded(lease, what)),
        }
    }

    async fn release(&self, lease: &InboxLease) -> Result<()> {
        let what = "release message";
        let stored = match self.held(lease, what).await {
            Ok(stored) if stored.document.state == State::InProgress => stored,
            // Handled, or somebody else's by now: nothing to give back.
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
            Err(error) => return Err(error),
        };
        // The document stays, because its token must go on growing.
        let now = OffsetDateTime::now_utc();
        let free = self.mark(stored.document.id, State::InProgress, lease.token, now);
        self.swap(&free, Some(&stored.etag), what).await?;
        Ok(())
    }
}

fn mark_id(key: &InboxKey, what: &'static str) -> Result<String> {
    let id = format!(
        "{}{}{}",
        ids::escape(&key.consumer),
        ids::SEPARATOR,
        ids::escape(&key.message)
    );
    ids::check(&id, what)?;
    Ok(id)
}

fn superseded(lease: &InboxLease, what: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, what, &lease.key)
        .with_message(format!("lease {} has expired and was granted again", lease.token))
}
