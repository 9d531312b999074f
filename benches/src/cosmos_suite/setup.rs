//! An emulator, a connection, and what is written to it.

use std::time::Duration;

use anyhow::{Context, Result};
use azevents_core::{AppendOutcome, Commit, NewEvent, StreamId};
use azevents_cosmos::{ContainerSpec, Cosmos, CosmosConfig, CosmosEventStore};
use azevents_emulator::Emulator;

pub(super) const EVENTS: &str = "events";
pub(super) const LEASES: &str = "leases";

/// Dropping it stops the emulator.
pub(super) struct Setup {
    _emulator: Emulator,
    pub(super) cosmos: Cosmos,
    pub(super) store: CosmosEventStore,
}

impl Setup {
    pub(super) async fn new() -> Result<Self> {
        let emulator = Emulator::builder().start().await?;
        let address = emulator
            .ready()
            .cosmos
            .as_ref()
            .context("the emulator has no Cosmos DB")?;
        let config = CosmosConfig::with_key(&address.endpoint, &address.key, "bench");
        let cosmos = Cosmos::connect(config).await?;
        let containers = [ContainerSpec::events(EVENTS), ContainerSpec::leases(LEASES)];
        cosmos.provision(&containers).await?;
        let store = CosmosEventStore::open(&cosmos, EVENTS).await?;
        Ok(Self {
            _emulator: emulator,
            cosmos,
            store,
        })
    }
}

pub(super) fn stream(name: &str, n: usize) -> Result<StreamId> {
    Ok(StreamId::new(format!("{name}-{n}"))?)
}

/// An event of an everyday size.
pub(super) fn event(n: usize) -> Result<NewEvent> {
    let line = serde_json::json!({
        "stock_code": "85123A",
        "description": "WHITE HANGING HEART T-LIGHT HOLDER",
        "quantity": n % 100,
        "unit_price": 2.55,
    });
    Ok(NewEvent::json("LineAdded", &line)?)
}

pub(super) fn committed(outcome: AppendOutcome) -> Result<Commit> {
    match outcome {
        AppendOutcome::Committed(commit) => Ok(commit),
        AppendOutcome::Conflict(conflict) => anyhow::bail!("nobody else writes here: {conflict:?}"),
    }
}

/// The time that `share` of the times do not exceed, in milliseconds.
pub(super) fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
