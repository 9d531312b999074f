//! Leases on feed ranges: one document per reader and range, changed by compare-and-swap.
//!
//! Every write carries a nonce of its own. The SDK repeats writes whose answer was lost, and the
//! repetition of a successful compare-and-swap fails; the nonce tells such a failure from a real one.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Checkpoint, Error, ErrorKind, FeedRange, Lease, LeaseStore, Result};
use azure_core::http::Etag;
use azure_data_cosmos::ContainerClient;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::connection::Cosmos;
use crate::ids;
use crate::items::{Items, Stored, Swap};
use crate::wire;

/// A [`LeaseStore`] on a container made by [`ContainerSpec::leases`](crate::ContainerSpec::leases).
/// Clones share the connection.
///
/// Whether a lease has expired is judged by the clock of whoever wants to take it: keep the clocks of
/// all owners within a fraction of the lease's duration of each other. A clock that is wrong costs a
/// lease its owner, never a checkpoint: the former owner's writes fail from then on.
#[derive(Clone)]
pub struct CosmosLeases {
    items: Items,
}

/// A lease. All fields are written by its owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LeaseDocument {
    /// The range, escaped.
    id: String,
    /// Whose progress this is: the partition key.
    reader: String,
    /// Which part of the feed.
    range: FeedRange,
    /// Who holds it; absent where it was given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    owner: Option<String>,
    /// When others may take it. RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    /// How far reading has come; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    checkpoint: Option<Checkpoint>,
    /// Which ranges go on from here; absent in a lease that is in use.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    successors: Vec<FeedRange>,
    /// Which write this was.
    nonce: Uuid,
}

impl LeaseDocument {
    /// The document of a lease that nobody has.
    fn free(reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Self {
        Self {
            id: ids::escape(&range.0),
            reader: reader.to_owned(),
            range: range.clone(),
            owner: None,
            expires: OffsetDateTime::now_utc(),
            checkpoint: checkpoint.cloned(),
            successors: Vec::new(),
            nonce: Uuid::new_v4(),
        }
    }

    fn is_free_for(&self, owner: &str, now: OffsetDateTime) -> bool {
        self.successors.is_empty()
            && (self.expires <= now || self.owner.as_deref().is_none_or(|current| current == owner))
    }

    fn lease(self, etag: &str) -> Lease {
        Lease {
            reader: self.reader,
            range: self.range,
            owner: self.owner.unwrap_or_default(),
            token: etag.to_owned(),
            checkpoint: self.checkpoint,
            successors: self.successors,
        }
    }
}

impl CosmosLeases {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// Leases in a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        Self {
            items: Items::new(container),
        }
    }

    async fn read(&self, reader: &str, range: &FeedRange, what: &'static str) -> Result<Option<Stored<LeaseDocument>>> {
        self.items.read(reader, &ids::escape(&range.0), what).await
    }

    /// Writes `document` over a held lease. `None` when somebody else has taken it over.
    async fn swap_held(&self, lease: &Lease, document: &LeaseDocument, what: &'static str) -> Result<Option<Etag>> {
        self.swap(document, Some(&Etag::from(lease.token.clone())), what).await
    }

    /// Writes `document` over the version with this etag, or as a new one. `None` when somebody else was
    /// first.
    async fn swap(
        &self,
        document: &LeaseDocument,
        if_match: Option<&Etag>,
        what: &'static str,
    ) -> Result<Option<Etag>> {
        let (reader, id) = (document.reader.as_str(), document.id.as_str());
        let swap = wire::settled(what, || async move {
            match if_match {
                Some(etag) => self.items.replace(reader, id, document, etag, what).await,
                None => self.items.create(reader, id, document, what).await,
            }
        })
        .await?;
        if let Swap::Written(etag) = swap {
            return Ok(Some(etag));
        }
        let now = self.read(&document.reader, &document.range, what).await?;
        Ok(now
            .filter(|now| now.document.nonce == document.nonce)
            .map(|now| now.etag))
    }
}

impl fmt::Debug for CosmosLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosLeases").finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for CosmosLeases {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        let what = "acquire lease";
        let id = ids::escape(&range.0);
        ids::check(&id, what)?;
        let stored = self.read(reader, range, what).await?;
        let now = OffsetDateTime::now_utc();
        let (checkpoint, etag) = match stored {
            Some(stored) if !stored.document.is_free_for(owner, now) => return Ok(None),
            Some(stored) => (stored.document.checkpoint, Some(stored.etag)),
            None => (None, None),
        };
        let document = LeaseDocument {
            owner: Some(owner.to_owned()),
            expires: now + duration,
            ..LeaseDocument::free(reader, range, checkpoint.as_ref())
        };
        let etag = self.swap(&document, etag.as_ref(), what).await?;
        Ok(etag.map(|etag| document.lease(etag.as_ref())))
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        let what = "renew lease";
        let document = LeaseDocument {
            owner: Some(lease.owner.clone()),
            expires: OffsetDateTime::now_utc() + duration,
            ..LeaseDocument::free(&lease.reader, &lease.range, checkpoint.or(lease.checkpoint.as_ref()))
        };
        match self.swap_held(lease, &document, what).await? {
            Some(etag) => Ok(document.lease(etag.as_ref())),
            None => Err(lost(lease, what)),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let document = LeaseDocument::free(&lease.reader, &lease.range, lease.checkpoint.as_ref());
        // Where somebody else has it by now there is nothing to give back.
        self.swap_held(lease, &document, "release lease").await?;
        Ok(())
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        let what = "list leases";
        let documents = self.items.all(reader, what).await?;
        let now = OffsetDateTime::now_utc();
        documents
            .iter()
            .map(|json| {
                let corrupt = |error| Error::new(ErrorKind::Corrupt, what, reader).with_source(error);
                let etag: Tagged = serde_json::from_str(json.get()).map_err(corrupt)?;
                let mut document: LeaseDocument = serde_json::from_str(json.get()).map_err(corrupt)?;
                document.owner = document.owner.filter(|_| document.expires > now);
                Ok(document.lease(&etag.etag))
            })
            .collect()
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        let what = "create lease";
        let document = LeaseDocument::free(reader, range, checkpoint);
        ids::check(&document.id, what)?;
        // One that is there already is as good.
        self.swap(&document, None, what).await?;
        Ok(())
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        let what = "retire lease";
        let document = LeaseDocument {
            successors: successors.to_vec(),
            ..LeaseDocument::free(&lease.reader, &lease.range, lease.checkpoint.as_ref())
        };
        match self.swap_held(lease, &document, what).await? {
            Some(_) => Ok(()),
            None => Err(lost(lease, what)),
        }
    }
}

fn lost(lease: &Lease, what: &'static str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        what,
        format_args!("{}/{}", lease.reader, lease.range),
    )
    .with_message(format!("{} no longer holds it", lease.owner))
}

/// What the service adds to a document.
#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "_etag")]
    etag: String,
}
