//! The three consumers. Each is a handler that changes documents of a read model, once per message.
//!
//! | consumer | receives from | keeps |
//! | --- | --- | --- |
//! | [`billing`] | a Service Bus subscription | revenue by country |
//! | [`fulfilment`] | a Service Bus subscription with sessions | units by stock code, every order's lines |
//! | [`analytics`] | an Event Hub | lines by day |
//!
//! A document that every message changes would be changed by one writer at a time. So each consumer
//! spreads its documents over [`SHARDS`] partitions by the order's number, and the report adds them up.

pub mod analytics;
pub mod billing;
pub mod fulfilment;

use std::sync::Arc;

use azevents::{Handler, InboxKey, Message, ReadModel, Update};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Partitions per consumer.
pub const SHARDS: u32 = 4;

/// The document in every shard that counts what the shard has seen.
pub const TOTALS: &str = "totals";

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Name {
    /// Revenue by country.
    Billing,
    /// Units by stock code.
    Fulfilment,
    /// Lines by day.
    Analytics,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Billing, Self::Fulfilment, Self::Analytics];

    /// The name in subscriptions, consumer groups and read models.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Billing => "billing",
            Self::Fulfilment => "fulfilment",
            Self::Analytics => "analytics",
        }
    }

    /// Its handler, writing to `model`.
    pub fn handler(self, model: Arc<dyn ReadModel>) -> Arc<dyn Handler> {
        match self {
            Self::Billing => Arc::new(billing::Billing::new(model)),
            Self::Fulfilment => Arc::new(fulfilment::Fulfilment::new(model)),
            Self::Analytics => Arc::new(analytics::Analytics::new(model)),
        }
    }

    /// The partition of one of its shards.
    pub fn partition(self, shard: u32) -> String {
        format!("{}-{shard:02}", self.as_str())
    }
}

/// What a shard has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages whose effect was made.
    pub lines: u64,
}

/// How far an order's lines have arrived, to check their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The version of the last line.
    pub version: u64,
    /// Lines that came before an earlier one.
    pub violations: u64,
}

impl Arrival {
    /// Takes note of the next line. Copies never get here: their mark stops them.
    pub fn saw(&mut self, version: u64) {
        self.violations += u64::from(version != self.version + 1);
        self.version = self.version.max(version);
    }
}

/// An update by `message` in its consumer's shard, which counts it.
fn update(consumer: Name, message: &Message) -> Update {
    let key = InboxKey::new(consumer.as_str(), message.id.clone());
    let partition = consumer.partition(shard_of(&message.key));
    Update::new(key, partition).change(TOTALS, |totals: &mut Totals| totals.lines += 1)
}

/// The version of the line in its order.
fn version_of(message: &Message) -> azevents::Result<u64> {
    message.version().map(azevents::Version::get).ok_or_else(|| {
        azevents::Error::new(azevents::ErrorKind::Corrupt, "read message", &message.id).with_message(format!(
            "the header {} is missing or no number",
            azevents::message::VERSION
        ))
    })
}

/// The shard of an order: FNV-1a, which is the same in every process and every release.
fn shard_of(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % SHARDS
}
