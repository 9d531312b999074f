//! The listener, and the address clients are told.

use std::{net::SocketAddr, sync::Arc};

use time::OffsetDateTime;
use tokio::net::TcpListener;

use super::{
    account::Account,
    auth::Keys,
    provision::BlobContainers,
    service::{self, Service},
};
use crate::{
    Clock,
    http_server::HttpServer,
    ready::BlobAddress,
    state::{DataError, Folder},
    token::Tokens,
    transport::Acceptor,
};

/// A storage account on one port.
#[derive(Debug)]
pub(crate) struct BlobServer {
    address: BlobAddress,
    server: HttpServer,
    account: Arc<Account>,
}

impl BlobServer {
    /// Starts serving what is kept in the folder on a socket that is already bound.
    pub(crate) fn start(
        listener: TcpListener,
        public_address: SocketAddr,
        tls: Acceptor,
        tokens: Tokens,
        clock: Clock,
        folder: Option<&Folder>,
    ) -> Result<Self, DataError> {
        let keys = Keys::well_known(tokens);
        let address = BlobAddress::new(
            public_address,
            keys.account(),
            &keys.key(),
            &keys.account_sas(OffsetDateTime::now_utc()),
        );
        let account = Account::open(clock, folder)?;
        let service = Arc::new(Service {
            account: Arc::clone(&account),
            keys,
        });
        let server = HttpServer::start(listener, "blobs", tls, move |request, connection| {
            service::answer(Arc::clone(&service), request, connection.is_tls())
        });
        Ok(Self {
            address,
            server,
            account,
        })
    }

    pub(crate) fn containers(&self) -> BlobContainers {
        BlobContainers(Arc::clone(&self.account))
    }

    /// Where clients connect, and with what.
    pub(crate) fn address(&self) -> BlobAddress {
        self.address.clone()
    }

    /// Stops as [`HttpServer::shutdown`] does, and lets go of the folder.
    pub(crate) async fn shutdown(self) {
        self.server.shutdown().await;
        self.account.journal().close().await;
    }
}
