//! The commits of one tenant out of a container that many share.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azevents_core::{CommitFeed, Continuation, FeedPage, FeedRange, Result, StartFrom};
use azure_data_cosmos::feed::FeedRange as KeyRange;
use azure_data_cosmos::models::PartitionKeyDefinition;
use azure_data_cosmos::{ContainerClient, PartitionKey};

use crate::connection::Cosmos;
use crate::feed::CosmosCommitFeed;
use crate::provisioning::TENANT_KEY;
use crate::store::check_name;

/// A [`CommitFeed`] that is bound to one tenant. The tenant's keys make one range of their own, so that
/// nothing of other tenants is even read.
///
/// Relays and subscriptions for all tenants at once read the whole container with
/// [`CosmosCommitFeed`]; their messages say which tenant they are of.
#[derive(Clone)]
pub struct CosmosTenantFeed {
    feed: CosmosCommitFeed,
    tenant: Arc<str>,
}

impl CosmosTenantFeed {
    /// The feed of a tenant of a container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](azevents_core::ErrorKind::NotFound) when the container doesn't exist,
    /// [`ErrorKind::InvalidInput`](azevents_core::ErrorKind::InvalidInput) for what is no tenant's name.
    pub async fn open(cosmos: &Cosmos, container: &str, tenant: &str) -> Result<Self> {
        Self::new(cosmos.container(container).await?, tenant)
    }

    /// The feed of a tenant of a container that was opened elsewhere.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](azevents_core::ErrorKind::InvalidInput) for what is no tenant's name.
    pub fn new(container: ContainerClient, tenant: &str) -> Result<Self> {
        check_name(tenant)?;
        Ok(Self {
            feed: CosmosCommitFeed::new(container),
            tenant: tenant.into(),
        })
    }
}

impl fmt::Debug for CosmosTenantFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosmosTenantFeed")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl CosmosTenantFeed {
    /// All keys of the tenant.
    fn range(&self) -> FeedRange {
        let key = PartitionKey::from(self.tenant.to_string());
        let range = KeyRange::for_partition(key, &PartitionKeyDefinition::from(TENANT_KEY));
        FeedRange(range.to_string())
    }
}

#[async_trait]
impl CommitFeed for CosmosTenantFeed {
    async fn ranges(&self) -> Result<Vec<FeedRange>> {
        self.feed.parts(&self.range()).await
    }

    async fn next(&self, range: &FeedRange, after: Option<&Continuation>) -> Result<FeedPage> {
        let mut page = self.feed.next(range, after).await?;
        // Whatever range a caller asks for.
        page.commits
            .retain(|commit| commit.tenant.as_deref() == Some(&self.tenant));
        Ok(page)
    }

    async fn parts(&self, range: &FeedRange) -> Result<Vec<FeedRange>> {
        self.feed.parts(range).await
    }

    async fn position(&self, range: &FeedRange, start: StartFrom) -> Result<Option<Continuation>> {
        let whole = *range == FeedRange::whole();
        let range = if whole { self.range() } else { range.clone() };
        self.feed.position(&range, start).await
    }
}
