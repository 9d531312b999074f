//! The listener: accepts connections and lets go of them when the emulator stops.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use url::Url;

use super::{
    KEY,
    account::Account,
    authorization::AccountKey,
    service::{self, Service},
};
use crate::{Clock, Database, Faults, http_server::HttpServer, ready::CosmosAddress, transport::Acceptor};

/// A Cosmos DB account on one port.
#[derive(Debug)]
pub(crate) struct CosmosServer {
    endpoint: Url,
    server: HttpServer,
    databases: Databases,
}

/// Where databases and containers are created. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Databases(Arc<Account>);

impl Databases {
    /// Creates what is missing, and calls `note` with each and whether it was there already.
    pub(crate) async fn create_missing(
        &self,
        databases: &[Database],
        note: impl FnMut(String, bool),
    ) -> Result<(), String> {
        self.0.provision(databases, note).await
    }
}

impl CosmosServer {
    /// Starts serving an empty account on a socket that is already bound.
    ///
    /// The socket comes first because the account document names the endpoint clients go on with
    /// after their first request, so the port has to be known before the account exists.
    pub(crate) fn start(
        listener: TcpListener,
        public_address: SocketAddr,
        tls: Acceptor,
        clock: Clock,
        faults: Faults,
    ) -> io::Result<Self> {
        let endpoint = Url::parse(&format!("http://{public_address}/")).map_err(io::Error::other)?;
        let key = AccountKey::new(KEY).ok_or_else(|| io::Error::other("the account key is not base64"))?;
        let account = Account::new(endpoint.clone(), clock).map_err(io::Error::other)?;
        let databases = Databases(Arc::clone(&account));
        let service = Arc::new(Service::new(account, key, faults));
        let server = HttpServer::start(listener, "cosmos", tls, move |request, connection| {
            service::answer(Arc::clone(&service), request, connection)
        });
        Ok(Self {
            endpoint,
            server,
            databases,
        })
    }

    pub(crate) fn databases(&self) -> &Databases {
        &self.databases
    }

    /// Where clients connect, and the key they are told.
    pub(crate) fn address(&self) -> CosmosAddress {
        CosmosAddress {
            endpoint: self.endpoint.to_string(),
            key: KEY.to_owned(),
        }
    }

    /// Stops accepting, lets requests being answered finish, and closes every connection.
    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
