//! Answers one request: faults first, then Microsoft's emulator.

use std::sync::Arc;

use azure_data_cosmos_driver::in_memory_emulator::InMemoryEmulatorHttpClient;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tracing::{debug, warn};
use url::Url;

use super::{exchange, responses};
use crate::{FaultKind, Faults, http_server::Connection};

/// The account all connections share.
pub(super) struct Account {
    emulator: InMemoryEmulatorHttpClient,
    endpoint: Url,
    faults: Faults,
}

impl Account {
    pub(super) fn new(emulator: InMemoryEmulatorHttpClient, endpoint: Url, faults: Faults) -> Self {
        Self {
            emulator,
            endpoint,
            faults,
        }
    }
}

pub(super) async fn answer(
    account: Arc<Account>,
    request: Request<Incoming>,
    connection: Connection,
) -> Response<Full<Bytes>> {
    let data_plane = touches_items(request.uri().path());
    if data_plane && account.faults.decide(FaultKind::CosmosThrottle) {
        return responses::throttled();
    }
    if data_plane && account.faults.decide(FaultKind::CosmosUnavailable) {
        return responses::unavailable();
    }
    let request = match exchange::read_request(request, &account.endpoint).await {
        Ok(request) => request,
        Err(rejected) => return rejected,
    };
    let answer = match account.emulator.execute_request(&request).await {
        Ok(answer) => answer,
        Err(error) => {
            warn!(%error, method = ?request.method(), path = request.url().path(), "not answered");
            return responses::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                &format!("The in-memory emulator could not answer: {error}"),
            );
        }
    };
    debug!(
        method = ?request.method(),
        path = request.url().path(),
        status = u16::from(answer.status()),
        "answered"
    );
    if data_plane && account.faults.decide(FaultKind::CosmosLoseResponse) {
        match connection.cut().await {}
    }
    exchange::write_response(answer).await
}

/// Items are where a service has to cope with faults. The account, databases, containers and
/// partition key ranges are spared, so that a client always gets through its start.
fn touches_items(path: &str) -> bool {
    // /dbs/{database}/colls/{container}/docs, and below it one item.
    path.split('/').filter(|segment| !segment.is_empty()).nth(4) == Some("docs")
}

#[cfg(test)]
mod tests {
    use super::touches_items;

    #[test]
    fn only_items_are_hit_by_faults() {
        assert!(touches_items("/dbs/d/colls/c/docs"));
        assert!(touches_items("/dbs/d/colls/c/docs/one"));
        assert!(touches_items("//dbs/d/colls/c/docs/"));
        for path in ["/", "/dbs", "/dbs/docs", "/dbs/d/colls/docs", "/dbs/d/colls/c/pkranges"] {
            assert!(!touches_items(path), "{path}");
        }
    }
}
