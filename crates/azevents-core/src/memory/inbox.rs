//! Marks in a map, by tokio's clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::inbox::{Begin, Inbox, InboxKey, InboxLease};

/// An inbox. Clones share their content. Marks never expire.
#[derive(Debug, Clone, Default)]
pub struct MemoryInbox(Arc<Mutex<HashMap<InboxKey, Mark>>>);

#[derive(Debug, Clone, Copy)]
enum Mark {
    Done,
    Free { token: u64 },
    Leased { token: u64, until: Instant },
}

impl MemoryInbox {
    /// An empty inbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the mark while `lease` still holds it.
    fn end(&self, lease: &InboxLease, with: Mark) -> Result<()> {
        let mut marks = lock(&self.0);
        match marks.get(&lease.key) {
            Some(Mark::Leased { token, .. }) if *token == lease.token => {
                marks.insert(lease.key.clone(), with);
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Conflict, "complete inbox", &lease.key)
                .with_message("the lease has expired and was granted again")),
        }
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn begin(&self, key: &InboxKey, lease: Duration) -> Result<Begin> {
        let now = Instant::now();
        let mut marks = lock(&self.0);
        let token = match marks.get(key) {
            None => 1,
            Some(Mark::Done) => return Ok(Begin::AlreadyHandled),
            Some(Mark::Leased { until, .. }) if *until > now => {
                return Ok(Begin::InProgress(OffsetDateTime::now_utc() + (*until - now)));
            }
            Some(Mark::Leased { token, .. } | Mark::Free { token }) => token + 1,
        };
        marks.insert(
            key.clone(),
            Mark::Leased {
                token,
                until: now + lease,
            },
        );
        Ok(Begin::Granted(InboxLease {
            key: key.clone(),
            token,
            expires: OffsetDateTime::now_utc() + lease,
        }))
    }

    async fn complete(&self, lease: &InboxLease) -> Result<()> {
        self.end(lease, Mark::Done)
    }

    async fn release(&self, lease: &InboxLease) -> Result<()> {
        match self.end(lease, Mark::Free { token: lease.token }) {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }
}
