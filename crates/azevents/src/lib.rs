//! Event sourcing and messaging on Azure.
//!
//! A service appends its events to Cosmos DB; a relay publishes every committed event to Service Bus or
//! Event Hubs; consumers handle each one with one effect, in order per stream.
//!
//! ```text
//! command -> Aggregate -> EventStore -> change feed -> Relay -> Publisher
//!                                                                   |
//!                     read model <- Handler <- Pipeline <- Consumer <-
//! ```
//!
//! This crate re-exports [`azevents_core`], which holds the traits and the engine, and one adapter per
//! feature:
//!
//! | feature | module | what |
//! | --- | --- | --- |
//! | `cosmos` | `azevents::cosmos` | event store, commit feed, leases, inbox, read models |
//! | `servicebus` | `azevents::servicebus` | a Service Bus client, publisher and consumer |
//! | `eventhubs` | `azevents::eventhubs` | publisher and consumer |
//! | `blobs` | `azevents::eventhubs::BlobLeases` | leases and checkpoints in Blob Storage |
//! | `kafka` | `azevents::kafka` | publisher and consumer over Kafka, Event Hubs' endpoint or any; compiles librdkafka |
//!
//! Without features it is the engine with its in-memory implementations, which is enough to start with:
//!
//! ```
//! use azevents::memory::MemoryStore;
//! use azevents::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> azevents::Result<()> {
//! let store = MemoryStore::new();
//! let stream: StreamId = "order-536365".parse()?;
//! let placed = NewEvent::json("OrderPlaced", "United Kingdom")?;
//! match store.append(&stream, ExpectedVersion::NoStream, vec![placed]).await? {
//!     AppendOutcome::Committed(commit) => assert_eq!(commit.head().version, Version::FIRST),
//!     AppendOutcome::Conflict(conflict) => println!("somebody was first: {:?}", conflict.unseen),
//! }
//! # Ok(())
//! # }
//! ```

pub use azevents_core::*;

#[cfg(feature = "cosmos")]
pub use azevents_cosmos as cosmos;
#[cfg(feature = "eventhubs")]
pub use azevents_eventhubs as eventhubs;
#[cfg(feature = "kafka")]
pub use azevents_kafka as kafka;
#[cfg(feature = "servicebus")]
pub use azevents_servicebus as servicebus;

/// What most files of a service need: `use azevents::prelude::*;`.
pub mod prelude {
    pub use azevents_core::{
        Aggregate, Aggregates, AppendOutcome, Consumer, Delivery, EventStore, ExpectedVersion, Handled, Handler,
        HandlerError, Message, NewEvent, Pipeline, Publisher, ReadModel, RecordedEvent, Relay, RelayOptions, StreamId,
        Update, Version,
    };
}

/// Compiles the README's example.
#[cfg(all(doctest, feature = "cosmos", feature = "servicebus"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
