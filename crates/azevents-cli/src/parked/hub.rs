//! Parked in another event hub.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use azevents_core::{
    DeadLetter, DeadLetterSink, Delivery, Error, ErrorKind, Handled, Handler, HandlerError, Message, Parked, Pipeline,
};
use azevents_eventhubs::{BlobLeases, ConsumerOptions, EventHubs, ReplayOptions};
use azure_storage_blob::BlobContainerClient;
use tokio_util::sync::CancellationToken;

use super::args::Place;
use super::redriving::{pipeline, until};

/// Reads what the hub still keeps, whether it was sent again or not.
pub(super) async fn list(place: &Place, hub: &str) -> Result<Vec<Parked>> {
    let letters = Arc::new(Letters::default());
    let replay = place
        .hubs
        .open()?
        .replay(hub, place.group.as_str())
        .with_options(ReplayOptions::default());
    let pipeline = Arc::new(Pipeline::new(letters.clone()));
    replay.run(pipeline, CancellationToken::new()).await?;
    let mut letters = std::mem::take(&mut *letters.0.lock().unwrap_or_else(PoisonError::into_inner));
    Parked::sort(&mut letters);
    Ok(letters)
}

/// Collects what it is given.
#[derive(Default)]
struct Letters(Mutex<Vec<Parked>>);

#[async_trait]
impl Handler for Letters {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let letter = Parked::marked(message.clone(), delivery.enqueued_at);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        Ok(Handled::Done)
    }
}

/// Nothing leaves a hub, so checkpoints say what was sent again.
pub(super) async fn redrive(
    place: &Place,
    hubs: &EventHubs,
    hub: &str,
    handler: impl Handler + 'static,
) -> Result<u64> {
    let url = place
        .checkpoints
        .as_deref()
        .context("--checkpoints or BLOBS_CONTAINER_URL: without checkpoints all would be sent again each time")?;
    let url = url.parse().context("--checkpoints is no URL")?;
    let container = BlobContainerClient::new(url, None, None)?;
    let leases = Arc::new(BlobLeases::new(container, place.hubs.name()));
    // One name, so that a run that was killed is gone on from without waiting for its leases.
    let options = ConsumerOptions::default()
        .with_owner("azevents parked redrive")
        .with_acquire_interval(Duration::from_millis(200))
        .with_checkpoints(100, Duration::from_millis(500));
    let consumer = hubs
        .consumer(hub, place.group.as_str(), leases.clone(), Arc::new(Nowhere))
        .with_options(options);
    let pipeline = Arc::new(pipeline(handler));
    let nothing_left = || async {
        let lags = hubs.lag(hub, &place.group, &*leases).await?;
        Ok(lags.iter().all(|lag| lag.events == 0))
    };
    until(&consumer, &pipeline, nothing_left).await?;
    Ok(pipeline.stats().handled)
}

/// What cannot be sent again stays where it is.
struct Nowhere;

#[async_trait]
impl DeadLetterSink for Nowhere {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> azevents_core::Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "send again", &message.id).with_message(why.to_string()))
    }
}
