//! Starts the services in order and stops them together.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpListener;

use crate::{
    Clock, EmulatorBuilder, Faults, Port, Ready, StartError, TopologyError,
    administration::AdministrationServer,
    amqp::{Listener, ListenerOptions, Service, SharedAccessKey},
    blobs::BlobServer,
    entities::Entities,
    management::{Managed, ManagementServer},
    ready::{DataAddress, ManagementAddress, NamespaceAddress, TlsAddress},
    servicebus::{NamespaceConfig, ServiceBus},
    state::Folder,
    token::Tokens,
    transport::Acceptor,
};

/// The shared access key of both namespaces. It is public and protects nothing; clients must sign
/// with it all the same, so that a service that doesn't is found out here.
const KEY_NAME: &str = "RootManageSharedAccessKey";
const KEY: &str = "YXpldmVudHMtZW11bGF0b3I6IGEgcHVibGljIGtleSE=";

/// A running emulator. Dropping it stops it; [`shutdown`](Self::shutdown) also waits until it has.
#[derive(Debug)]
pub struct Emulator {
    ready: Ready,
    clock: Clock,
    faults: Faults,
    #[cfg(feature = "cosmos")]
    cosmos: crate::cosmos::CosmosServer,
    servicebus: Listener,
    eventhubs: Listener,
    blobs: BlobServer,
    administration: AdministrationServer,
    entities: Entities,
    management: ManagementServer,
}

impl Emulator {
    /// Settings to start one with.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    pub(crate) async fn start(settings: EmulatorBuilder) -> Result<Self, StartError> {
        let host = settings.host;
        if !host.is_loopback() && !settings.allow_remote {
            return Err(StartError::NotLoopback { host });
        }
        settings.topology.validate().map_err(inconsistent)?;
        let clock = Clock::start();
        let faults = Faults::none();
        if let Some(plan) = settings.faults {
            faults.set_plan(plan);
        }
        let tls_address = settings.tls.as_ref().map(|tls| TlsAddress {
            ca_pem: tls.ca_pem().to_owned(),
        });
        let tls = Acceptor::from(settings.tls);
        let tokens = Tokens::requiring(settings.claims);
        let key = SharedAccessKey::new(KEY_NAME, KEY).with_tokens(tokens.clone());
        let folder = settings.data.as_ref().map(Folder::open).transpose()?;
        let units = settings.throughput_units;
        let limits = NamespaceConfig::with_largest_message(settings.max_message_size.map(u64::from));
        let entities = Entities::open(key.clone(), limits, units, &clock, &faults, folder.as_ref())?;
        entities.create_missing(&settings.topology).map_err(inconsistent)?;

        let management = bind(Port::Management, host, settings.management_port).await?;
        #[cfg(feature = "cosmos")]
        let cosmos = {
            let mut sockets = Vec::new();
            for region in &settings.cosmos_regions {
                // The further regions' ports are found by clients themselves, in the account.
                let port = if sockets.is_empty() { settings.cosmos_port } else { 0 };
                let bound = bind(Port::Cosmos, host, port).await?;
                sockets.push(crate::cosmos::RegionSocket {
                    region: region.clone(),
                    listener: bound.listener,
                    address: bound.reachable,
                });
            }
            // Each region numbers its items itself, which can't be brought back.
            let folder = folder.as_ref().filter(|_| sockets.len() == 1);
            crate::cosmos::CosmosServer::start(
                sockets,
                &tls,
                &tokens,
                clock.clone(),
                &faults,
                folder,
                settings.cosmos_limits,
            )
            .await
            .map_err(|error| match error {
                crate::cosmos::CosmosStartError::Io(source) => {
                    StartError::listening(Port::Cosmos, host, settings.cosmos_port, source)
                }
                crate::cosmos::CosmosStartError::Data(error) => error.into(),
            })?
        };
        #[cfg(feature = "cosmos")]
        cosmos
            .databases()
            .create_missing(&settings.topology.databases, |_, _| {})
            .await
            .map_err(inconsistent)?;
        let servicebus = serve(
            Port::ServiceBus,
            SocketAddr::new(host, settings.servicebus_port),
            Arc::new(ServiceBus::new(Arc::clone(&entities.servicebus), key.clone())),
            entities.servicebus.config().max_message_size,
            &tls,
            &faults,
        )?;
        let eventhubs = serve(
            Port::EventHubs,
            SocketAddr::new(host, settings.eventhubs_port),
            Arc::clone(&entities.eventhubs) as _,
            // A publication has at most 1 MB ("Event Hubs quotas and limits").
            1024 * 1024,
            &tls,
            &faults,
        )?;

        let blobs = bind(Port::Blobs, host, settings.blobs_port).await?;
        let blobs = BlobServer::start(
            blobs.listener,
            blobs.reachable,
            tls.clone(),
            tokens,
            clock.clone(),
            folder.as_ref(),
        )?;

