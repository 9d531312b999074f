//! Event store, commit feed, leases, inbox and read models on Azure Cosmos DB.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`connection`] | one account and database: [`Cosmos`] |
//! | [`provisioning`] | creating the containers that the rest needs |
//! | [`store`] | [`CosmosEventStore`]: one append, one request, one immutable document; snapshots beside them |
//! | [`documents`] | [`DocumentWrite`]: the user's own documents in the same transaction |
//! | [`feed`] | [`CosmosCommitFeed`]: every commit, from the change feed |
//! | [`tenant_feed`] | [`CosmosTenantFeed`]: those of one tenant |
//! | [`leases`] | [`CosmosLeases`]: who reads which part of the feed, and how far |
//! | [`inbox`] | [`CosmosInbox`]: which messages have been handled |
//! | [`outbox`] | [`CosmosOutbox`]: documents of a service without events, and messages about them |
//! | [`read_model`] | [`CosmosReadModel`]: documents changed exactly once per message |
//! | [`dead_letters`] | [`CosmosDeadLetters`]: messages set aside with a reason |
//!
//! What the documents look like, and what each operation costs, is in `docs/storage-model.md`.
//!
//! ```no_run
//! use azevents_core::{EventStore, ExpectedVersion, NewEvent, StreamId};
//! use azevents_cosmos::{ContainerSpec, Cosmos, CosmosConfig, CosmosEventStore};
//!
//! # async fn doc() -> azevents_core::Result<()> {
//! let cosmos = Cosmos::connect(CosmosConfig::from_env(None)?).await?;
//! cosmos.provision(&[ContainerSpec::events("events")]).await?;
//! let store = CosmosEventStore::open(&cosmos, "events").await?;
//!
//! let placed = NewEvent::json("OrderPlaced", &serde_json::json!({ "country": "France" }))?;
//! let stream = StreamId::new("order-536365")?;
//! let outcome = store.append(&stream, ExpectedVersion::NoStream, vec![placed]).await?;
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```

pub mod connection;
mod continuation;
mod costs;
pub mod dead_letters;
mod doc;
pub mod documents;
mod error;
pub mod feed;
mod ids;
pub mod inbox;
mod items;
pub mod leases;
pub mod outbox;
mod pages;
pub mod provisioning;
pub mod read_model;
mod requests;
pub mod store;
pub mod tenant_feed;
mod wire;

pub use connection::{Cosmos, CosmosConfig};
pub use dead_letters::CosmosDeadLetters;
pub use documents::{DocumentWrite, StoredDocument};
pub use feed::CosmosCommitFeed;
pub use inbox::CosmosInbox;
pub use leases::CosmosLeases;
pub use outbox::{Committed, CosmosOutbox, Transaction};
pub use provisioning::ContainerSpec;
pub use read_model::CosmosReadModel;
pub use store::{Append, Appended, CosmosEventStore, CosmosTenants};
pub use tenant_feed::CosmosTenantFeed;
