//! Leases in a map, by tokio's clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Checkpoint, FeedRange, Lease, LeaseStore};

/// A lease store. Clones share their content. Expiry follows tokio's clock, so paused tests control it.
#[derive(Debug, Clone, Default)]
pub struct MemoryLeases(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<(String, FeedRange), (Lease, Instant)>,
    writes: u64,
}

impl MemoryLeases {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    /// Replaces a lease if it is still the one the caller knows, and gives it its next token.
    fn swap(&mut self, known: &Lease, mut next: Lease, until: Instant) -> Result<Lease> {
        let key = (known.reader.clone(), known.range.clone());
        if self
            .held
            .get(&key)
            .is_none_or(|(current, _)| current.token != known.token)
        {
            return Err(Error::new(
                ErrorKind::Conflict,
                "renew lease",
                format_args!("{}/{}", known.reader, known.range),
            )
            .with_message("another owner has taken it over"));
        }
        self.writes += 1;
        next.token = self.writes.to_string();
        self.held.insert(key, (next.clone(), until));
        Ok(next)
    }
}

#[async_trait]
impl LeaseStore for MemoryLeases {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let key = (reader.to_owned(), range.clone());
        let checkpoint = match state.held.get(&key) {
            Some((lease, _)) if !lease.successors.is_empty() => return Ok(None),
            Some((lease, until)) if lease.owner != owner && *until > now => return Ok(None),
            Some((lease, _)) => lease.checkpoint.clone(),
            None => None,
        };
        state.writes += 1;
        let lease = Lease {
            reader: reader.to_owned(),
            range: range.clone(),
            owner: owner.to_owned(),
            token: state.writes.to_string(),
            checkpoint,
            successors: Vec::new(),
        };
        state.held.insert(key, (lease.clone(), now + duration));
        Ok(Some(lease))
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        let checkpoint = checkpoint.or(lease.checkpoint.as_ref()).cloned();
        let next = Lease {
            checkpoint,
            ..lease.clone()
        };
        lock(&self.0).swap(lease, next, Instant::now() + duration)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let next = Lease {
            owner: String::new(),
            ..lease.clone()
        };
        match lock(&self.0).swap(lease, next, Instant::now()) {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        let state = lock(&self.0);
        let now = Instant::now();
        let of_reader = state.held.values().filter(|(lease, _)| lease.reader == reader);
        Ok(of_reader
            .map(|(lease, until)| {
                let mut lease = lease.clone();
                if *until <= now {
                    lease.owner.clear();
                }
                lease
            })
            .collect())
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        let mut state = lock(&self.0);
        state.writes += 1;
        let lease = Lease {
            reader: reader.to_owned(),
            range: range.clone(),
            owner: String::new(),
            token: state.writes.to_string(),
            checkpoint: checkpoint.cloned(),
            successors: Vec::new(),
        };
        let key = (reader.to_owned(), range.clone());
        state.held.entry(key).or_insert_with(|| (lease, Instant::now()));
        Ok(())
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        let next = Lease {
            owner: String::new(),
            successors: successors.to_vec(),
            ..lease.clone()
        };
        lock(&self.0).swap(lease, next, Instant::now()).map(drop)
    }
}
