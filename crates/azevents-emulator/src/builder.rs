//! Settings of an emulator before it runs.

use std::net::{IpAddr, Ipv4Addr};

use crate::{DataFolder, Database, Emulator, EventHub, FaultPlan, Queue, StartError, Tls, Topic, Topology};

/// Settings of an emulator; [`start`](Self::start) runs it. Every port is chosen by the system
/// unless given.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `start`"]
pub struct EmulatorBuilder {
    pub(crate) host: IpAddr,
    pub(crate) allow_remote: bool,
    pub(crate) cosmos_port: u16,
    pub(crate) servicebus_port: u16,
    pub(crate) eventhubs_port: u16,
    pub(crate) blobs_port: u16,
    pub(crate) administration_port: u16,
    pub(crate) management_port: u16,
    pub(crate) tls: Option<Tls>,
    #[cfg(feature = "cosmos")]
    pub(crate) cosmos_regions: Vec<String>,
    #[cfg(feature = "cosmos")]
    pub(crate) cosmos_limits: crate::cosmos::Limits,
    pub(crate) topology: Topology,
    pub(crate) faults: Option<FaultPlan>,
    pub(crate) max_message_size: Option<u32>,
    pub(crate) throughput_units: Option<u32>,
    pub(crate) data: Option<DataFolder>,
    pub(crate) claims: Vec<(String, String)>,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allow_remote: false,
            cosmos_port: 0,
            servicebus_port: 0,
            eventhubs_port: 0,
            blobs_port: 0,
            administration_port: 0,
            management_port: 0,
            tls: None,
            #[cfg(feature = "cosmos")]
            cosmos_regions: vec!["East US".to_owned()],
            #[cfg(feature = "cosmos")]
            cosmos_limits: crate::cosmos::Limits::None,
            topology: Topology::new(),
            faults: None,
            max_message_size: None,
            throughput_units: None,
            data: None,
            claims: Vec::new(),
        }
    }
}

impl EmulatorBuilder {
    /// Address to listen on, `127.0.0.1` unless set. See also [`allow_remote`](Self::allow_remote).
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// Whether [`host`](Self::host) may be an address other machines reach. Nothing is encrypted,
    /// and all keys are public.
    pub fn allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// Port for Cosmos DB; 0 for any.
    pub fn cosmos_port(mut self, port: u16) -> Self {
        self.cosmos_port = port;
        self
    }

    /// Port for Service Bus; 0 for any.
    pub fn servicebus_port(mut self, port: u16) -> Self {
        self.servicebus_port = port;
        self
    }

    /// Port for Event Hubs; 0 for any.
    pub fn eventhubs_port(mut self, port: u16) -> Self {
        self.eventhubs_port = port;
        self
    }

    /// Port for Blob Storage; 0 for any.
    pub fn blobs_port(mut self, port: u16) -> Self {
        self.blobs_port = port;
        self
    }

    /// Port for Service Bus' administration API; 0 for any.
    pub fn administration_port(mut self, port: u16) -> Self {
        self.administration_port = port;
        self
    }

    /// Port for the management endpoint; 0 for any.
    pub fn management_port(mut self, port: u16) -> Self {
        self.management_port = port;
        self
    }

    /// Takes clients that want TLS, too, on every port; see [`Ready::tls`](crate::Ready::tls).
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Regions of the Cosmos DB account, each on a port of its own; the first one, on
    /// [`cosmos_port`](Self::cosmos_port), takes the writes. `East US` alone unless set. Clients that
    /// sort regions by distance ignore names that aren't Azure's.
    #[cfg(feature = "cosmos")]
    pub fn cosmos_regions<S: Into<String>>(mut self, regions: impl IntoIterator<Item = S>) -> Self {
        let regions: Vec<String> = regions.into_iter().map(Into::into).collect();
        if !regions.is_empty() {
            self.cosmos_regions = regions;
        }
        self
    }

    /// Adds all entities of a topology.
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology.extend(topology);
        self
    }

    /// Adds a queue, by name alone or with settings.
    pub fn queue(mut self, queue: impl Into<Queue>) -> Self {
        self.topology.queues.push(queue.into());
        self
    }

    /// Adds a topic, by name alone or with subscriptions.
    pub fn topic(mut self, topic: impl Into<Topic>) -> Self {
        self.topology.topics.push(topic.into());
        self
    }

    /// Adds an event hub, by name alone (4 partitions) or with settings.
    pub fn event_hub(mut self, event_hub: impl Into<EventHub>) -> Self {
        self.topology.event_hubs.push(event_hub.into());
        self
    }

    /// Adds a Cosmos DB database, by name alone or with containers.
    pub fn database(mut self, database: impl Into<Database>) -> Self {
        self.topology.databases.push(database.into());
        self
    }

    /// Adds a blob container.
    pub fn blob_container(mut self, name: impl Into<String>) -> Self {
        self.topology.blob_containers.push(name.into());
        self
    }

    /// Faults to inject from the start; [`Emulator::faults`] changes them later.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.faults = Some(plan);
        self
    }

    /// The largest message that Service Bus takes, in bytes. Unless set it is 256 KB, as in the Standard tier;
    /// Premium has 1 MB, and up to 100 MB for entities that ask for it. Batches are at most 1 MB in any case.
    pub fn max_message_size(mut self, bytes: u32) -> Self {
        self.max_message_size = Some(bytes);
        self
    }

    /// How much Event Hubs takes in and gives out: 1 MB or 1,000 events a second in and 2 MB or
    /// 4,096 events out for each unit, as on Azure. Without it there is no limit.
    pub fn throughput_units(mut self, units: u32) -> Self {
        self.throughput_units = Some(units.max(1));
        self
    }

    /// Makes Cosmos DB refuse, with 429, what goes beyond the throughput that a container or its database was created
    /// with: its RU/s (of autoscale the maximum), divided by its physical partitions. Without it, and where nothing
    /// was provisioned, there is no limit: charges are only a model of the service's.
    #[cfg(feature = "cosmos")]
    pub fn enforce_provisioned_throughput(mut self) -> Self {
        self.cosmos_limits = crate::cosmos::Limits::Provisioned;
        self
    }

    /// Refuses bearer tokens without this claim, on every port; several times for several. Of a claim with several values,
    /// as `roles`, one has to be it. Without it every well-formed JWT that has not expired is taken; signatures of tokens
    /// are never checked. Keys and their signatures open as before.
    pub fn require_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.claims.push((name.into(), value.into()));
        self
    }

    /// Keeps everything in a folder, across restarts and crashes; of Cosmos DB see
    /// `docs/emulator.md`. Without it everything is in memory alone.
    pub fn data(mut self, folder: DataFolder) -> Self {
        self.data = Some(folder);
        self
    }

    /// Binds all ports and starts answering, on the caller's tokio runtime.
    ///
    /// When this returns, clients can connect. An error leaves nothing running; so does dropping
    /// the future.
    pub async fn start(self) -> Result<Emulator, StartError> {
        Emulator::start(self).await
    }
}
