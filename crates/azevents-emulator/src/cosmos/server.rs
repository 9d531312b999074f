//! The listener: accepts connections and lets go of them when the emulator stops.

use std::{io, net::SocketAddr, sync::Arc};

use azure_data_cosmos_driver::in_memory_emulator::{
    ConsistencyLevel, InMemoryEmulatorHttpClient, ReplicationConfig, VirtualAccountConfig, VirtualRegion,
};
use tokio::net::TcpListener;
use url::Url;

use super::{
    KEY,
    service::{self, Account},
};
use crate::{Faults, http_server::HttpServer, ready::CosmosAddress};

/// Region names must be Azure's, or clients that sort regions by distance ignore the account's.
const REGION: &str = "East US";

/// A Cosmos DB account on one port.
#[derive(Debug)]
pub(crate) struct CosmosServer {
    endpoint: Url,
    server: HttpServer,
}

impl CosmosServer {
    /// Starts serving an empty account on a socket that is already bound.
    ///
    /// The socket comes first because the account document names the endpoint clients go on with
    /// after their first request, so the port has to be known before the account exists.
    pub(crate) fn start(listener: TcpListener, public_address: SocketAddr, faults: Faults) -> io::Result<Self> {
        let endpoint = Url::parse(&format!("http://{public_address}/")).map_err(io::Error::other)?;
        let region = VirtualRegion::new(REGION, endpoint.clone());
        let config = VirtualAccountConfig::new(vec![region])
            .map_err(io::Error::other)?
            .with_account_id("azevents-emulator")
            .with_consistency(ConsistencyLevel::Session)
            .with_replication_config(ReplicationConfig::immediate());
        let emulator = InMemoryEmulatorHttpClient::try_new(config).map_err(io::Error::other)?;
        let account = Arc::new(Account::new(emulator, endpoint.clone(), faults));
        let server = HttpServer::start(listener, "cosmos", move |request, connection| {
            service::answer(Arc::clone(&account), request, connection)
        });
        Ok(Self { endpoint, server })
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
