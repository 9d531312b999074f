//! The `azevents` [`Publisher`](azevents_core::Publisher) and [`Consumer`](azevents_core::Consumer) on
//! Azure Event Hubs, through the official `azure_messaging_eventhubs`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use azevents_core::{Consumer, DeadLetterSink, LeaseStore, Message, Pipeline, Publisher};
//! # use azevents_eventhubs::EventHubs;
//! # use tokio_util::sync::CancellationToken;
//! # async fn run(
//! #     credential: Arc<dyn azure_core::credentials::TokenCredential>, messages: Vec<Message>,
//! #     leases: Arc<dyn LeaseStore>, parking: Arc<dyn DeadLetterSink>, pipeline: Arc<Pipeline>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let hubs = EventHubs::new("shop.servicebus.windows.net", credential);
//!
//! let publisher = hubs.publisher("order-events");
//! publisher.publish(&messages).await?;
//!
//! let consumer = hubs.consumer("order-events", "analytics", leases, parking);
//! consumer.run(pipeline, CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What the SDK leaves to its users is done here: sending side by side without reordering a key, order
//! per key with concurrency inside a partition, checkpoints that never pass an unfinished event, and a
//! way out for events that cannot be handled, which Event Hubs itself does not have.
//!
//! The SDK runs on one thread per [`EventHubs`]; handlers run wherever
//! [`run`](azevents_core::Consumer::run) was called.

#[cfg(feature = "blobs")]
mod blobs;
mod connection_string;
mod consumer;
mod driver;
mod error;
mod lag;
mod message;
mod namespace;
mod parking;
mod publisher;
mod replay;

pub use azevents_core::dead_letter::{
    DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON, PARKED_OFFSET, PARKED_SEQUENCE_NUMBER, PARKED_SOURCE,
};
#[cfg(feature = "blobs")]
pub use blobs::BlobLeases;
pub use consumer::{ConsumerOptions, EventHubConsumer, StartFrom};
pub use lag::PartitionLag;
pub use namespace::EventHubs;
pub use parking::{EventHubDeadLetters, Redrive};
pub use publisher::{EventHubPublisher, Placement, PublisherOptions, Receipt};
pub use replay::{Replay, ReplayFrom, ReplayOptions, ReplayUntil};
