//! One relay per destination, so that a slow broker holds up only itself.

use std::sync::Arc;

use anyhow::Result;
use azevents::servicebus::ServiceBusPublisher;
use azevents::{LeaseStore, Publisher, Relay, RelayOptions};
use clap::ValueEnum;

use crate::services::{EVENT_HUB, Services, TOPIC};

/// Where events are published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Destination {
    /// The topic.
    #[value(name = "servicebus")]
    ServiceBus,
    /// The event hub.
    #[value(name = "eventhubs")]
    EventHubs,
}

impl Destination {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ServiceBus, Self::EventHubs];

    /// The name under which its relay's progress is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceBus => "relay-servicebus",
            Self::EventHubs => "relay-eventhubs",
        }
    }
}

/// The relay to a destination, with a connection of its own.
///
/// # Errors
/// A connection string that can't be read, or no identity.
pub fn relay(
    services: &Services,
    destination: Destination,
    leases: Arc<dyn LeaseStore>,
    options: RelayOptions,
) -> Result<Relay> {
    let publisher: Arc<dyn Publisher> = match destination {
        Destination::ServiceBus => Arc::new(ServiceBusPublisher::new(&services.service_bus()?, TOPIC)),
        Destination::EventHubs => Arc::new(services.event_hubs()?.publisher(EVENT_HUB)),
    };
    let relay = Relay::new(destination.as_str(), services.feed.clone(), leases, publisher, options)
        .with_nudge(services.nudge.clone())
        .with_parking(services.dead_letters.clone());
    Ok(relay)
}
