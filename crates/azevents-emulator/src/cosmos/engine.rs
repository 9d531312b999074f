//! Microsoft's emulator behind one call that always has an answer.

use std::sync::Arc;

use azure_core::http::{
    AsyncRawResponse, Request, StatusCode,
    headers::{HeaderName, Headers},
};
use azure_data_cosmos_driver::in_memory_emulator::{
    ConsistencyLevel, EmulatorStore, InMemoryEmulatorHttpClient, ReplicationConfig, VirtualAccountConfig, VirtualRegion,
};
use bytes::Bytes;
use tracing::warn;
use url::Url;

use super::{depth, regions::CosmosRegion};

/// What Microsoft's emulator keeps.
pub(super) type Store = EmulatorStore;

/// An answer whose body is complete.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
}

impl Answer {
    /// An error the way Cosmos DB words it: a code and a message in JSON.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message }).to_string();
        let mut headers = Headers::new();
        headers.insert("content-type", "application/json");
        headers.insert("x-ms-activity-id", uuid::Uuid::new_v4().to_string());
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }
}

/// A region's name, which must be one of Azure's or clients that sort regions by distance ignore it,
/// and its endpoint.
pub(super) type Region = (String, Url);

/// The account's contents and what each request does to them.
#[derive(Debug)]
pub(super) struct Engine {
    emulator: Arc<InMemoryEmulatorHttpClient>,
    /// In the order they were given.
    regions: Vec<Region>,
}

impl Engine {
    /// An empty account, whose document names the regions' endpoints. The first takes the writes.
    pub(super) fn new(regions: Vec<Region>) -> azure_data_cosmos_driver::error::Result<Self> {
        let virtual_regions = regions
            .iter()
            .map(|(name, endpoint)| VirtualRegion::new(name, endpoint.clone()));
        let config = VirtualAccountConfig::new(virtual_regions.collect())?
            .with_account_id("azevents-emulator")
            .with_consistency(ConsistencyLevel::Session)
            .with_replication_config(ReplicationConfig::immediate());
        let emulator = Arc::new(InMemoryEmulatorHttpClient::try_new(config)?);
        Ok(Self { emulator, regions })
    }

    /// What the account holds, for what no request can ask for.
    pub(super) fn store(&self) -> Arc<Store> {
        self.emulator.store()
    }

    /// The endpoint of the region that takes the writes now.
    pub(super) fn write_endpoint(&self) -> &Url {
        let name = self.emulator.store().config().write_region_name();
        let region = self.regions.iter().find(|(candidate, _)| *candidate == name);
        &region.unwrap_or(&self.regions[0]).1
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Url> {
        self.regions.iter().map(|(_, endpoint)| endpoint)
    }

    /// Whether a request to this address arrives at all.
    pub(super) fn is_reachable(&self, url: &Url) -> bool {
        let store = self.emulator.store();
        let region = store.config().region_for_url(url);
        region.is_some_and(|region| !region.status.is_unreachable())
    }

    pub(super) fn regions(&self) -> Vec<CosmosRegion> {
        let store = self.emulator.store();
        let topology = store.config().topology_snapshot();
        let regions = self.regions.iter();
        regions
            .map(|(name, endpoint)| CosmosRegion {
                name: name.clone(),
                endpoint: endpoint.to_string(),
                online: !topology.offline.contains(name),
                writes: topology.write_region == *name,
            })
            .collect()
    }

    pub(super) fn fail_over_to(&self, region: &str) -> Result<(), String> {
        self.known(region)?;
        let moved = self.emulator.store().set_write_region(region);
        moved.map_err(|error| error.to_string())
    }

    pub(super) fn set_online(&self, region: &str, online: bool) -> Result<(), String> {
        self.known(region)?;
        let store = self.emulator.store();
        let changed = if online {
            store.set_region_online(region)
        } else {
            store.set_region_offline(region)
        };
        changed.map_err(|error| error.to_string())
    }

    fn known(&self, region: &str) -> Result<(), String> {
        if self.regions.iter().any(|(name, _)| name == region) {
            return Ok(());
        }
        let names: Vec<&str> = self.regions.iter().map(|(name, _)| name.as_str()).collect();
        Err(format!("there is none of this name; there is {}", names.join(", ")))
    }

    /// Executes one request that is addressed to one of the regions.
    pub(super) async fn execute(&self, request: &Request) -> Answer {
        let failed = |error: &dyn std::fmt::Display| {
            warn!(%error, method = ?request.method(), path = request.url().path(), "not answered");
            Answer::error(
                StatusCode::InternalServerError,
                "InternalServerError",
                &format!("The in-memory emulator could not answer: {error}"),
            )
        };
        let answer = match depth::of(request) {
            None => self.emulator.execute_request(request).await,
            Some(deep) if deep > depth::MAX_DEPTH => {
                return Answer::error(
                    StatusCode::BadRequest,
                    "BadRequest",
                    &format!(
                        "The query has {deep} operators, properties and brackets; this emulator takes {}.",
                        depth::MAX_DEPTH
                    ),
                );
            }
            Some(deep) => {
                let (emulator, request) = (Arc::clone(&self.emulator), request.clone());
                let answer = depth::with_stack(deep, async move { emulator.execute_request(&request).await });
                match answer.await {
                    Ok(answer) => answer,
                    Err(error) => return failed(&error),
                }
            }
        };
        match answer {
            Ok(answer) => read(answer).await.unwrap_or_else(|error| failed(&error)),
            Err(error) => failed(&error),
        }
    }
}

async fn read(answer: AsyncRawResponse) -> azure_core::Result<Answer> {
    let (status, headers, body) = answer.try_into_raw_response().await?.deconstruct();
    Ok(Answer {
        status,
        headers,
        body: Bytes::from(body),
    })
}
