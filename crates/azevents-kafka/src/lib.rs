//! The `azevents` [`Publisher`](azevents_core::Publisher) and [`Consumer`](azevents_core::Consumer) over
//! Kafka: the Kafka endpoint of Event Hubs, and any other cluster, through `librdkafka`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use azevents_core::{Consumer, Message, Pipeline, Publisher};
//! # use azevents_kafka::Kafka;
//! # use tokio_util::sync::CancellationToken;
//! # async fn run(
//! #     credential: Arc<dyn azure_core::credentials::TokenCredential>, messages: Vec<Message>, pipeline: Arc<Pipeline>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let kafka = Kafka::event_hubs("shop.servicebus.windows.net", credential);
//!
//! let publisher = kafka.publisher("order-events");
//! publisher.publish(&messages).await?;
//!
//! let parking = Arc::new(kafka.dead_letters("order-events-parked"));
//! let consumer = kafka.consumer("order-events", "analytics", parking);
//! consumer.run(pipeline, CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A key keeps its partition (Kafka's murmur2, as the Java client places it) and its order: the producer is
//! idempotent and never leaves a gap behind. A consumer commits only offsets before which everything is
//! handled or parked, works on many keys of a partition at once, and pauses a partition that is ahead of its
//! handlers.
//!
//! The crate compiles `librdkafka` and, unless `OPENSSL_NO_VENDOR=1` is set, OpenSSL from sources: that takes a
//! C compiler, make, perl and some minutes, once.

mod client;
mod consumer;
mod dead_letters;
mod error;
mod kafka;
mod message;
mod publisher;
mod security;
mod token;

pub use azevents_core::dead_letter::{DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON, PARKED_OFFSET, PARKED_SOURCE};
pub use consumer::{ConsumerOptions, KafkaConsumer, StartFrom};
pub use dead_letters::KafkaDeadLetters;
pub use kafka::Kafka;
pub use publisher::{KafkaPublisher, PublisherOptions};
