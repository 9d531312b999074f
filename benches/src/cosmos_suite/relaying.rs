//! From commit to publisher: how many a second, and how long one takes. The publisher accepts everything
//! at once, so that the relay is what is measured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use azevents_core::{EventStore, ExpectedVersion, Message, Nudge, PublishError, Publisher, Relay, RelayOptions};
use azevents_cosmos::{CosmosCommitFeed, CosmosLeases};
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Amount;
use super::setup::{EVENTS, LEASES, Setup, committed, event, percentile, stream};
use crate::rows::Row;

/// Between two commits whose way is timed.
const PACE: Duration = Duration::from_millis(10);

/// When each message was published.
#[derive(Default)]
struct Published(Mutex<HashMap<String, Instant>>);

impl Published {
    fn times(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, count: usize) {
        while self.times().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl Publisher for Published {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let now = Instant::now();
        self.times()
            .extend(messages.iter().map(|message| (message.id.clone(), now)));
        Ok(())
    }
}

pub(super) async fn measure(amount: Amount) -> Result<Vec<Row>> {
    let mut rows = vec![throughput(amount.relayed).await?];
    for nudged in [true, false] {
        let mut times = latency(amount.timed, nudged).await?;
        let how = if nudged { "with nudge" } else { "polling" };
        for (share, called) in [(0.5, "p50"), (0.99, "p99")] {
            let what = format!("commit to publisher, {how}, {called}");
            rows.push(Row::alone(what, "ms", percentile(&mut times, share)));
        }
    }
    Ok(rows)
}

/// A relay that runs until it is dropped.
async fn relay(setup: &Setup, published: Arc<Published>, nudge: Option<Nudge>) -> Result<AbortOnDropHandle<()>> {
    let feed = Arc::new(CosmosCommitFeed::open(&setup.cosmos, EVENTS).await?);
    let leases = Arc::new(CosmosLeases::open(&setup.cosmos, LEASES).await?);
    let mut relay = Relay::new("bench", feed, leases, published, RelayOptions::default());
    if let Some(nudge) = nudge {
        relay = relay.with_nudge(nudge);
    }
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = relay.run(CancellationToken::new()).await {
            eprintln!("the relay has ended: {error}");
        }
    })))
}

async fn throughput(count: usize) -> Result<Row> {
    let setup = Setup::new().await?;
    stream::iter(0..count)
        .map(|n| {
            let store = setup.store.clone();
            async move {
                let outcome = store
                    .append(&stream("relayed", n)?, ExpectedVersion::NoStream, vec![event(n)?])
                    .await?;
                committed(outcome)
            }
        })
        .buffer_unordered(32)
        .try_for_each(|_| futures::future::ok(()))
        .await?;
    let published = Arc::new(Published::default());
    let begun = Instant::now();
    let relay = relay(&setup, published.clone(), None).await?;
    published.wait_for(count).await;
    let seconds = begun.elapsed().as_secs_f64();
    drop(relay);
    Ok(Row::alone(
        "events relayed to a publisher that accepts at once",
        "1/s",
        count as f64 / seconds,
    ))
}

async fn latency(count: usize, nudged: bool) -> Result<Vec<Duration>> {
    let setup = Setup::new().await?;
    let nudge = nudged.then(Nudge::new);
    let store = match &nudge {
        Some(nudge) => setup.store.clone().with_nudge(nudge.clone()),
        None => setup.store.clone(),
    };
    let published = Arc::new(Published::default());
    let relay = relay(&setup, published.clone(), nudge).await?;
    let mut begun = HashMap::new();
    for n in 0..count {
        let event = event(n)?;
        let id = event.id.to_string();
        committed(
            store
                .append(&stream("timed", n)?, ExpectedVersion::NoStream, vec![event])
                .await?,
        )?;
        begun.insert(id, Instant::now());
        tokio::time::sleep(PACE).await;
    }
    published.wait_for(count).await;
    drop(relay);
    let ended = published.times();
    let times = begun
        .iter()
        .filter_map(|(id, begun)| Some(ended.get(id)?.saturating_duration_since(*begun)));
    Ok(times.collect())
}
