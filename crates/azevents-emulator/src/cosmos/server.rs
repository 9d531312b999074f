//! The listener: accepts connections and lets go of them when the emulator stops.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use url::Url;

use super::{
    KEY,
    account::{Account, Limits},
    authorization::AccountKey,
    kept,
    partitions::Partitions,
    regions::CosmosRegions,
    service::{self, Service},
};
use crate::{
    Clock, Database, Faults,
    http_server::HttpServer,
    ready::CosmosAddress,
    state::{DataError, Folder},
    token::Tokens,
    transport::Acceptor,
};

/// A Cosmos DB account, one port for each region.
#[derive(Debug)]
pub(crate) struct CosmosServer {
    endpoint: Url,
    servers: Vec<HttpServer>,
    partitions: Partitions,
    databases: Databases,
    regions: CosmosRegions,
}

/// Why an account can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CosmosStartError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Where a region is served.
pub(crate) struct RegionSocket {
    pub(crate) region: String,
    pub(crate) listener: TcpListener,
    /// What clients are told.
    pub(crate) address: SocketAddr,
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
    /// Starts serving an empty account, one socket that is already bound for each region.
    ///
    /// The sockets come first because the account document names the endpoints clients go on with
    /// after their first request, so the ports have to be known before the account exists.
    ///
    /// With a folder, the account has what is kept there before anybody is answered.
    pub(crate) async fn start(
        sockets: Vec<RegionSocket>,
        tls: &Acceptor,
        tokens: &Tokens,
        clock: Clock,
        faults: &Faults,
        folder: Option<&Folder>,
        limits: Limits,
    ) -> Result<Self, CosmosStartError> {
        let endpoint = |socket: &RegionSocket| Url::parse(&format!("http://{}/", socket.address));
        let endpoints: Vec<Url> = sockets
            .iter()
            .map(endpoint)
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        let names = sockets.iter().map(|socket| socket.region.clone());
        let regions = names.zip(endpoints.iter().cloned()).collect();
        let key =
            AccountKey::new(KEY, tokens.clone()).ok_or_else(|| io::Error::other("the account key is not base64"))?;
        let account = Account::new(regions, clock, limits).map_err(io::Error::other)?;
        if let Some(folder) = folder {
            kept::restore(&account, folder).await?;
        }
        let first = endpoints
            .first()
            .cloned()
            .ok_or_else(|| io::Error::other("an account has a region"))?;
        let servers = sockets.into_iter().zip(endpoints).map(|(socket, endpoint)| {
            let service = Arc::new(Service::new(
                Arc::clone(&account),
                endpoint,
                key.clone(),
                faults.clone(),
            ));
            HttpServer::start(socket.listener, "cosmos", tls.clone(), move |request, connection| {
                service::answer(Arc::clone(&service), request, connection)
            })
        });
        Ok(Self {
            endpoint: first,
            servers: servers.collect(),
            partitions: Partitions::new(Arc::clone(&account)),
            databases: Databases(Arc::clone(&account)),
            regions: CosmosRegions(account),
        })
    }

    pub(crate) fn regions(&self) -> &CosmosRegions {
        &self.regions
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

    /// The physical partitions of its containers.
    pub(crate) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Stops accepting, lets requests being answered finish, closes every connection, and lets go of the folder.
    pub(crate) async fn shutdown(self) {
        futures::future::join_all(self.servers.into_iter().map(HttpServer::shutdown)).await;
        self.databases.0.keeper.close().await;
    }
}
