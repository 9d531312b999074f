//! An emulator of its own for each test, and a connection to it.

#![allow(dead_code, reason = "each test program uses a part")]

use azevents_cosmos::{ContainerSpec, Cosmos, CosmosConfig, CosmosEventStore, CosmosReadModel, CosmosTenants};
use azevents_emulator::{Emulator, FaultKind, FaultPlan};

pub(crate) const DATABASE: &str = "test";
pub(crate) const EVENTS: &str = "events";
pub(crate) const TENANT_EVENTS: &str = "tenantevents";
pub(crate) const LEASES: &str = "leases";
pub(crate) const INBOX: &str = "inbox";
pub(crate) const READ_MODEL: &str = "readmodel";
pub(crate) const DEAD_LETTERS: &str = "deadletters";

pub(crate) struct Server {
    pub(crate) emulator: Emulator,
    pub(crate) cosmos: Cosmos,
}

impl Server {
    /// An emulator with every container.
    pub(crate) async fn start() -> Self {
        let emulator = Emulator::builder().start().await.expect("the emulator starts");
        let cosmos = connect(&emulator).await;
        let containers = [
            ContainerSpec::events(EVENTS),
            ContainerSpec::tenant_events(TENANT_EVENTS),
            ContainerSpec::leases(LEASES),
            ContainerSpec::inbox(INBOX),
            ContainerSpec::read_model(READ_MODEL),
            ContainerSpec::dead_letters(DEAD_LETTERS),
        ];
        cosmos.provision(&containers).await.expect("containers");
        Self { emulator, cosmos }
    }

    /// Another connection, as of another process.
    pub(crate) async fn connect_again(&self) -> Cosmos {
        connect(&self.emulator).await
    }

    pub(crate) async fn store(&self) -> CosmosEventStore {
        CosmosEventStore::open(&self.cosmos, EVENTS).await.expect("container")
    }

    /// The same promises hold with and without tenants.
    pub(crate) async fn stores(&self) -> [CosmosEventStore; 2] {
        [self.store().await, self.tenants().await.tenant("acme").expect("a name")]
    }

    pub(crate) async fn tenants(&self) -> CosmosTenants {
        CosmosTenants::open(&self.cosmos, TENANT_EVENTS)
            .await
            .expect("container")
    }

    pub(crate) async fn read_model(&self) -> CosmosReadModel {
        CosmosReadModel::open(&self.cosmos, READ_MODEL)
            .await
            .expect("container")
    }

    /// Lets things go wrong from now on.
    pub(crate) fn misbehave(&self, plan: FaultPlan) {
        self.emulator.faults().set_plan(plan);
    }

    /// How many faults there have been of this kind.
    pub(crate) fn injected(&self, kind: FaultKind) -> u64 {
        self.emulator
            .faults()
            .counts()
            .get(&kind)
            .map_or(0, |count| count.injected)
    }
}

async fn connect(emulator: &Emulator) -> Cosmos {
    let address = emulator.ready().cosmos.as_ref().expect("feature cosmos");
    let config = CosmosConfig::with_key(&address.endpoint, &address.key, DATABASE);
    Cosmos::connect(config).await.expect("the emulator answers")
}
