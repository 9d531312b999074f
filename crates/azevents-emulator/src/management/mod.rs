//! The emulator's own HTTP endpoint: is it up, what exists, what goes wrong on purpose.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /health` | | `{"status":"ok"}` |
//! | `GET /ready` | | the line printed at the start |
//! | `PUT /topology` | a `Config.json`, or TOML with `Content-Type: application/toml` | `{"created":[…],"existing":[…]}`; creates what is missing |
//! | `GET /clock` | | `{"now":"2026-01-31T12:00:00.000Z","advanced_ms":0}` |
//! | `POST /clock` | `{"advance_ms":60000}` | the same, after the jump |
//! | `GET /cosmos/regions` | | `[{"name","endpoint","online","writes"}]` |
//! | `POST /cosmos/regions` | `{"region":"West US","fail_over":true}` or `{"region":"West US","online":false}` | the same, after the change |
//! | `GET /faults` | | the plan in force and what it has injected |
//! | `PUT /faults` | a [`FaultPlan`](crate::FaultPlan) | the same; the plan starts from its beginning |
//! | `DELETE /faults` | | the same; nothing is injected any more |
//! | `GET /partitions/{database}/{container}` | | `{"partitions":[0]}`: the physical partitions of a container |
//! | `POST /partitions/{database}/{container}` | `{"split":0}` or `{"merge":[1,2]}` | the same, after the change |
//!
//! Anything else is a 4xx with `{"error":"a sentence"}`.

#[cfg(feature = "cosmos")]
mod partitions;
mod reply;
mod routes;

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::{
    Clock, Faults, Ready, blobs::BlobContainers, entities::Entities, http_server::HttpServer, transport::Acceptor,
};

/// The management endpoint on one port.
#[derive(Debug)]
pub(crate) struct ManagementServer(HttpServer);

/// What requests read and change.
#[derive(Debug)]
pub(crate) struct Managed {
    #[cfg(feature = "cosmos")]
    pub(crate) partitions: crate::Partitions,
    pub(crate) ready: Ready,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) entities: Entities,
    pub(crate) blob_containers: BlobContainers,
    #[cfg(feature = "cosmos")]
    pub(crate) databases: crate::cosmos::Databases,
    #[cfg(feature = "cosmos")]
    pub(crate) regions: crate::CosmosRegions,
}

impl ManagementServer {
    /// Starts answering. Last of all services: who gets an answer here can rely on the others.
    pub(crate) fn start(listener: TcpListener, tls: Acceptor, managed: Managed) -> Self {
        let managed = Arc::new(managed);
        Self(HttpServer::start(
            listener,
            "management",
            tls,
            move |request, _connection| routes::answer(Arc::clone(&managed), request),
        ))
    }

    /// Stops as [`HttpServer::shutdown`] does.
    pub(crate) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}