        blobs
            .containers()
            .create_missing(&settings.topology.blob_containers, |_, _| {})
            .await
            .map_err(inconsistent)?;
        let administration = bind(Port::Administration, host, settings.administration_port).await?;
        let administration_address = NamespaceAddress::new(administration.reachable, KEY_NAME, KEY);
        let administration = AdministrationServer::start(
            administration.listener,
            tls.clone(),
            Arc::clone(&entities.servicebus),
            key,
        );

        #[cfg(feature = "cosmos")]
        let cosmos_address = Some(cosmos.address());
        #[cfg(not(feature = "cosmos"))]
        let cosmos_address = None;
        #[cfg(feature = "cosmos")]
        let cosmos_is_kept = settings.cosmos_regions.len() == 1;
        #[cfg(not(feature = "cosmos"))]
        let cosmos_is_kept = false;
        let kept: &[&str] = &["cosmos", "servicebus", "eventhubs", "blobs"];
        let kept = &kept[usize::from(!cosmos_is_kept)..];
        let namespace = |listener: &Listener| NamespaceAddress::new(reachable(listener.local_addr()), KEY_NAME, KEY);
        let ready = Ready::new(
            cosmos_address,
            namespace(&servicebus),
            namespace(&eventhubs),
            blobs.address(),
            administration_address,
            ManagementAddress {
                endpoint: format!("http://{}/", management.reachable),
            },
            tls_address,
            folder.as_ref().map(|folder| DataAddress {
                path: folder.path().to_owned(),
                kept,
            }),
        );
        let managed = Managed {
            #[cfg(feature = "cosmos")]
            partitions: cosmos.partitions().clone(),
            ready: ready.clone(),
            clock: clock.clone(),
            faults: faults.clone(),
            entities: entities.clone(),
            blob_containers: blobs.containers(),
            #[cfg(feature = "cosmos")]
            databases: cosmos.databases().clone(),
            #[cfg(feature = "cosmos")]
            regions: cosmos.regions().clone(),
        };
        let management = ManagementServer::start(management.listener, tls, managed);
        Ok(Self {
            ready,
            clock,
            faults,
            #[cfg(feature = "cosmos")]
            cosmos,
            servicebus,
            eventhubs,
            blobs,
            administration,
            entities,
            management,
        })
    }

    /// What clients need to connect.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The faults of all services; off unless the builder or a test set a plan.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The physical partitions of Cosmos DB's containers, which a test can split and merge.
    #[cfg(feature = "cosmos")]
    pub fn partitions(&self) -> &crate::Partitions {
        self.cosmos.partitions()
    }

    /// The time of all services, which a test can make jump ahead.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The regions of the Cosmos DB account, to fail over between them.
    #[cfg(feature = "cosmos")]
    pub fn cosmos_regions(&self) -> &crate::CosmosRegions {
        self.cosmos.regions()
    }

    /// Stops all services and waits until their ports are free. Requests being answered get one
    /// second to finish. Dropped while waiting, it goes on stopping in the background.
    pub async fn shutdown(self) {
        #[cfg(feature = "cosmos")]
        let cosmos = self.cosmos.shutdown();
        #[cfg(not(feature = "cosmos"))]
        let cosmos = std::future::ready(());
        tokio::join!(
            cosmos,
            self.servicebus.shutdown(),
            self.eventhubs.shutdown(),
            self.blobs.shutdown(),
            self.administration.shutdown(),
            self.management.shutdown(),
        );
        self.entities.close().await;
    }
}

/// A socket that listens, and the address clients are told.
struct Bound {
    listener: TcpListener,
    reachable: SocketAddr,
}

async fn bind(port: Port, host: IpAddr, number: u16) -> Result<Bound, StartError> {
    let failed = |source| StartError::listening(port, host, number, source);
    let listener = TcpListener::bind((host, number)).await.map_err(failed)?;
    let reachable = reachable(listener.local_addr().map_err(failed)?);
    Ok(Bound { listener, reachable })
}

fn serve(
    port: Port,
    address: SocketAddr,
    service: Arc<dyn Service>,
    max_message_size: u64,
    tls: &Acceptor,
    faults: &Faults,
) -> Result<Listener, StartError> {
    let options = ListenerOptions {
        max_message_size,
        tls: tls.clone(),
        faults: faults.clone(),
        ..ListenerOptions::default()
    };
    let failed = |source| StartError::listening(port, address.ip(), address.port(), source);
    Listener::bind(address, service, options).map_err(failed)
}

/// The address clients are told: one can listen on "any address" but not connect to it.
fn reachable(mut bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        bound.set_ip(match bound {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    bound
}

fn inconsistent(what: String) -> StartError {
    StartError::Topology(TopologyError::Inconsistent {
        file: "topology".into(),
        what,
    })
}
