//! Leases and checkpoints in Azure Blob Storage, in the format of the official SDKs' checkpoint stores.
//!
//! A partition has two blobs, both empty, with their values in metadata (`BlobCheckpointStore` of the SDKs for
//! .NET, Java, JavaScript and Python):
//!
//! | blob | metadata |
//! | --- | --- |
//! | `<namespace>/<hub>/<group>/ownership/<partition>` | `ownerid` |
//! | `<namespace>/<hub>/<group>/checkpoint/<partition>` | `sequencenumber`, `offset` |
//!
//! KEDA's `blobMetadata` strategy reads the lag from them, and a processor in another language goes on where
//! this one stopped. A few values more, which the others ignore, are ours; see [`layout`]. Leases of other
//! readers than an event hub's consumer group lie under `azevents/`.

mod container;
mod layout;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Checkpoint, Error, ErrorKind, FeedRange, Lease, LeaseStore, Result};
use azure_storage_blob::BlobContainerClient;
use time::OffsetDateTime;
use uuid::Uuid;

use container::{Container, Stored};
use layout::{Names, Ownership};

/// How often a write begins anew that somebody else came in between of, before it is reported.
const TRIES: usize = 10;

/// A [`LeaseStore`] in a blob container, which must exist.
///
/// Whether a lease has expired goes by the service's clock alone. That clock is told in whole seconds, so a
/// lease is taken over up to two seconds late, never early.
///
/// The lease and its checkpoint are two blobs, which no request writes together. A checkpoint is therefore
/// written only after the lease was renewed, and over the version its owner knows; who takes a lease over
/// writes the checkpoint anew, unchanged, so that a former owner's is refused. Of a partition's very first
/// checkpoint there is no version yet: a former owner that slept for a whole lease between two requests can
/// still write that one. It says what was done, so nothing is skipped.
///
/// ```no_run
/// # use azevents_eventhubs::BlobLeases;
/// # use azure_storage_blob::BlobContainerClient;
/// # fn open(credential: std::sync::Arc<dyn azure_core::credentials::TokenCredential>) -> azure_core::Result<BlobLeases> {
/// let url = "https://shop.blob.core.windows.net/checkpoints".parse()?;
/// let container = BlobContainerClient::new(url, Some(credential), None)?;
/// let leases = BlobLeases::new(container, "shop.servicebus.windows.net");
/// # Ok(leases)
/// # }
/// ```
pub struct BlobLeases {
    container: Container,
    namespace: String,
}

/// What a lease's token holds: the version of both blobs, and whose incarnation this is.
struct Token {
    /// Stays the same from taking a lease to losing it: tells a write of ours whose answer was lost from a
    /// write of somebody else.
    epoch: String,
    ownership: String,
    checkpoint: Option<String>,
}

impl Token {
    fn parse(lease: &Lease, operation: &'static str) -> Result<Self> {
        let mut parts = lease.token.split('|');
        let (Some(epoch), Some(ownership), Some(checkpoint)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(
                Error::new(ErrorKind::InvalidInput, operation, subject(&lease.reader, &lease.range))
                    .with_message("the lease is none of this store"),
            );
        };
        Ok(Self {
            epoch: epoch.to_owned(),
            ownership: ownership.to_owned(),
            checkpoint: (!checkpoint.is_empty()).then(|| checkpoint.to_owned()),
        })
    }

    fn text(&self) -> String {
        format!(
            "{}|{}|{}",
            self.epoch,
            self.ownership,
            self.checkpoint.as_deref().unwrap_or_default()
        )
    }
}

impl BlobLeases {
    /// Leases in `container`, for the consumers of the Event Hubs namespace with this host name
    /// (`shop.servicebus.windows.net`).
    pub fn new(container: BlobContainerClient, namespace: impl Into<String>) -> Self {
        Self {
            container: Container::new(container),
            namespace: namespace.into(),
        }
    }

    fn names(&self, reader: &str) -> Names {
        Names::of(&self.namespace, reader)
    }

    /// Writes the ownership over the version in `token`, or over a later one that is of the same epoch.
    /// `None` when the lease is somebody else's by now.
    async fn hold(
        &self,
        name: &str,
        token: &Token,
        ownership: &Ownership,
        operation: &'static str,
    ) -> Result<Option<String>> {
        let metadata = ownership.to_metadata();
        let mut etag = token.ownership.clone();
        for _ in 0..TRIES {
            if let Some(written) = self.container.replace(name, &metadata, &etag, operation).await? {
                return Ok(Some(written));
            }
            match self.container.read(name, operation).await? {
                Some(now) if Ownership::of(&now.metadata).epoch == token.epoch => etag = now.etag,
                _ => return Ok(None),
            }
        }
        Err(contended(operation, name))
    }

