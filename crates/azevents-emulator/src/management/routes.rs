//! One function for each route.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Method, Request, StatusCode, body::Incoming, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    Managed,
    reply::{self, Reply},
};
use crate::{
    Clock, FaultCount, FaultKind, FaultPlan, Faults, Topology,
    entities::Changes,
    http_server::{Unread, read_body},
};

/// A topology of thousands of entities is far smaller.
const MAX_BODY_BYTES: usize = 1024 * 1024;

const ROUTES: &str = "GET /health, GET /ready, PUT /topology, GET and POST /clock, GET and POST /cosmos/regions, GET, PUT and DELETE /faults, \
                      GET and POST /partitions/{database}/{container}";

pub(super) async fn answer(managed: Arc<Managed>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    // The endpoint ends in a slash, and a path is easily put behind it with another one.
    let path = format!("/{}", head.uri.path().trim_matches('/'));
    #[cfg(feature = "cosmos")]
    if let Some(container) = path.strip_prefix("/partitions/") {
        return match (&head.method, read(body).await) {
            (_, Err(rejected)) => rejected,
            (method, Ok(body)) => super::partitions::answer(&managed.partitions, container, method, &body).await,
        };
    }
    match (&head.method, path.as_str()) {
        (&Method::GET, "/health") => reply::json_text(r#"{"status":"ok"}"#.to_owned()),
        (&Method::GET, "/ready") => reply::json_text(managed.ready.to_json()),
        (&Method::PUT, "/topology") => match read(body).await {
            Ok(body) => {
                let kind = head.headers.get(CONTENT_TYPE);
                let is_toml = kind.is_some_and(|kind| kind.as_bytes().ends_with(b"/toml"));
                put_topology(&managed, &body, is_toml).await
            }
            Err(rejected) => rejected,
        },
        #[cfg(feature = "cosmos")]
        (&Method::GET, "/cosmos/regions") => reply::json(&managed.regions.list()),
        #[cfg(feature = "cosmos")]
        (&Method::POST, "/cosmos/regions") => match read(body).await {
            Ok(body) => change_region(&managed.regions, &body),
            Err(rejected) => rejected,
        },
        (&Method::GET, "/clock") => time(&managed.clock),
        (&Method::POST, "/clock") => match read(body).await {
            Ok(body) => advance(&managed.clock, &body),
            Err(rejected) => rejected,
        },
        (&Method::GET, "/faults") => report(&managed.faults),
        (&Method::PUT, "/faults") => match read(body).await {
            Ok(body) => put_faults(&managed.faults, &body),
            Err(rejected) => rejected,
        },
        (&Method::DELETE, "/faults") => {
            managed.faults.clear();
            report(&managed.faults)
        }
        (method, path @ ("/health" | "/ready" | "/topology" | "/clock" | "/cosmos/regions" | "/faults")) => {
            reply::failed(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("{path} does not take {method}. There is {ROUTES}."),
            )
        }
        (_, path) => reply::failed(
            StatusCode::NOT_FOUND,
            &format!("There is nothing at {path}. There is {ROUTES}."),
        ),
    }
}

async fn put_topology(managed: &Managed, body: &Bytes, is_toml: bool) -> Reply {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return bad_request(&format!("The body is not UTF-8: {error}.")),
    };
    let read = if is_toml {
        Topology::from_toml
    } else {
        Topology::from_json
    };
    let topology = match read("request body", text) {
        Ok(topology) => topology,
        Err(error) => return bad_request(&error.to_string()),
    };
    match create_missing(managed, &topology).await {
        Ok(changes) => match managed.entities.written().await {
            Ok(()) => reply::json(&changes),
            Err(error) => reply::failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Err(error) => reply::failed(StatusCode::CONFLICT, &error),
    }
}

async fn create_missing(managed: &Managed, topology: &Topology) -> Result<Changes, String> {
    let mut changes = managed.entities.create_missing(topology)?;
    managed
        .blob_containers
        .create_missing(&topology.blob_containers, |address, existed| {
            changes.note(&address, existed);
        })
        .await?;
    #[cfg(feature = "cosmos")]
    managed
        .databases
        .create_missing(&topology.databases, |address, existed| changes.note(&address, existed))
        .await?;
    Ok(changes)
}

#[cfg(feature = "cosmos")]
fn change_region(regions: &crate::CosmosRegions, body: &Bytes) -> Reply {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Change {
        region: String,
        #[serde(default)]
        fail_over: bool,
        online: Option<bool>,
    }
    let change: Change = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => {
            return bad_request(&format!(
                "The body is not a change of a region: {error}. Write for example \
                 {{\"region\":\"West US\",\"fail_over\":true}} or {{\"region\":\"West US\",\"online\":false}}."
            ));
        }
    };
    let switched = change
        .online
        .map_or(Ok(()), |online| regions.set_online(&change.region, online));
    let moved = switched.and_then(|()| {
        if change.fail_over {
            regions.fail_over_to(&change.region)
        } else {
            Ok(())
        }
    });
    match moved {
        Ok(()) => reply::json(&regions.list()),
        Err(error) => bad_request(&error.to_string()),
    }
}

fn advance(clock: &Clock, body: &Bytes) -> Reply {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Jump {
        advance_ms: u64,
    }
    match serde_json::from_slice(body) {
        Ok(Jump { advance_ms }) => {
            clock.advance(Duration::from_millis(advance_ms));
            time(clock)
        }
        Err(error) => bad_request(&format!(
            "The body says not how far to jump: {error}. Write for example {{\"advance_ms\":60000}}."
        )),
    }
}

fn time(clock: &Clock) -> Reply {
    #[derive(Serialize)]
    struct Time {
        #[serde(with = "time::serde::rfc3339")]
        now: OffsetDateTime,
        advanced_ms: u64,
    }
    reply::json(&Time {
        now: clock.now_utc(),
        advanced_ms: u64::try_from(clock.advanced().as_millis()).unwrap_or(u64::MAX),
    })
}

fn put_faults(faults: &Faults, body: &Bytes) -> Reply {
    let plan: FaultPlan = match serde_json::from_slice(body) {
        Ok(plan) => plan,
        Err(error) => {
            return bad_request(&format!(
                "The body is not a fault plan: {error}. Write for example \
                 {{\"seed\":7,\"rules\":{{\"lose_outcome\":{{\"rate\":0.01,\"limit\":20}}}}}}."
            ));
        }
    };
    for (kind, rule) in &plan.rules {
        if !(0.0..=1.0).contains(&rule.rate) {
            return bad_request(&format!(
                "The rate of {kind} is {}; write a share from 0.0 to 1.0.",
                rule.rate
            ));
        }
    }
    faults.set_plan(plan);
    report(faults)
}

/// The plan in force and what it has done so far.
#[derive(Serialize)]
struct Report {
    plan: FaultPlan,
    counts: BTreeMap<FaultKind, FaultCount>,
}

fn report(faults: &Faults) -> Reply {
    reply::json(&Report {
        plan: faults.plan(),
        counts: faults.counts(),
    })
}

async fn read(body: Incoming) -> Result<Bytes, Reply> {
    read_body(body, MAX_BODY_BYTES).await.map_err(|unread| {
        let status = match unread {
            Unread::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Unread::Stalled(_) | Unread::Broken(_) => StatusCode::REQUEST_TIMEOUT,
        };
        reply::failed(status, &unread.to_string())
    })
}

fn bad_request(sentence: &str) -> Reply {
    reply::failed(StatusCode::BAD_REQUEST, sentence)
}
