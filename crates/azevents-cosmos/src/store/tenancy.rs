//! One container for many tenants: the partition key is the tenant and then the stream.

use std::fmt;

use azevents_core::{Error, ErrorKind, Result, StreamId};
use azure_data_cosmos::{ContainerClient, FeedScope, PartitionKey};

use super::CosmosEventStore;
use crate::connection::Cosmos;

/// Longest name of a tenant together with the stream's, in bytes: both are the session id of the
/// messages, and Service Bus takes 128 characters.
const MAX_KEY: usize = 128;

/// The stores of many tenants in a container made by
/// [`ContainerSpec::tenant_events`](crate::ContainerSpec::tenant_events).
///
/// What [`tenant`](Self::tenant) returns is bound to that tenant: every request it makes names the
/// tenant's partition, so it can neither read nor write another's streams, snapshots or documents.
#[derive(Clone)]
pub struct CosmosTenants {
    store: CosmosEventStore,
}

impl CosmosTenants {
    /// Opens a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it doesn't.
    pub async fn open(cosmos: &Cosmos, container: &str) -> Result<Self> {
        Ok(Self::new(cosmos.container(container).await?))
    }

    /// Tenants of a container that was opened elsewhere.
    pub fn new(container: ContainerClient) -> Self {
        Self::from_store(CosmosEventStore::new(container))
    }

    /// Tenants whose stores have the settings of this one.
    pub fn from_store(store: CosmosEventStore) -> Self {
        Self { store }
    }

    /// The store of one tenant. No request is made.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that is empty, longer than a key may be, or holds `/` or
    /// control characters.
    pub fn tenant(&self, name: &str) -> Result<CosmosEventStore> {
        check_name(name)?;
        Ok(CosmosEventStore {
            tenant: Some(name.into()),
            ..self.store.clone()
        })
    }
}

impl fmt::Debug for CosmosTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosTenants").finish_non_exhaustive()
    }
}

/// What stands before the stream in the key of messages must not be taken for a part of it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let refuse = |why: String| {
        Err(Error::new(ErrorKind::InvalidInput, "name tenant", format_args!("{name:?}")).with_message(why))
    };
    match name {
        "" => refuse("a tenant's name must not be empty".into()),
        name if name.len() >= MAX_KEY => refuse(format!(
            "{} bytes, but a tenant's name and a stream's take at most {MAX_KEY} together",
            name.len()
        )),
        name if name.contains('/') || name.chars().any(char::is_control) => {
            refuse("a tenant's name must not hold '/' or control characters".into())
        }
        _ => Ok(()),
    }
}

impl CosmosEventStore {
    /// The tenant this handle is bound to, where the container has tenants.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    pub(super) fn key(&self, stream: &StreamId) -> PartitionKey {
        let stream = stream.as_str().to_owned();
        match &self.tenant {
            Some(tenant) => PartitionKey::from((tenant.to_string(), stream)),
            None => PartitionKey::from(stream),
        }
    }

    /// All this handle may read.
    pub(super) fn scope(&self) -> FeedScope {
        match &self.tenant {
            Some(tenant) => FeedScope::partition(tenant.to_string()),
            None => FeedScope::full_container(),
        }
    }

    /// Refuses a stream whose messages no broker would take.
    pub(super) fn check_key(&self, stream: &StreamId) -> Result<()> {
        let Some(tenant) = &self.tenant else { return Ok(()) };
        let bytes = tenant.len() + 1 + stream.as_str().len();
        if bytes <= MAX_KEY {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::InvalidInput, "append", stream).with_message(format!(
                "the tenant {tenant:?} and the stream make a key of {bytes} bytes, but it takes at most {MAX_KEY}, the \
             limit of a Service Bus session id"
            )),
        )
    }
}
