//! What the event store does beyond the promises that every store makes.

#[path = "../common/mod.rs"]
mod common;
mod costs;
mod feed;
mod histories;
mod outbox;
mod provisioning;
mod relay;
mod resilience;
mod support;
mod tenancy;
mod together;
mod ttl;
