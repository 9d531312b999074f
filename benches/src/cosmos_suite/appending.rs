//! Appends beside the SDK's `create_item` of the same document.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use azevents_core::{EventStore, ExpectedVersion};
use azure_data_cosmos::{ContainerClient, TransactionalBatch};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::Amount;
use super::setup::{EVENTS, Setup, committed, event, percentile, stream};
use crate::rows::{Better, Row};

const RAW: &str = "create_item";
const RAW_BATCH: &str = "raw batch";
const IN_FLIGHT: usize = 32;
const FIRST: &str = "c00000000000000000001";

pub(super) async fn measure(amount: Amount) -> Result<Vec<Row>> {
    let setup = Setup::new().await?;
    let raw = Raw::new(&setup).await?;
    warm_up(&setup, &raw).await?;
    let mut rows = one_after_another(&setup, &raw, amount.sequential).await?;
    rows.push(in_flight(&setup, &raw, amount.concurrent).await?);
    Ok(rows)
}

/// The SDK, and the document that an append makes.
struct Raw {
    container: ContainerClient,
    document: Value,
}

impl Raw {
    async fn new(setup: &Setup) -> Result<Self> {
        let container = setup.cosmos.container(EVENTS).await?;
        let name = stream("template", 0)?;
        committed(
            setup
                .store
                .append(&name, ExpectedVersion::NoStream, vec![event(1)?])
                .await?,
        )?;
        let read = container.read_item(name.as_str().to_owned(), FIRST, None).await?;
        let mut document: Value = read.into_model()?;
        let fields = document.as_object_mut().context("a document is an object")?;
        fields.retain(|name, _| !name.starts_with('_'));
        Ok(Self { container, document })
    }

    fn document(&self, name: &str, id: &str) -> Value {
        let mut document = self.document.clone();
        document["stream"] = name.into();
        document["id"] = id.into();
        document
    }

    async fn create(&self, n: usize) -> Result<()> {
        let name = format!("raw-{n}");
        let document = self.document(&name, FIRST);
        self.container.create_item(name, FIRST, document, None).await?;
        Ok(())
    }

    /// What an append after another sends, by hand.
    async fn read_and_create(&self, n: usize) -> Result<()> {
        let name = format!("raw-{n}");
        let document = self.document(&name, "c00000000000000000002");
        let batch = TransactionalBatch::new(name)
            .read_item(FIRST, None)
            .create_item(document)?;
        self.container.execute_transactional_batch(batch, None).await?;
        Ok(())
    }
}

/// The first requests open connections and fill caches.
async fn warm_up(setup: &Setup, raw: &Raw) -> Result<()> {
    for n in 0..50 {
        let name = stream("warm", n)?;
        committed(
            setup
                .store
                .append(&name, ExpectedVersion::NoStream, vec![event(n)?])
                .await?,
        )?;
        raw.create(1_000_000 + n).await?;
        raw.read_and_create(1_000_000 + n).await?;
    }
    Ok(())
}

/// In turns, so that whatever else the machine does hits all alike.
async fn one_after_another(setup: &Setup, raw: &Raw, count: usize) -> Result<Vec<Row>> {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for n in 0..count {
        let name = stream("new", n)?;
        let begun = Instant::now();
        let outcome = setup
            .store
            .append(&name, ExpectedVersion::NoStream, vec![event(n)?])
            .await?;
        times[0].push(begun.elapsed());
        let begun = Instant::now();
        raw.create(n).await?;
        times[1].push(begun.elapsed());
        let head = ExpectedVersion::Head(committed(outcome)?.head());
        let begun = Instant::now();
        let outcome = setup.store.append(&name, head, vec![event(n)?]).await?;
        times[2].push(begun.elapsed());
        committed(outcome)?;
        let begun = Instant::now();
        raw.read_and_create(n).await?;
        times[3].push(begun.elapsed());
    }
    let mut rows = Vec::new();
    for (share, called) in [(0.5, "p50"), (0.99, "p99")] {
        let [new, create, after, batch] = times.each_mut().map(|times| percentile(times, share));
        rows.push(Row::beside(
            format!("append to a new stream, {called}"),
            "ms",
            Better::Lower,
            new,
            [(RAW, Some(create))],
        ));
        // Against the one that is nearer in what it does; the other says what the read of the commit before costs.
        rows.push(Row::beside(
            format!("append after a head, {called}"),
            "ms",
            Better::Lower,
            after,
            [(RAW, Some(create))],
        ));
        rows.push(Row::beside(
            format!("append after a head, {called}"),
            "ms",
            Better::Lower,
            after,
            [(RAW_BATCH, Some(batch))],
        ));
    }
    Ok(rows)
}

async fn in_flight(setup: &Setup, raw: &Raw, count: usize) -> Result<Row> {
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|n| async move {
            let name = stream("many", n)?;
            committed(
                setup
                    .store
                    .append(&name, ExpectedVersion::NoStream, vec![event(n)?])
                    .await?,
            )
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| futures::future::ok(()))
        .await?;
    let ours = count as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    stream::iter(0..count)
        .map(|n| raw.create(2_000_000 + n))
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(futures::future::ok)
        .await?;
    let theirs = count as f64 / begun.elapsed().as_secs_f64();
    let what = format!("appends to new streams, {IN_FLIGHT} in flight");
    Ok(Row::beside(what, "1/s", Better::Higher, ours, [(RAW, Some(theirs))]))
}
