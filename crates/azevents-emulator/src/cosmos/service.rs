//! Answers one request: who sends it, then faults, then the account.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tracing::debug;
use url::Url;

use super::{account::Account, authorization::AccountKey, exchange, responses, target::Target};
use crate::{FaultKind, Faults, http_server::Connection};

/// How long an answer is held up where the fault plan doesn't say.
const DELAY: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service {
    account: Arc<Account>,
    /// Of the region it answers for.
    endpoint: Url,
    key: AccountKey,
    faults: Faults,
}

impl Service {
    pub(super) fn new(account: Arc<Account>, endpoint: Url, key: AccountKey, faults: Faults) -> Self {
        Self {
            account,
            endpoint,
            key,
            faults,
        }
    }
}

pub(super) async fn answer(
    service: Arc<Service>,
    request: Request<Incoming>,
    connection: Connection,
) -> Response<Full<Bytes>> {
    if !service.account.engine.is_reachable(&service.endpoint) {
        match connection.cut().await {}
    }
    let request = match exchange::read_request(request, &service.endpoint).await {
        Ok(request) => request,
        Err(rejected) => return exchange::write_response(rejected),
    };
    if let Err(refused) = service.key.check(&request) {
        return exchange::write_response(refused);
    }
    let target = Target::of(&request);
    let is_account = request.url().path() == "/";
    let faults = target.is_items().then_some(&service.faults);
    let inject = |kind| faults.is_some_and(|faults| faults.decide(kind));
    if inject(FaultKind::CosmosThrottle) {
        return exchange::write_response(responses::throttled());
    }
    if inject(FaultKind::CosmosRetryWith) {
        return exchange::write_response(responses::retry_with());
    }
    if inject(FaultKind::CosmosUnavailable) {
        return exchange::write_response(responses::unavailable());
    }
    if let Some(rule) = faults.and_then(|faults| faults.inject(FaultKind::Delay)) {
        tokio::time::sleep(rule.delay_or(DELAY)).await;
    }
    let (method, path) = (request.method(), request.url().path().to_owned());
    let mut answer = service.account.execute(request, target).await;
    if is_account && connection.is_tls() {
        for endpoint in service.account.engine.endpoints() {
            responses::name_https(&mut answer, endpoint);
        }
    }
    debug!(?method, path, status = u16::from(answer.status), "answered");
    if inject(FaultKind::CosmosLoseResponse) {
        match connection.cut().await {}
    }
    exchange::write_response(answer)
}
