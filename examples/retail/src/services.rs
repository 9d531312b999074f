//! The services as this example uses them: one place that knows names of containers, topics and hubs.

use std::sync::Arc;

use anyhow::{Context, Result};
use azevents::cosmos::{
    ContainerSpec, Cosmos, CosmosCommitFeed, CosmosConfig, CosmosDeadLetters, CosmosEventStore, CosmosLeases,
    CosmosReadModel,
};
use azevents::eventhubs::EventHubs;
use azevents::servicebus::{ClientOptions, ServiceBusClient};
use azevents::{DeadLetterSink, EventStore, LeaseStore, Nudge, ReadModel};
use azure_data_cosmos::ContainerClient;

use crate::settings::{Namespace, Settings, credential};

/// The topic with the subscriptions `billing` and `fulfilment`.
pub const TOPIC: &str = "orders";
/// The event hub with the consumer group `analytics`.
pub const EVENT_HUB: &str = "order-events";

const EVENTS: &str = "events";
const LEASES: &str = "leases";
const READ_MODELS: &str = "readmodels";
const DEAD_LETTERS: &str = "deadletters";
const STATUS: &str = "status";

/// Everything that is kept in Cosmos DB, and the way to the two brokers. Clones share connections.
#[derive(Clone)]
pub struct Services {
    /// Where the services are.
    pub settings: Settings,
    /// The orders' streams.
    pub store: Arc<dyn EventStore>,
    /// Their commits.
    pub feed: Arc<CosmosCommitFeed>,
    /// Progress of relays and of the Event Hubs consumer.
    pub leases: Arc<dyn LeaseStore>,
    /// What the consumers keep.
    pub read_model: Arc<dyn ReadModel>,
    /// Events that could not be handled or published.
    pub dead_letters: Arc<dyn DeadLetterSink>,
    /// What the consumers say of themselves.
    pub status: ContainerClient,
    /// Rung by every append in this process.
    pub nudge: Nudge,
}

impl Services {
    /// Connects to what [`provision`](crate::provision::run) has created.
    ///
    /// # Errors
    /// When the account can't be reached or a container is missing.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let cosmos = connect(&settings).await?;
        let nudge = Nudge::new();
        let missing = "run `retail provision` first";
        let store = CosmosEventStore::open(&cosmos, EVENTS)
            .await
            .context(missing)?
            .with_nudge(nudge.clone());
        Ok(Self {
            store: Arc::new(store),
            feed: Arc::new(CosmosCommitFeed::open(&cosmos, EVENTS).await.context(missing)?),
            leases: Arc::new(CosmosLeases::open(&cosmos, LEASES).await.context(missing)?),
            read_model: Arc::new(CosmosReadModel::open(&cosmos, READ_MODELS).await.context(missing)?),
            dead_letters: Arc::new(
                CosmosDeadLetters::open(&cosmos, DEAD_LETTERS, "retail")
                    .await
                    .context(missing)?,
            ),
            status: cosmos.container(STATUS).await.context(missing)?,
            nudge,
            settings,
        })
    }

    /// A connection to Service Bus of its own.
    ///
    /// # Errors
    /// A connection string that can't be read, or no identity.
    pub fn service_bus(&self) -> Result<ServiceBusClient> {
        Ok(match &self.settings.servicebus {
            Namespace::ConnectionString(text) => ServiceBusClient::from_connection_string(text)?,
            Namespace::Host(host) => ServiceBusClient::new(host, credential()?, ClientOptions::default())?,
        })
    }

    /// Event Hubs.
    ///
    /// # Errors
    /// A connection string that can't be read, or no identity.
    pub fn event_hubs(&self) -> Result<EventHubs> {
        Ok(match &self.settings.eventhubs {
            Namespace::ConnectionString(text) => EventHubs::from_connection_string(text)?,
            Namespace::Host(host) => EventHubs::new(host.as_str(), credential()?),
        })
    }
}

/// The database, which need not exist yet.
///
/// # Errors
/// When the account can't be reached.
pub async fn connect(settings: &Settings) -> Result<Cosmos> {
    let config = match &settings.cosmos_key {
        Some(key) => CosmosConfig::with_key(&settings.cosmos_endpoint, key, &settings.database),
        None => CosmosConfig::with_credential(&settings.cosmos_endpoint, credential()?, &settings.database),
    };
    Ok(Cosmos::connect(config).await?)
}

/// The containers of this example, for [`provision`](crate::provision::run); bicep/main.bicep has the same.
pub fn containers() -> [ContainerSpec; 5] {
    [
        ContainerSpec::events(EVENTS),
        ContainerSpec::leases(LEASES),
        ContainerSpec::read_model(READ_MODELS),
        ContainerSpec::dead_letters(DEAD_LETTERS),
        ContainerSpec::read_model(STATUS),
    ]
}
