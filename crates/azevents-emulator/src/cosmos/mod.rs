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
//! | what a request costs | [`charge`] |
//!
//! Requests are not authenticated: any key is taken. [`KEY`] exists because clients insist on one.

mod account;
mod batch;
mod changes;
mod charge;
mod containers;
#[cfg(test)]
mod differential;
mod engine;
mod exchange;
mod item;
mod responses;
mod server;
mod service;
mod target;

pub(crate) use server::CosmosServer;

/// The account key clients are told, base64 as they expect it. It is public and protects nothing.
pub(crate) const KEY: &str = "YXpldmVudHMtZW11bGF0b3I6IGEgcHVibGljIGtleSB0aGF0IHByb3RlY3RzIG5vdGhpbmcgYXQgYWxsLCBvaw==";
