//! Creating the containers that stores, feeds and read models need, with the partition key and the
//! indexes that their queries use and no others.

use azevents_core::Result;
use azure_data_cosmos::models::{ContainerProperties, IndexingMode, IndexingPolicy, ThroughputProperties, TimeToLive};
use azure_data_cosmos::options::CreateContainerOptions;

use crate::connection::Cosmos;
use crate::error::{Access, from_sdk, is_conflict};

/// The partition key of [`ContainerSpec::tenant_events`].
pub(crate) const TENANT_KEY: (&str, &str) = ("/tenant", "/stream");

/// A container to be created.
///
/// Everything is excluded from its index but what the queries of this crate filter by: an index entry
/// is paid for with every write. `id` and `_ts` are always indexed. Time to live is switched on without
/// a default, so that a document can carry its own.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    name: String,
    partition_key: &'static str,
    indexed: &'static [&'static str],
    /// Whether `/tenant` comes before the partition key.
    tenants: bool,
    throughput: Option<u64>,
}

impl ContainerSpec {
    /// Streams of commits, for [`CosmosEventStore`](crate::CosmosEventStore) and
    /// [`CosmosCommitFeed`](crate::CosmosCommitFeed). Partition key `/stream`.
    pub fn events(name: impl Into<String>) -> Self {
        Self::new(name, "/stream", &["/category/?"])
    }

    /// Streams of many tenants, for [`CosmosTenants`](crate::CosmosTenants). Hierarchical partition key
    /// `/tenant`, `/stream`. Only where tenants are many: physical partitions are cut by the first level,
    /// and few tenants would write to few of them.
    pub fn tenant_events(name: impl Into<String>) -> Self {
        Self {
            tenants: true,
            ..Self::events(name)
        }
    }

    /// Progress of relays and projections, for [`CosmosLeases`](crate::CosmosLeases). Partition key
    /// `/reader`.
    pub fn leases(name: impl Into<String>) -> Self {
        Self::new(name, "/reader", &[])
    }

    /// Marks of handled messages, for [`CosmosInbox`](crate::CosmosInbox). Partition key `/id`: marks
    /// are only ever read one by one, so they are spread as far as possible.
    pub fn inbox(name: impl Into<String>) -> Self {
        Self::new(name, "/id", &[])
    }

    /// Documents of consumers, for [`CosmosReadModel`](crate::CosmosReadModel). Partition key
    /// `/partition`.
    pub fn read_model(name: impl Into<String>) -> Self {
        Self::new(name, "/partition", &["/kind/?"])
    }

    /// Messages set aside, for [`CosmosDeadLetters`](crate::CosmosDeadLetters). Partition key
    /// `/source`.
    pub fn dead_letters(name: impl Into<String>) -> Self {
        Self::new(name, "/source", &["/reason/?", "/event_type/?"])
    }

    fn new(name: impl Into<String>, partition_key: &'static str, indexed: &'static [&'static str]) -> Self {
        Self {
            name: name.into(),
            partition_key,
            indexed,
            tenants: false,
            throughput: None,
        }
    }

    /// Reserves throughput for this container, in request units per second. Without it the container
    /// shares the database's, or is serverless.
    #[must_use]
    pub fn with_throughput(mut self, request_units: u64) -> Self {
        self.throughput = Some(request_units);
        self
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn properties(&self) -> ContainerProperties {
        let mut indexing = IndexingPolicy::default()
            .with_indexing_mode(IndexingMode::Consistent)
            .with_excluded_path("/*");
        // Without it nothing is indexed that isn't asked for document by document.
        indexing.automatic = true;
        for path in self.indexed {
            indexing = indexing.with_included_path(*path);
        }
        let key = if self.tenants {
            TENANT_KEY.into()
        } else {
            self.partition_key.into()
        };
        ContainerProperties::new(self.name.clone(), key)
            .with_indexing_policy(indexing)
            .with_default_ttl(TimeToLive::NoDefault)
    }
}

impl Cosmos {
    /// Creates the database and the containers that don't exist yet. What exists is left as it is, so
    /// this may run at every start, and in several processes at once.
    ///
    /// Needs a key, or a role that may create databases: data-plane roles may not. In production,
    /// create containers with the deployment instead.
    ///
    /// # Errors
    /// What the service reports; some of the containers may have been created.
    pub async fn provision(&self, containers: &[ContainerSpec]) -> Result<()> {
        let name = self.database();
        match self.client().create_database(name, None).await {
            Ok(_) => tracing::info!(database = name, "created"),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(from_sdk(error, Access::Write, "create database", name)),
        }
        let database = self.client().database_client(name.to_owned());
        for spec in containers {
            let options = spec
                .throughput
                .map(|units| CreateContainerOptions::default().with_throughput(ThroughputProperties::manual(units)));
            match database.create_container(spec.properties(), options).await {
                Ok(_) => tracing::info!(database = name, container = spec.name, "created"),
                Err(error) if is_conflict(&error) => {}
                Err(error) => {
                    let subject = format!("{name}/{}", spec.name);
                    return Err(from_sdk(error, Access::Write, "create container", subject));
                }
            }
        }
        Ok(())
    }
}
