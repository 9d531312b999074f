//! Throughput as clients ask for it and are shown it: "offers", one for each database or container that has some.
//!
//! Microsoft's emulator has offers of its own, for manual throughput of containers only, which most clients don't
//! find: they ask for the address of the container, and it has its resource id there.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use azure_core::http::{Method, Request, StatusCode, headers::Headers};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::units::Units;
use crate::cosmos::{
    engine::Answer,
    target::{ContainerName, header, is_query_plan},
    writes::body,
};

/// Has a container of its own, or is for those of a database that have none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    database: String,
    container: Option<String>,
}

impl Scope {
    /// The same at every start, so that a replacement that was kept finds it again.
    fn offer_id(&self) -> String {
        let digest = Sha256::digest(json!([self.database, self.container]).to_string());
        let (first, _) = digest.split_first_chunk().expect("it has 32 bytes");
        format!("{:016x}", u64::from_be_bytes(*first))
    }
}

#[derive(Debug)]
struct Offer {
    units: Units,
    /// Of the database or container.
    rid: String,
    link: String,
    etag: String,
}

impl Offer {
    fn shown(&self, id: &str) -> Value {
        json!({
            "id": id,
            "_rid": id,
            "_self": format!("offers/{id}/"),
            "_etag": self.etag,
            "resource": self.link,
            "offerResourceId": self.rid,
            "offerType": "Invalid",
            "offerVersion": "V2",
            "content": self.units.shown(),
        })
    }
}

/// Provisioned throughput by database and container.
#[derive(Debug, Default)]
pub(in crate::cosmos) struct Throughput(Mutex<BTreeMap<Scope, Offer>>);

impl Throughput {
    pub(super) fn of_container(&self, name: &ContainerName) -> Option<u64> {
        self.most(&name.database, Some(&name.container))
    }

    pub(super) fn of_database(&self, name: &str) -> Option<u64> {
        self.most(name, None)
    }

    fn most(&self, database: &str, container: Option<&str>) -> Option<u64> {
        let scope = scope(database, container);
        self.offers().get(&scope).map(|offer| offer.units.most())
    }

    /// Notes a database or a container that was created, as the answer shows it.
    pub(in crate::cosmos) fn created(&self, database: &str, container: Option<&str>, request: &Request, shown: &[u8]) {
        if let Ok(Some(units)) = Units::of_headers(request) {
            let shown: Value = serde_json::from_slice(shown).unwrap_or_default();
            let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
            let offer = Offer {
                units,
                rid: text("_rid"),
                link: text("_self"),
                etag: new_etag(),
            };
            self.offers().insert(scope(database, container), offer);
        }
    }

    pub(in crate::cosmos) fn container_deleted(&self, name: &ContainerName) {
        self.offers().remove(&scope(&name.database, Some(&name.container)));
    }

    pub(in crate::cosmos) fn database_deleted(&self, name: &str) {
        self.offers().retain(|scope, _| scope.database != name);
    }

    /// Answers requests about offers. `None` for what is about something else.
    pub(in crate::cosmos) fn answer(&self, request: &Request) -> Option<Answer> {
        let path = request.url().path().trim_matches('/');
        let id = match path.strip_prefix("offers")? {
            "" => None,
            rest => Some(percent_decode_str(rest.strip_prefix('/')?).decode_utf8_lossy()),
        };
        let mut offers = self.offers();
        match (request.method(), id) {
            (Method::Get, None) => Some(feed(offers.iter().map(|(scope, offer)| offer.shown(&scope.offer_id())))),
            (Method::Post, None) if !is_query_plan(request) => {
                let wanted = Wanted::of(&body(request));
                let shown = offers.iter().map(|(scope, offer)| offer.shown(&scope.offer_id()));
                Some(feed(shown.filter(|offer| wanted.has(offer))))
            }
            (method @ (Method::Get | Method::Put), Some(id)) => {
                let Some((_, offer)) = offers.iter_mut().find(|(scope, _)| scope.offer_id() == id) else {
                    let message = format!("There is no offer {id}.");
                    return Some(Answer::error(StatusCode::NotFound, "NotFound", &message));
                };
                if method == Method::Put
                    && let Err(refused) = replace(offer, request)
                {
                    return Some(refused);
                }
                let mut answer = answer(&offer.shown(&id));
                answer.headers.insert("etag", offer.etag.clone());
                answer.headers.insert("x-ms-offer-replace-pending", "false");
                Some(answer)
            }
            _ => None,
        }
    }

    fn offers(&self) -> MutexGuard<'_, BTreeMap<Scope, Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scope(database: &str, container: Option<&str>) -> Scope {
    Scope {
        database: database.to_owned(),
        container: container.map(str::to_owned),
    }
}

fn replace(offer: &mut Offer, request: &Request) -> Result<(), Answer> {
    let refused = |what: String| Answer::error(StatusCode::BadRequest, "BadRequest", &what);
    for migration in [
        "x-ms-cosmos-migrate-offer-to-autopilot",
        "x-ms-cosmos-migrate-offer-to-manual-throughput",
    ] {
        if header(request, migration).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            let what = format!("The emulator doesn't have {migration}: send the throughput that is to be.");
            return Err(refused(what));
        }
    }
    if header(request, "if-match").is_some_and(|expected| expected != offer.etag) {
        let what = "One of the specified pre-condition is not met.";
        return Err(Answer::error(
            StatusCode::PreconditionFailed,
            "PreconditionFailed",
            what,
        ));
    }
    let asked: Value = serde_json::from_slice(&body(request)).map_err(|error| refused(error.to_string()))?;
    offer.units = Units::of_offer(&asked, offer.units).map_err(refused)?;
    offer.etag = new_etag();
    Ok(())
}

fn new_etag() -> String {
    format!("\"{}\"", Uuid::new_v4())
}

fn answer(body: &Value) -> Answer {
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json");
    headers.insert("x-ms-activity-id", Uuid::new_v4().to_string());
    Answer {
        status: StatusCode::Ok,
        headers,
        body: body.to_string().into(),
    }
}

fn feed(offers: impl Iterator<Item = Value>) -> Answer {
    let offers: Vec<Value> = offers.collect();
    let mut answer = answer(&json!({ "_rid": "", "_count": offers.len(), "Offers": offers }));
    answer.headers.insert("x-ms-item-count", offers.len().to_string());
    answer
}

/// What a query for offers asks for. Clients ask for that of one resource, by its address or its id, or for all; so
/// no more of SQL is understood than which strings there are in it.
struct Wanted(HashSet<String>);

impl Wanted {
    fn of(query: &[u8]) -> Self {
        let query: Value = serde_json::from_slice(query).unwrap_or_default();
        let parameters = query["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.filter_map(|parameter| parameter["value"].as_str());
        let text = query["query"].as_str().unwrap_or_default().replace('"', "'");
        let literals = text.split('\'').skip(1).step_by(2);
        let strings = parameters.chain(literals);
        Self(strings.map(|string| string.trim_matches('/').to_owned()).collect())
    }

    fn has(&self, offer: &Value) -> bool {
        let names = ["resource", "offerResourceId", "id", "_rid", "_self"];
        self.0.is_empty()
            || names.into_iter().any(|name| {
                let value = offer[name].as_str().unwrap_or_default();
                self.0.contains(value.trim_matches('/'))
            })
    }
}
