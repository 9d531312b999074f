//! Answers one request: who asks, what for, and the headers every answer has.

use std::sync::Arc;

use hyper::{Method, Request, StatusCode, body::Incoming};
use time::OffsetDateTime;
use tracing::debug;
use uuid::Uuid;

use super::{
    account::Account,
    auth::Keys,
    blob_ops, blocks,
    call::Call,
    container_ops,
    error::{self, BlobError, Result},
    lease_ops, list,
    reply::{self, Reply},
};

/// The newest version of the protocol that is spoken here; answers name the client's own.
const VERSION: &str = "2026-02-06";

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) account: Arc<Account>,
    pub(super) keys: Keys,
}

/// What a request does, as far as permissions tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    List,
    Write,
    Delete,
}

pub(super) async fn answer(service: Arc<Service>, request: Request<Incoming>, tls: bool) -> Reply {
    let echo = |name: &str| request.headers().get(name).cloned();
    let (version, client_request) = (echo("x-ms-version"), echo("x-ms-client-request-id"));
    let head = request.method() == Method::HEAD;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = match Call::read(request, tls).await {
        Ok(call) => {
            let answered = service.execute(&call);
            // Also what is only read may be of a change that is still being written.
            match service.account.journal().written().await {
                Ok(()) => answered,
                Err(error) => Err(error::internal(&error.to_string())),
            }
        }
        Err(error) => Err(error),
    };
    let mut answer = answered.unwrap_or_else(|error| {
        debug!(%method, path, code = error.code, message = error.message, "refused");
        let mut answer = reply::failed(&error);
        if head {
            *answer.body_mut() = http_body_util::Full::default();
        }
        answer
    });
    debug!(%method, path, status = %answer.status(), "answered");
    reply::set(&mut answer, "server", "Windows-Azure-Blob/1.0 azevents-emulator");
    reply::set(&mut answer, "x-ms-request-id", &Uuid::new_v4().to_string());
    reply::set(&mut answer, "x-ms-version", VERSION);
    for (name, value) in [("x-ms-version", version), ("x-ms-client-request-id", client_request)] {
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

impl Service {
    fn execute(&self, call: &Call) -> Result<Reply> {
        if call.account != self.keys.account() {
            return Err(BlobError::new(
                StatusCode::NOT_FOUND,
                "ResourceNotFound",
                format!(
                    "There is no account '{}'; addresses begin with /{}/.",
                    call.account,
                    self.keys.account()
                ),
            ));
        }
        let restype = call.query("restype");
        let comp = call.query("comp");
        for unsupported in ["snapshot", "versionid"] {
            if call.query(unsupported).is_some() {
                return Err(error::not_implemented("snapshots and versions"));
            }
        }
        let action = match (call.method.as_str(), comp) {
            ("GET", Some("list")) => Action::List,
            ("GET" | "HEAD", _) => Action::Read,
            ("DELETE", _) => Action::Delete,
            _ => Action::Write,
        };
        self.keys.authorize(call, action, OffsetDateTime::now_utc())?;
        let mut state = self.account.lock();
        match (call.container.is_some(), call.blob.is_some(), restype) {
            (false, _, _) => match (call.method.as_str(), restype, comp) {
                ("GET", _, Some("list")) => list::containers(&state, call),
                ("GET" | "HEAD", Some("account"), Some("properties")) => Ok(account_information()),
                (method, ..) => Err(unknown(method, "the account", comp)),
            },
            (true, false, Some("container")) => match (call.method.as_str(), comp) {
                ("PUT", None) => container_ops::create(&mut state, call),
                ("GET" | "HEAD", None | Some("metadata")) => container_ops::properties(&state, call),
                ("PUT", Some("metadata")) => container_ops::set_metadata(&mut state, call),
                ("PUT", Some("lease")) => lease_ops::act(&mut state, call),
                ("DELETE", None) => container_ops::delete(&mut state, call),
                ("GET", Some("list")) => list::blobs(&state, call),
                (method, comp) => Err(unknown(method, "a container", comp)),
            },
            (true, false, _) => Err(error::invalid_query("restype", "must be container for a container")),
            (true, true, _) => match (call.method.as_str(), comp) {
                ("PUT", None) => blob_ops::put(&mut state, call),
                ("GET" | "HEAD", None) => blob_ops::get(&state, call),
                ("DELETE", None) => blob_ops::delete(&mut state, call),
                ("GET" | "HEAD", Some("metadata")) => blob_ops::get_metadata(&state, call),
                ("PUT", Some("metadata")) => blob_ops::set_metadata(&mut state, call),
                ("PUT", Some("lease")) => lease_ops::act(&mut state, call),
                ("PUT", Some("properties")) => blob_ops::set_headers(&mut state, call),
                ("PUT", Some("block")) => blocks::put(&mut state, call),
                ("PUT", Some("blocklist")) => blocks::commit(&mut state, call),
                ("GET", Some("blocklist")) => blocks::list(&state, call),
                (method, comp) => Err(unknown(method, "a blob", comp)),
            },
        }
    }
}

fn account_information() -> Reply {
    let mut reply = reply::empty(StatusCode::OK);
    reply::set(&mut reply, "x-ms-sku-name", "Standard_LRS");
    reply::set(&mut reply, "x-ms-account-kind", "StorageV2");
    reply::set(&mut reply, "x-ms-is-hns-enabled", "false");
    reply
}

fn unknown(method: &str, of: &str, comp: Option<&str>) -> BlobError {
    let comp = comp.map_or_else(String::new, |comp| format!(" with comp={comp}"));
    error::not_implemented(&format!("{method} of {of}{comp}"))
}