    /// Writes a checkpoint for the holder of a lease. `None` when the lease is somebody else's by now.
    async fn save(
        &self,
        names: &Names,
        lease: &Lease,
        token: &Token,
        checkpoint: &Checkpoint,
    ) -> Result<Option<String>> {
        let operation = "save checkpoint";
        let name = names.checkpoint(&lease.range);
        let metadata = layout::checkpoint_metadata(checkpoint);
        let mut known = token.checkpoint.clone();
        for _ in 0..TRIES {
            let written = match &known {
                Some(etag) => self.container.replace(&name, &metadata, etag, operation).await?,
                None => self.container.create(&name, &metadata, operation).await?,
            };
            if written.is_some() {
                return Ok(written);
            }
            // A former owner's last one, another language's, or ours whose answer was lost. Only the lease
            // says whether ours may stand.
            let held = self.container.read(&names.ownership(&lease.range), operation).await?;
            if held.is_none_or(|held| Ownership::of(&held.metadata).epoch != token.epoch) {
                return Ok(None);
            }
            known = self.container.read(&name, operation).await?.map(|now| now.etag);
        }
        Err(contended(operation, &name))
    }

    /// Reads the checkpoint so that nobody who held the lease before can write it any more.
    async fn fence(&self, names: &Names, range: &FeedRange) -> Result<(Option<Checkpoint>, Option<String>)> {
        let operation = "acquire lease";
        let name = names.checkpoint(range);
        for _ in 0..TRIES {
            let Some(Stored { metadata, etag, .. }) = self.container.read(&name, operation).await? else {
                return Ok((None, None));
            };
            let checkpoint = layout::checkpoint_of(&metadata, &name)?;
            if let Some(etag) = self.container.replace(&name, &metadata, &etag, operation).await? {
                return Ok((Some(checkpoint), Some(etag)));
            }
        }
        Err(contended(operation, &name))
    }
}

#[async_trait]
impl LeaseStore for BlobLeases {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        let operation = "acquire lease";
        let names = self.names(reader);
        let name = names.ownership(range);
        let held = self.container.read(&name, operation).await?;
        if let Some(held) = &held
            && !Ownership::of(&held.metadata).is_free_for(owner, held.age, duration)
        {
            return Ok(None);
        }
        let ownership = Ownership {
            owner: owner.to_owned(),
            epoch: Uuid::new_v4().simple().to_string(),
            duration: Some(duration),
        };
        let metadata = ownership.to_metadata();
        let written = match held {
            Some(held) => self.container.replace(&name, &metadata, &held.etag, operation).await?,
            None => self.container.create(&name, &metadata, operation).await?,
        };
        let etag = match written {
            Some(etag) => etag,
            // Somebody else was first, unless it was this very write, repeated after a lost answer.
            None => match self.container.read(&name, operation).await? {
                Some(now) if Ownership::of(&now.metadata).epoch == ownership.epoch => now.etag,
                _ => return Ok(None),
            },
        };
        let (checkpoint, checkpoint_etag) = self.fence(&names, range).await?;
        let token = Token {
            epoch: ownership.epoch,
            ownership: etag,
            checkpoint: checkpoint_etag,
        };
        Ok(Some(Lease {
            reader: reader.to_owned(),
            range: range.clone(),
            owner: owner.to_owned(),
            token: token.text(),
            checkpoint,
            successors: Vec::new(),
        }))
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        let operation = "renew lease";
        let mut token = Token::parse(lease, operation)?;
        let names = self.names(&lease.reader);
        let ownership = Ownership {
            owner: lease.owner.clone(),
            epoch: token.epoch.clone(),
            duration: Some(duration),
        };
        let lost = || {
            Error::new(ErrorKind::Conflict, operation, subject(&lease.reader, &lease.range))
                .with_message(format!("{} no longer holds it", lease.owner))
        };
        let name = names.ownership(&lease.range);
        token.ownership = self
            .hold(&name, &token, &ownership, operation)
            .await?
            .ok_or_else(lost)?;
        if let Some(checkpoint) = checkpoint {
            let saved = self.save(&names, lease, &token, checkpoint).await?;
            token.checkpoint = Some(saved.ok_or_else(lost)?);
        }
        Ok(Lease {
            token: token.text(),
            checkpoint: checkpoint.or(lease.checkpoint.as_ref()).cloned(),
            ..lease.clone()
        })
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let operation = "release lease";
        let token = Token::parse(lease, operation)?;
        // Where somebody else has it by now there is nothing to give back.
        let name = self.names(&lease.reader).ownership(&lease.range);
        self.hold(&name, &token, &Ownership::released(), operation).await?;
        Ok(())
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        let names = self.names(reader);
        let blobs = self.container.list(&names.prefix(), "list leases").await?;
        let now = OffsetDateTime::now_utc();
        names.leases(reader, blobs, now)
    }
}

impl fmt::Debug for BlobLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobLeases")
            .field("container", &self.container.url())
            .field("namespace", &self.namespace)
            .finish()
    }
}

fn subject(reader: &str, range: &FeedRange) -> String {
    format!("{reader}/{range}")
}

fn contended(operation: &'static str, name: &str) -> Error {
    Error::new(ErrorKind::Unavailable, operation, name).with_message("others keep writing it")
}
