//! The entities of Service Bus and Event Hubs, created from one topology.

use serde::Serialize;

use crate::Topology;

/// Where entities are created, while the brokers serve them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace {}

/// What creating a topology changed, as addresses.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// Entities that are there now and were not before.
    pub(crate) created: Vec<String>,
    /// Entities that were there already; they keep their settings and messages.
    pub(crate) existing: Vec<String>,
}

impl Namespace {
    /// Creates what is missing and leaves what exists as it is, so that asking twice is fine.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "until the brokers are here"
    )]
    pub(crate) fn create_missing(&self, topology: &Topology) -> Result<Changes, String> {
        if *topology == Topology::default() {
            return Ok(Changes::default());
        }
        Err("Service Bus and Event Hubs are not served by this build.".to_owned())
    }
}
