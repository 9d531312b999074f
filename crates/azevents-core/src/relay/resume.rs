//! Letting a stream go on that was set aside.

use futures::TryStreamExt;

use super::Relay;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Lease, ParkedStream};
use crate::message::Message;
use crate::publisher::PublishError;
use crate::store::{EventStore, ReadOptions};
use crate::stream::StreamId;
use crate::version::Version;

/// A stream that was set aside, and what of it to leave out for good.
#[derive(Debug, Clone)]
pub struct ParkedKey {
    stream: StreamId,
    tenant: Option<String>,
    leave_out: Vec<Version>,
}

impl ParkedKey {
    /// All of a stream.
    pub fn new(stream: StreamId) -> Self {
        Self {
            stream,
            tenant: None,
            leave_out: Vec::new(),
        }
    }

    /// The stream of a tenant, in a store that several share.
    #[must_use]
    pub fn of_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Leaves this event out: it can never be published, and stays among the dead letters.
    #[must_use]
    pub fn leave_out(mut self, version: Version) -> Self {
        self.leave_out.push(version);
        self
    }

    /// As messages of the stream bear it.
    fn key(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.stream),
            None => self.stream.to_string(),
        }
    }
}

impl Relay {
    /// Publishes what was set aside of a stream, from the store, in order, and lets the stream go on behind
    /// it. Returns how many events were published.
    ///
    /// It takes the lease of the stream's range for that time, so that nothing of the stream can come in
    /// between; run it where no relay of this name reads that range, with all of them stopped, say. The dead
    /// letters stay where they are. Interrupted, it has changed nothing but may have published some events,
    /// and can be run again: consumers see copies.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the stream is not set aside, [`ErrorKind::Unavailable`] while a relay
    /// reads its range, and what store, leases or publisher report: an event that still can't be published
    /// leaves the stream set aside.
    pub async fn resume(&self, parked: &ParkedKey, store: &dyn EventStore) -> Result<u64> {
        let (key, mut published) = (parked.key(), 0);
        let mut found = false;
        for lease in self.shared.leases.list(&self.shared.name).await? {
            let holds = |lease: &Lease| lease.checkpoint.as_ref()?.parked.get(&key).copied();
            if lease.successors.is_empty() && holds(&lease).is_some() {
                found = true;
                let lease = self.take_from_nobody(&lease).await?;
                // Nobody else has had it since it was listed, or it says so itself.
                if let Some(range) = holds(&lease) {
                    published += self.resume_in(lease, parked, range, store).await?;
                }
            }
        }
        if found {
            return Ok(published);
        }
        Err(Error::new(ErrorKind::NotFound, "resume", &key).with_message("the stream is not set aside"))
    }

    async fn take_from_nobody(&self, lease: &Lease) -> Result<Lease> {
        let shared = &self.shared;
        // Not under the relay's own name, which could take the lease from a relay that runs.
        let owner = format!("{}/resume", shared.options.owner);
        let taken = shared
            .leases
            .acquire(&shared.name, &lease.range, &owner, shared.options.lease_duration)
            .await?;
        taken.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "resume", &lease.range).with_message(format!(
                "{} reads this range: stop the relays called {} first",
                lease.owner, shared.name
            ))
        })
    }

    async fn resume_in(
        &self,
        mut lease: Lease,
        parked: &ParkedKey,
        range: ParkedStream,
        store: &dyn EventStore,
    ) -> Result<u64> {
        let shared = &self.shared;
        let options = ReadOptions::default().from(range.first);
        let mut events = store.read(&parked.stream, options);
        let (mut batch, mut published, mut ended) = (Vec::new(), 0, false);
        while !ended {
            match events.try_next().await? {
                Some(event) if event.version <= range.last => {
                    if !parked.leave_out.contains(&event.version) {
                        let message = Message::from(&event);
                        batch.push(match &parked.tenant {
                            Some(tenant) => message.of_tenant(tenant),
                            None => message,
                        });
                    }
                }
                _ => ended = true,
            }
            if batch.len() >= shared.options.batch || ended {
                let sent = shared.publisher.publish(&batch).await;
                sent.map_err(|PublishError { error, .. }| error)?;
                published += batch.len() as u64;
                batch.clear();
                lease = shared.leases.renew(&lease, None, shared.options.lease_duration).await?;
            }
        }
        if let Some(mut checkpoint) = lease.checkpoint.clone() {
            checkpoint.parked.remove(&parked.key());
            lease = shared
                .leases
                .renew(&lease, Some(&checkpoint), shared.options.lease_duration)
                .await?;
        }
        shared.leases.release(&lease).await?;
        Ok(published)
    }
}
