//! Cosmos DB over HTTP: a socket around Microsoft's own in-memory emulator.
//!
//! What a request means (partitions, batches, queries, the change feed, request units) is decided
//! in `azure_data_cosmos_driver`. Here are the parts it leaves out, because its own tests replace
//! the transport: a listener for HTTP/1.1 and HTTP/2 without TLS, the account's endpoint, and faults.
//!
//! Requests are not authenticated: any key is taken. [`KEY`] exists because clients insist on one.

mod exchange;
mod responses;
mod server;
mod service;

pub(crate) use server::CosmosServer;

/// The account key clients are told, base64 as they expect it. It is public and protects nothing.
pub(crate) const KEY: &str = "YXpldmVudHMtZW11bGF0b3I6IGEgcHVibGljIGtleSB0aGF0IHByb3RlY3RzIG5vdGhpbmcgYXQgYWxsLCBvaw==";
