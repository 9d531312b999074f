//! Starts the services in order and stops them together.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use crate::{
    EmulatorBuilder, Faults, Port, Ready, StartError, TopologyError,
    management::{Managed, ManagementServer},
    namespace::Namespace,
    ready::ManagementAddress,
};

/// A running emulator. Dropping it stops it; [`shutdown`](Self::shutdown) also waits until it has.
#[derive(Debug)]
pub struct Emulator {
    ready: Ready,
    faults: Faults,
    #[cfg(feature = "cosmos")]
    cosmos: crate::cosmos::CosmosServer,
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
        settings.topology.validate().map_err(|what| {
            StartError::Topology(TopologyError::Inconsistent {
                file: "topology".into(),
                what,
            })
        })?;
        let faults = Faults::none();
        if let Some(plan) = settings.faults {
            faults.set_plan(plan);
        }

        let management = bind(Port::Management, host, settings.management_port).await?;
        #[cfg(feature = "cosmos")]
        let cosmos = {
            let bound = bind(Port::Cosmos, host, settings.cosmos_port).await?;
            let failed = |source| StartError::listening(Port::Cosmos, host, bound.reachable.port(), source);
            crate::cosmos::CosmosServer::start(bound.listener, bound.reachable, faults.clone()).map_err(failed)?
        };
        let namespace = Namespace::default();
        #[cfg(feature = "cosmos")]
        let cosmos_address = Some(cosmos.address());
        #[cfg(not(feature = "cosmos"))]
        let cosmos_address = None;
        let ready = Ready::new(
            cosmos_address,
            None,
            None,
            ManagementAddress {
                endpoint: format!("http://{}/", management.reachable),
            },
        );
        let managed = Managed {
            ready: ready.clone(),
            faults: faults.clone(),
            namespace,
        };
        let management = ManagementServer::start(management.listener, managed);
        Ok(Self {
            ready,
            faults,
            #[cfg(feature = "cosmos")]
            cosmos,
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

    /// Stops all services and waits until their ports are free. Requests being answered get one
    /// second to finish. Dropped while waiting, it goes on stopping in the background.
    pub async fn shutdown(self) {
        #[cfg(feature = "cosmos")]
        self.cosmos.shutdown().await;
        self.management.shutdown().await;
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
