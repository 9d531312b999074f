//! Our own publisher and consumer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result};
use async_trait::async_trait;
use azevents_core::memory::MemoryDeadLetters;
use azevents_core::{Consumer, Delivery, Handled, Handler, HandlerError, Message, Pipeline, Publisher};
use azevents_eventhubs::{BlobLeases, EventHubs, Placement, PublisherOptions};
use azure_storage_blob::BlobContainerClient;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Scene, rate};

/// As many events as a relay publishes in one call.
const PAGE: usize = 1_000;

pub(super) async fn publish(scene: &Scene, placement: Placement) -> Result<f64> {
    let publisher = EventHubs::from_connection_string(scene.connection_string())?
        .publisher(scene.hub.as_str())
        .with_options(PublisherOptions::default().with_placement(placement));
    let messages = scene.messages();
    // Connections are opened before the clock starts, as for everybody.
    publisher.publish(&[]).await?;
    let began = Instant::now();
    for page in messages.chunks(PAGE) {
        tokio::time::timeout(PATIENCE, publisher.publish(page)).await??;
    }
    Ok(rate(messages.len(), began))
}

pub(super) async fn consume(scene: &Scene) -> Result<f64> {
    let blobs = &scene.emulator.ready().blobs;
    let url = format!("{}/ours?{}", blobs.endpoint, blobs.sas).parse()?;
    let container = BlobContainerClient::new(url, None, None)?;
    container.create(None).await?;
    let leases = Arc::new(BlobLeases::new(container, "bench"));
    let parking = Arc::new(MemoryDeadLetters::new());
    let hubs = EventHubs::from_connection_string(scene.connection_string())?;
    let consumer = hubs.consumer(scene.hub.as_str(), "ours", leases, parking);
    let stop = CancellationToken::new();
    let counter = Arc::new(Counter {
        seen: AtomicUsize::new(0),
        expected: scene.events,
        began: OnceLock::new(),
        rate: OnceLock::new(),
        stop: stop.clone(),
    });
    let pipeline = Arc::new(Pipeline::new(counter.clone()));
    tokio::time::timeout(PATIENCE, consumer.run(pipeline, stop)).await??;
    counter.rate.get().copied().context("the consumer ended early")
}

/// Counts events, and stops the consumer after the last.
struct Counter {
    seen: AtomicUsize,
    expected: usize,
    began: OnceLock<Instant>,
    rate: OnceLock<f64>,
    stop: CancellationToken,
}

#[async_trait]
impl Handler for Counter {
    async fn handle(&self, _: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let began = *self.began.get_or_init(Instant::now);
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.expected {
            let _ = self.rate.set(rate(self.expected, began));
            self.stop.cancel();
        }
        Ok(Handled::Done)
    }
}
