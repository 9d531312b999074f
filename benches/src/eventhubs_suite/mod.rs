//! Publishing and consuming 1 KB events with keys, beside the Rust SDK alone and the official clients for Python
//! and JavaScript, all on one emulator in this process.
//!
//! Publishing counts from the first event handed over to the last acknowledgement, consuming from the first
//! event received to the last. Consumers other than the SDK's bare receiver write checkpoints to the emulator's
//! blobs.

mod ours;
mod sdk;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use azevents_core::Message;
use azevents_emulator::{Emulator, EventHub};
use azevents_eventhubs::Placement;

use crate::official::{Client, Script, known};
use crate::rows::{Better, Row};

const PARTITIONS: [u32; 2] = [4, 32];
const EVENTS: usize = 40_000;
const QUICK: usize = 2_000;
const BODY: usize = 1_000;
/// Streams that the events belong to.
const KEYS: usize = 1_000;
/// Each reader has a group of its own, since the blobs of one container tell who reads what.
const GROUPS: [&str; 3] = ["ours", "python", "javascript"];
/// Whoever takes longer than this for a figure has none.
const PATIENCE: Duration = Duration::from_secs(300);

const SCRIPT: Script = Script {
    name: "eventhubs",
    python: "azure.eventhub, azure.eventhub.extensions.checkpointstoreblob",
    javascript: &["@azure/event-hubs", "@azure/eventhubs-checkpointstore-blob"],
};

/// Where everything happens.
pub(crate) struct Scene {
    emulator: Emulator,
    hub: String,
    partitions: u32,
    events: usize,
}

/// Measures the suite.
///
/// # Errors
/// When our own publisher or consumer does not come to its end. A peer that is missing or fails is left out.
pub(crate) async fn measure(quick: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for partitions in PARTITIONS {
        let events = if quick { QUICK } else { EVENTS };
        rows.push(publishing(partitions, events).await?);
        rows.push(spreading(partitions, events).await?);
        rows.push(consuming(partitions, events).await?);
    }
    Ok(rows)
}

async fn publishing(partitions: u32, events: usize) -> Result<Row> {
    let fresh = || Scene::start(partitions, events);
    let ours = ours::publish(&fresh().await?, Placement::Key)
        .await
        .context("publishing")?;
    let peers = [
        ("sdk, event by event", known(sdk::publish_each(&fresh().await?).await)),
        (
            "python",
            known(fresh().await?.official(Client::Python, "publish").await),
        ),
        (
            "javascript",
            known(fresh().await?.official(Client::JavaScript, "publish").await),
        ),
    ];
    let what = format!("publish {events} events of 1 KB in order per key, {partitions} partitions");
    Ok(Row::beside(what, "events/s", Better::Higher, ours, peers))
}

/// Without keys, since an SDK's batch holds one key at most: no order; ours with ids, types and keys all the same.
async fn spreading(partitions: u32, events: usize) -> Result<Row> {
    let fresh = || Scene::start(partitions, events);
    let ours = ours::publish(&fresh().await?, Placement::RoundRobin)
        .await
        .context("publishing")?;
    let peers = [("sdk, batches", known(sdk::publish_batches(&fresh().await?).await))];
    let what = format!("publish {events} events of 1 KB in no order, {partitions} partitions");
    Ok(Row::beside(what, "events/s", Better::Higher, ours, peers))
}

async fn consuming(partitions: u32, events: usize) -> Result<Row> {
    let scene = Scene::start(partitions, events).await?;
    ours::publish(&scene, Placement::Key)
        .await
        .context("publishing what is to be consumed")?;
    let ours = ours::consume(&scene).await.context("consuming")?;
    let peers = [
        ("sdk, no checkpoints", known(sdk::consume(&scene).await)),
        ("python", known(scene.official(Client::Python, "consume").await)),
        ("javascript", known(scene.official(Client::JavaScript, "consume").await)),
    ];
    let what = format!("consume {events} events of 1 KB, {partitions} partitions");
    Ok(Row::beside(what, "events/s", Better::Higher, ours, peers))
}

impl Scene {
    /// An emulator of its own, so that nobody finds another's events.
    async fn start(partitions: u32, events: usize) -> Result<Self> {
        let hub = GROUPS
            .iter()
            .fold(EventHub::new("bench").with_partition_count(partitions), |hub, group| {
                hub.with_consumer_group(*group)
            });
        Ok(Self {
            emulator: Emulator::builder().event_hub(hub).start().await?,
            hub: "bench".to_owned(),
            partitions,
            events,
        })
    }

    async fn official(&self, client: Client, what: &str) -> Result<Option<f64>> {
        let blobs = &self.emulator.ready().blobs.connection_string;
        let events = self.events.to_string();
        let arguments = [what, self.connection_string(), &self.hub, blobs, &events];
        client.run(SCRIPT, &arguments, PATIENCE).await
    }

    fn connection_string(&self) -> &str {
        &self.emulator.ready().eventhubs.connection_string
    }

    fn messages(&self) -> Vec<Message> {
        let body = bytes::Bytes::from(vec![b'x'; BODY]);
        let message = |number: usize| Message {
            id: number.to_string(),
            key: format!("order-{}", number % KEYS),
            event_type: "LineAdded".to_owned(),
            content_type: "application/json".to_owned(),
            body: body.clone(),
            headers: Default::default(),
        };
        (0..self.events).map(message).collect()
    }
}

fn rate(events: usize, since: Instant) -> f64 {
    events as f64 / since.elapsed().as_secs_f64()
}
