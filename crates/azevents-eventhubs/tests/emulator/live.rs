//! The same promises on a namespace in Azure, where there is one: signed in as `az login` or `azd auth login` have it,
//! with the roles Event Hubs Data Owner and, for the blobs, Storage Blob Data Contributor.
//!
//! | variable | example |
//! | --- | --- |
//! | `AZEVENTS_EVENTHUBS_HOST` | `shop.servicebus.windows.net` |
//! | `AZEVENTS_EVENTHUBS_HUB` | `live-tests`, at best with several partitions |
//! | `AZEVENTS_EVENTHUBS_GROUP` | `live-tests`, in which nobody else consumes |
//! | `AZEVENTS_BLOBS_CONTAINER` | `https://shop.blob.core.windows.net/live-tests` |
//!
//! Without them the tests are skipped and say so; `AZEVENTS_REQUIRE_LIVE=1` makes that a failure.

use std::env;
use std::sync::Arc;

use azevents_core::memory::{MemoryDeadLetters, MemoryLeases};
use azevents_core::{Message, Pipeline, Publisher};
use azevents_eventhubs::{BlobLeases, EventHubs, ReplayFrom, ReplayOptions, StartFrom};
use azevents_testing::lease_store;
use azure_identity::DeveloperToolsCredential;
use azure_storage_blob::BlobContainerClient;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::support::{Recorder, Running, assert_in_order, message, quick};

/// The values of all these variables, or `None` after saying that the test is skipped.
fn variables<const N: usize>(names: [&str; N]) -> Option<[String; N]> {
    let values = names.map(|name| env::var(name).ok());
    if values.iter().all(Option::is_some) {
        return Some(values.map(Option::unwrap_or_default));
    }
    assert!(
        env::var_os("AZEVENTS_REQUIRE_LIVE").is_none(),
        "live tests are required: set {names:?}"
    );
    eprintln!("SKIPPED: a live test needs {names:?}");
    None
}

/// Only this run's: the hub may hold others.
fn of_this_run(seen: &Recorder, run: &str) -> Vec<Message> {
    let mut messages = seen.messages();
    messages.retain(|message| message.key.starts_with(run));
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure_events_arrive_in_order_and_are_replayed() {
    let names = [
        "AZEVENTS_EVENTHUBS_HOST",
        "AZEVENTS_EVENTHUBS_HUB",
        "AZEVENTS_EVENTHUBS_GROUP",
    ];
    let Some([host, hub, group]) = variables(names) else {
        return;
    };
    let credential = DeveloperToolsCredential::new(None).expect("a credential");
    let hubs = EventHubs::new(host, credential);
    let began = OffsetDateTime::now_utc() - std::time::Duration::from_secs(60);
    let run = format!("live-{}", uuid::Uuid::new_v4().simple());
    let messages: Vec<_> = (0..200)
        .map(|n| message(&format!("{run}-{}", n % 10), n / 10))
        .collect();
    hubs.publisher(hub.as_str())
        .publish(&messages)
        .await
        .expect("published");

    let recorder = Recorder::new();
    let (leases, parking) = (Arc::new(MemoryLeases::new()), Arc::new(MemoryDeadLetters::new()));
    let consumer = hubs.consumer(hub.as_str(), group.as_str(), leases.clone(), parking);
    let options = quick().with_start(StartFrom::Time(began));
    let running = Running::start(consumer.with_options(options), recorder.handler());
    recorder
        .until("all arrive", |seen| of_this_run(seen, &run).len() >= messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_in_order(&of_this_run(&recorder, &run));
    let lags = hubs.lag(&hub, &group, &leases).await.expect("lag");
    assert_eq!(lags.iter().map(|lag| lag.events).sum::<u64>(), 0, "{lags:?}");

    let again = Recorder::new();
    let replay = hubs.replay(hub.as_str(), group.as_str());
    let replay = replay.with_options(ReplayOptions::default().with_from(ReplayFrom::Time(began)));
    let pipeline = Arc::new(Pipeline::new(again.handler()));
    replay.run(pipeline, CancellationToken::new()).await.expect("replayed");
    assert_eq!(of_this_run(&again, &run).len(), messages.len());
    assert_in_order(&of_this_run(&again, &run));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure_blob_leases_keep_the_promises_of_a_lease_store() {
    let Some([container]) = variables(["AZEVENTS_BLOBS_CONTAINER"]) else {
        return;
    };
    let credential = DeveloperToolsCredential::new(None).expect("a credential");
    let url = container.parse().expect("the URL of a container");
    let container = BlobContainerClient::new(url, Some(credential), None).expect("a client");
    lease_store::check(&BlobLeases::new(container, "live")).await;
}
