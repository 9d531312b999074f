//! What containers have to be: the partition key, the indexes that queries use and no others, time to
//! live, throughput.

use azure_data_cosmos::models::{
    ContainerProperties, IndexingMode, IndexingPolicy, PartitionKeyDefinition, ThroughputProperties, TimeToLive,
};

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
    throughput: Option<Throughput>,
}

/// Throughput of a container's own, in request units per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Throughput {
    Manual(u64),
    /// Up to this.
    Autoscale(u64),
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
        self.throughput = Some(Throughput::Manual(request_units));
        self
    }

    /// Reserves throughput for this container that follows the load, between a tenth of `most` and
    /// `most` request units per second.
    #[must_use]
    pub fn with_autoscale(mut self, most: u64) -> Self {
        self.throughput = Some(Throughput::Autoscale(most));
        self
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn partition_key(&self) -> PartitionKeyDefinition {
        if self.tenants {
            TENANT_KEY.into()
        } else {
            self.partition_key.into()
        }
    }

    pub(super) fn indexed(&self) -> &[&'static str] {
        self.indexed
    }

    pub(super) fn throughput(&self) -> Option<Throughput> {
        self.throughput
    }

    pub(super) fn throughput_properties(&self) -> Option<ThroughputProperties> {
        self.throughput.map(|throughput| match throughput {
            Throughput::Manual(units) => ThroughputProperties::manual(units),
            Throughput::Autoscale(most) => ThroughputProperties::autoscale(most, None),
        })
    }

    pub(super) fn properties(&self) -> ContainerProperties {
        let mut indexing = IndexingPolicy::default()
            .with_indexing_mode(IndexingMode::Consistent)
            .with_excluded_path("/*");
        // Without it nothing is indexed that isn't asked for document by document.
        indexing.automatic = true;
        for path in self.indexed {
            indexing = indexing.with_included_path(*path);
        }
        ContainerProperties::new(self.name.clone(), self.partition_key())
            .with_indexing_policy(indexing)
            .with_default_ttl(TimeToLive::NoDefault)
    }
}
