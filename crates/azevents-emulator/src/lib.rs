//! Cosmos DB, Service Bus, Event Hubs and Blob Storage in one process on loopback, for tests and for
//! development.
//!
//! Official Azure clients connect to it as they do to Azure: over HTTP for Cosmos DB and blobs, over
//! AMQP 1.0 for the other two. It holds everything in memory and forgets it when it stops, unless it is
//! given a [`DataFolder`] for what it can keep.
//!
//! ```
//! use azevents_emulator::{Emulator, Queue, Subscription, Topic};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::builder()
//!     .queue(Queue::new("invoices").with_max_delivery_count(3))
//!     .topic(Topic::new("orders").with_subscription(Subscription::new("billing").with_sessions()))
//!     .event_hub("order-events")
//!     .start()
//!     .await?;
//! println!("{}", emulator.ready().to_json());
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | what | where |
//! | --- | --- |
//! | start, stop, addresses | [`Emulator`], [`EmulatorBuilder`], [`Ready`] |
//! | entities, in code, from TOML or from Microsoft's `Config.json` | [`Topology`] |
//! | failures on purpose | [`Faults`], [`FaultPlan`] |
//! | time that jumps ahead | [`Clock`] |
//!
//! The program `azevents-emulator` is the same with a command line.
//!
//! What the emulator does not have fails with an error that says so. It checks
//! signatures as Azure does, although all its keys are public.

mod administration;
mod amqp;
mod blobs;
mod builder;
mod clock;
#[cfg(feature = "cosmos")]
mod cosmos;
mod emulator;
mod entities;
mod error;
mod eventhubs;
mod faults;
mod http_server;
mod management;
mod ready;
mod servicebus;
mod state;
mod token;
mod topology;
mod transport;
mod xml;

pub use builder::EmulatorBuilder;
pub use clock::Clock;
#[cfg(feature = "cosmos")]
pub use cosmos::{CosmosRegion, CosmosRegions, Partitions, RegionError};
pub use emulator::Emulator;
pub use error::{Port, StartError};
pub use faults::{FaultCount, FaultKind, FaultPlan, FaultRule, Faults};
pub use ready::{BlobAddress, CosmosAddress, DataAddress, ManagementAddress, NamespaceAddress, Ready, TlsAddress};
pub use state::{DataError, DataFolder};
pub use topology::{
    AuthorizationRule, Container, CorrelationFilter, Database, EntityStatus, EventHub, Filter, PropertyValue, Queue,
    Rule, Subscription, TimeToLive, Topic, Topology, TopologyError,
};
pub use transport::{Tls, TlsError};
