//! What was provisioned, from the requests that said so.
//!
//! Microsoft's emulator has manual throughput of containers. It takes an autoscale maximum for that, and the rest
//! is added to its answers here.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use azure_core::http::Request;
use serde_json::{Value, json};

use crate::cosmos::{
    engine::Answer,
    target::{ContainerName, header},
    writes::body,
};

const MANUAL: &str = "x-ms-offer-throughput";
const AUTOSCALE: &str = "x-ms-cosmos-offer-autopilot-settings";

/// Request units per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    Manual(u64),
    /// At most so many.
    Autoscale(u64),
}

impl Units {
    /// What a request to create something asks for.
    fn of_headers(request: &Request) -> Option<Self> {
        if let Some(settings) = header(request, AUTOSCALE) {
            let settings: Value = serde_json::from_str(settings).ok()?;
            return settings["maxThroughput"].as_u64().map(Self::Autoscale);
        }
        header(request, MANUAL)?.trim().parse().ok().map(Self::Manual)
    }

    /// What an offer says.
    fn of_offer(offer: &Value) -> Option<Self> {
        let content = &offer["content"];
        let autoscale = content["offerAutopilotSettings"]["maxThroughput"].as_u64();
        autoscale
            .map(Self::Autoscale)
            .or_else(|| content["offerThroughput"].as_u64().map(Self::Manual))
    }

    fn most(self) -> u64 {
        match self {
            Self::Manual(units) | Self::Autoscale(units) => units,
        }
    }
}

/// The request as Microsoft's emulator takes it; `None` if it does so anyway.
pub(in crate::cosmos) fn for_engine(request: &Request) -> Option<Request> {
    if is_offer(request) {
        let mut offer: Value = serde_json::from_slice(&body(request)).ok()?;
        let Units::Autoscale(most) = Units::of_offer(&offer)? else {
            return None;
        };
        offer["content"]["offerThroughput"] = most.into();
        let mut request = request.clone();
        request.set_body(offer.to_string());
        return Some(request);
    }
    let Units::Autoscale(most) = Units::of_headers(request)? else {
        return None;
    };
    let mut request = request.clone();
    request.insert_header(MANUAL, most.to_string());
    Some(request)
}

/// Whether it replaces an offer.
fn is_offer(request: &Request) -> bool {
    request.method() == azure_core::http::Method::Put && request.url().path().starts_with("/offers/")
}

/// Provisioned throughput by database and container.
#[derive(Debug, Default)]
pub(in crate::cosmos) struct Throughput(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    databases: HashMap<String, Units>,
    /// With the resource id that its offer names.
    containers: HashMap<ContainerName, (String, Units)>,
}

impl Throughput {
    pub(super) fn of_container(&self, name: &ContainerName) -> Option<u64> {
        self.state().containers.get(name).map(|(_, units)| units.most())
    }

    pub(super) fn of_database(&self, name: &str) -> Option<u64> {
        self.state().databases.get(name).map(|units| units.most())
    }

    /// Notes a database that was created.
    pub(in crate::cosmos) fn database_created(&self, name: String, request: &Request) {
        if let Some(units) = Units::of_headers(request) {
            self.state().databases.insert(name, units);
        }
    }

    /// Notes a container that was created with this resource id.
    pub(in crate::cosmos) fn container_created(&self, name: ContainerName, rid: &str, request: &Request) {
        if let Some(units) = Units::of_headers(request) {
            self.state().containers.insert(name, (rid.to_owned(), units));
        }
    }

    pub(in crate::cosmos) fn forget_container(&self, name: &ContainerName) {
        self.state().containers.remove(name);
    }

    pub(in crate::cosmos) fn forget_database(&self, name: &str) {
        self.state().databases.remove(name);
    }

    /// Notes an offer that was replaced, and makes answers about offers say what is autoscaled.
    pub(in crate::cosmos) fn offers_answered(&self, request: &Request, answer: &mut Answer) {
        if !answer.status.is_success() || !request.url().path().starts_with("/offers") {
            return;
        }
        let Ok(mut said) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
        let mut state = self.state();
        if is_offer(request)
            && let Ok(asked) = serde_json::from_slice(&body(request))
            && let Some(units) = Units::of_offer(&asked)
            && let Some((_, known)) = state.of_offer(&said)
        {
            *known = units;
        }
        let offers = match said.get_mut("Offers").and_then(Value::as_array_mut) {
            Some(offers) => offers.iter_mut().collect(),
            None => vec![&mut said],
        };
        for offer in offers {
            if let Some((_, Units::Autoscale(most))) = state.of_offer(offer) {
                // It scales between a tenth and all of it.
                offer["content"] = json!({
                    "offerThroughput": *most / 10,
                    "offerAutopilotSettings": { "maxThroughput": most },
                });
            }
        }
        answer.body = said.to_string().into();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What the container of an offer has.
    fn of_offer(&mut self, offer: &Value) -> Option<&mut (String, Units)> {
        let rid = offer["offerResourceId"].as_str()?;
        self.containers.values_mut().find(|(known, _)| known == rid)
    }
}
