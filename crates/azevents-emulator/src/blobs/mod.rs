//! The part of Azure Blob Storage that checkpoint stores and claim checks use, on one port.
//!
//! Addresses are path-style as Azurite's: `http://127.0.0.1:PORT/devstoreaccount1/container/blob`.
//! Operations, headers and error codes are those of the "Blob service REST API" in Microsoft's docs.
//!
//! Dates are the system's, which is what clients compare the age of an ownership with; only leases go by the
//! emulator's own clock.
//!
//! | operation | |
//! | --- | --- |
//! | containers: create, properties, metadata, delete, list | yes |
//! | block blobs: put, get, ranges, properties, metadata, HTTP headers, delete | yes |
//! | blocks: put, commit, list | yes |
//! | list blobs: prefix, delimiter, metadata, pages | yes |
//! | conditions by etag and by time | yes |
//! | Shared Key, account SAS, service SAS | checked |
//! | bearer tokens | any JWT that has not expired and has the claims asked for |
//! | leases of blobs and containers | yes |
//! | snapshots, versions, tags, tiers, copies, append and page blobs, batches | 501 |

mod account;
mod auth;
mod blob_ops;
mod blocks;
mod call;
mod conditions;
mod container_ops;
mod error;
mod lease;
mod lease_ops;
mod list;
mod model;
mod provision;
mod reply;
mod server;
mod service;

pub(crate) use provision::BlobContainers;
pub(crate) use server::BlobServer;
