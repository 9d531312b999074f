//! Request units per second, as requests have them.
//!
//! Limits are those of "Service quotas in Azure Cosmos DB" for a database or container: manual throughput from 400,
//! in steps of 100, autoscale from 1,000, in steps of 1,000.

use azure_core::http::Request;
use serde_json::{Value, json};

use crate::cosmos::target::header;

const MANUAL: &str = "x-ms-offer-throughput";
const AUTOSCALE: &str = "x-ms-cosmos-offer-autopilot-settings";

/// Request units per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cosmos) enum Units {
    Manual(u64),
    /// At most so many.
    Autoscale(u64),
}

impl Units {
    /// What a request to create something asks for; a sentence if it asks for what can't be.
    pub(in crate::cosmos) fn of_headers(request: &Request) -> Result<Option<Self>, String> {
        if let Some(settings) = header(request, AUTOSCALE) {
            let settings: Value = serde_json::from_str(settings).map_err(|error| format!("{AUTOSCALE}: {error}."))?;
            let most = settings["maxThroughput"]
                .as_u64()
                .ok_or(format!("{AUTOSCALE} has no maxThroughput."))?;
            return Self::Autoscale(most).checked().map(Some);
        }
        // Others than numbers are passed over, as clients of old send them.
        let units = header(request, MANUAL).and_then(|units| units.trim().parse().ok());
        units.map(|units| Self::Manual(units).checked()).transpose()
    }

    /// What an offer that is to replace one of `before` asks for.
    pub(super) fn of_offer(offer: &Value, before: Self) -> Result<Self, String> {
        let content = &offer["content"];
        let autoscale = content["offerAutopilotSettings"]["maxThroughput"].as_u64();
        let manual = content["offerThroughput"].as_u64();
        let units = autoscale.map(Self::Autoscale).or_else(|| manual.map(Self::Manual));
        let units = units.ok_or("The offer's content has neither offerThroughput nor offerAutopilotSettings.")?;
        if matches!(
            (before, units),
            (Self::Manual(_), Self::Autoscale(_)) | (Self::Autoscale(_), Self::Manual(_))
        ) {
            return Err("An offer can't change between manual and autoscale by being replaced.".to_owned());
        }
        units.checked()
    }

    pub(super) fn most(self) -> u64 {
        match self {
            Self::Manual(units) | Self::Autoscale(units) => units,
        }
    }

    pub(super) fn shown(self) -> Value {
        match self {
            Self::Manual(units) => json!({ "offerThroughput": units }),
            // It scales between a tenth and all of it.
            Self::Autoscale(most) => json!({
                "offerThroughput": most / 10,
                "offerAutopilotSettings": { "maxThroughput": most },
            }),
        }
    }

    fn checked(self) -> Result<Self, String> {
        let (units, least, step, what) = match self {
            Self::Manual(units) => (units, 400, 100, "Manual throughput"),
            Self::Autoscale(most) => (most, 1000, 1000, "An autoscale maximum"),
        };
        if units >= least && units % step == 0 {
            return Ok(self);
        }
        Err(format!(
            "{what} is at least {least} RU/s, in steps of {step}: {units} isn't."
        ))
    }
}
