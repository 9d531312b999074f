//! Cosmos DB over HTTP: a socket around Microsoft's own in-memory emulator.
//!
//! What a request means (partitions, preconditions, queries, errors) is decided in
//! `azure_data_cosmos_driver`. Here is what it leaves out, because its own tests replace the
//! transport and hold few items:
//!
//! | what | where |
//! | --- | --- |
//! | a listener for HTTP/1.1 and HTTP/2 without TLS | [`server`], [`exchange`] |
//! | faults | [`service`] |
//! | which requests may run beside each other | [`account`], [`target`], [`containers`] |
//! | batches and the change feed in time that doesn't grow with the container | [`batch`], [`changes`] |
//! | time to live | [`expiry`] |
//! | conditions of patches; bulk | [`patch`], [`bulk`] |
//! | partitions that split and merge on request | [`partitions`] |
//! | what a request costs, and how much there is to spend | [`charge`], [`throughput`] |
//! | what outlives the process | [`kept`] |
//!
//! Requests are signed with [`KEY`] or bring a token of Entra, see [`authorization`].

mod account;
mod authorization;
mod batch;
mod bulk;
mod changes;
mod charge;
mod containers;
mod definitions;
mod depth;
#[cfg(test)]
mod differential;
mod engine;
mod exchange;
mod expiry;
mod item;
mod kept;
mod partitions;
mod patch;
mod provision;
mod regions;
mod responses;
mod server;
mod service;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod throughput;
mod writes;

pub(crate) use account::Limits;
pub use partitions::Partitions;
pub use regions::{CosmosRegion, CosmosRegions, RegionError};
pub(crate) use server::{CosmosServer, CosmosStartError, Databases, RegionSocket};

/// The account key clients are told, base64 as they expect it. It is public and protects nothing;
/// clients must sign with it all the same, so that one that doesn't is found out here.
pub(crate) const KEY: &str = "YXpldmVudHMtZW11bGF0b3I6IGEgcHVibGljIGtleSB0aGF0IHByb3RlY3RzIG5vdGhpbmcgYXQgYWxsLCBvaw==";
