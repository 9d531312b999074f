//! Service Bus' administration API: Atom documents over HTTP, on a port of its own.
//!
//! "Service Bus entity management REST" in Microsoft's docs. Official administration clients insist
//! on `https`, so they need the emulator's TLS and its certificate; the port also answers without.
//!
//! | request | |
//! | --- | --- |
//! | `PUT`, `GET`, `DELETE /<queue or topic>` | create, update (`If-Match: *`), look at, delete |
//! | the same `/<topic>/subscriptions/<name>`, `…/rules/<name>` | |
//! | `GET /$Resources/queues`, `/$Resources/topics`, `/<topic>/subscriptions`, `…/rules` | in pages |
//! | `GET /$namespaceinfo` | |
//!
//! | what | where |
//! | --- | --- |
//! | which request does what | [`routes`], [`call`] |
//! | answers in Atom, documents of clients | [`atom`], [`document`] |
//! | descriptions, to XML and back | [`queue`], [`topic`], [`subscription`], [`rules`], [`namespace`] |
//! | what they are made of | [`fields`], [`settings`], [`counts`], [`access`], [`values`] |

mod access;
mod atom;
mod call;
mod counts;
mod document;
mod fields;
mod namespace;
mod queue;
#[cfg(test)]
mod round_trip;
mod routes;
mod rules;
mod settings;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;
mod values;

use std::sync::Arc;

use tokio::net::TcpListener;

use self::routes::Administration;
use crate::{amqp::SharedAccessKey, http_server::HttpServer, servicebus::Namespace, transport::Acceptor};

/// The administration API on one port.
#[derive(Debug)]
pub(crate) struct AdministrationServer(HttpServer);

impl AdministrationServer {
    /// Starts answering for a namespace.
    pub(crate) fn start(listener: TcpListener, tls: Acceptor, namespace: Arc<Namespace>, key: SharedAccessKey) -> Self {
        let administration = Arc::new(Administration { namespace, key });
        Self(HttpServer::start(
            listener,
            "administration",
            tls,
            move |request, connection| routes::answer(Arc::clone(&administration), request, connection.is_tls()),
        ))
    }

    /// Stops as [`HttpServer::shutdown`] does.
    pub(crate) async fn shutdown(self) {
        self.0.shutdown().await;
    }
}
