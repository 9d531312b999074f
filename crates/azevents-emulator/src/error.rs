//! Why an emulator can't start, and what to do about it.

use std::{fmt, io, net::IpAddr};

use crate::{DataError, TopologyError};

/// One of the ports of an emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Port {
    /// Cosmos DB, HTTP.
    Cosmos,
    /// Service Bus, AMQP.
    ServiceBus,
    /// Event Hubs, AMQP.
    EventHubs,
    /// Blob Storage, HTTP.
    Blobs,
    /// Service Bus' administration API, HTTP.
    Administration,
    /// Health, topology and faults, HTTP.
    Management,
}

impl Port {
    /// What the setting is called, on the command line and (with `_`) on the builder.
    fn setting(self) -> &'static str {
        match self {
            Self::Cosmos => "cosmos-port",
            Self::ServiceBus => "servicebus-port",
            Self::EventHubs => "eventhubs-port",
            Self::Blobs => "blobs-port",
            Self::Administration => "administration-port",
            Self::Management => "management-port",
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosmos => "Cosmos DB",
            Self::ServiceBus => "Service Bus",
            Self::EventHubs => "Event Hubs",
            Self::Blobs => "Blob Storage",
            Self::Administration => "Service Bus administration",
            Self::Management => "management",
        })
    }
}

/// An emulator that did not start. Nothing keeps running, no port stays taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another program, or another emulator, listens there.
    #[error(
        "port {number} for {port} is already in use on {host}: stop what listens there, set {} to \
         another number, or leave it at 0 for any free port",
        port.setting()
    )]
    PortInUse {
        /// Which of the ports.
        port: Port,
        /// Its number.
        number: u16,
        /// The address it was to be bound on.
        host: IpAddr,
    },
    /// The port can't be listened on for another reason.
    #[error("cannot listen on {host}:{number} for {port}: {source}")]
    Listen {
        /// Which of the ports.
        port: Port,
        /// Its number; 0 where any would have done.
        number: u16,
        /// The address it was to be bound on.
        host: IpAddr,
        /// Why.
        source: io::Error,
    },
    /// The host is not this machine alone. Nothing here is encrypted and keys are public.
    #[error(
        "{host} can be reached from other machines, and the emulator protects nothing: use \
         127.0.0.1, or allow it with allow-remote"
    )]
    NotLoopback {
        /// The address asked for.
        host: IpAddr,
    },
    /// The entities asked for can't exist as they are.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The state can't be kept or read.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl StartError {
    pub(crate) fn listening(port: Port, host: IpAddr, number: u16, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::PortInUse { port, number, host }
        } else {
            Self::Listen {
                port,
                number,
                host,
                source,
            }
        }
    }
}
