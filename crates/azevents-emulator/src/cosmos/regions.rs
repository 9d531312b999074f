//! Regions of the account: each has an endpoint of its own, one takes the writes.

use std::sync::Arc;

use serde::Serialize;

use super::account::Account;

/// The regions of the Cosmos DB account. Clones share them.
///
/// What is written in one region is in the others at once. A region that is offline can't be
/// reached: connections to its endpoint are cut, so that a client that writes can't know whether it
/// has. If it was the one that takes the writes, the next one does.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use azevents_emulator::Emulator;
///
/// let emulator = Emulator::builder().cosmos_regions(["East US", "West US"]).start().await?;
/// let regions = emulator.cosmos_regions();
/// regions.fail_over_to("West US")?;
/// assert!(regions.list()[1].writes);
/// regions.set_online("East US", false)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CosmosRegions(pub(super) Arc<Account>);

/// A region as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CosmosRegion {
    /// Azure's name for it.
    pub name: String,
    /// Where clients connect that prefer it.
    pub endpoint: String,
    /// Whether it can be reached.
    pub online: bool,
    /// Whether it takes the writes.
    pub writes: bool,
}

/// A region that isn't there, or can't be what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("region `{region}`: {what}")]
#[non_exhaustive]
pub struct RegionError {
    /// As it was named.
    pub region: String,
    /// What is wrong.
    pub what: String,
}

impl CosmosRegions {
    /// All regions in the order they were given.
    pub fn list(&self) -> Vec<CosmosRegion> {
        self.0.engine.regions()
    }

    /// Makes another region take the writes, at once. The one that did refuses them with 403 from
    /// then on.
    pub fn fail_over_to(&self, region: &str) -> Result<(), RegionError> {
        self.0.engine.fail_over_to(region).map_err(|what| RegionError {
            region: region.to_owned(),
            what,
        })
    }

    /// Takes a region offline, or brings it back. The last one can't be taken offline.
    pub fn set_online(&self, region: &str, online: bool) -> Result<(), RegionError> {
        self.0.engine.set_online(region, online).map_err(|what| RegionError {
            region: region.to_owned(),
            what,
        })
    }
}
