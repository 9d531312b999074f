//! Leases and checkpoints in Blob Storage: the promises of every lease store, and the format that others read.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Checkpoint, Continuation, ErrorKind, FeedRange, LeaseStore, Publisher};
use azevents_emulator::Emulator;
use azevents_eventhubs::BlobLeases;
use azevents_testing::lease_store;
use azure_core::http::RequestContent;
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{BlobClientGetPropertiesResultHeaders, BlobClientSetMetadataOptions};

use crate::support::{Bench, GROUP, HUB, Recorder, Running, interleaved, quick};

/// The stores write it in lower case.
const NAMESPACE: &str = "Shop.servicebus.windows.net";
const LONG: Duration = Duration::from_secs(60);

fn container(emulator: &Emulator, name: &str) -> BlobContainerClient {
    let blobs = &emulator.ready().blobs;
    let url = format!("{}/{name}?{}", blobs.endpoint, blobs.sas);
    BlobContainerClient::new(url.parse().expect("a URL"), None, None).expect("a client")
}

/// A lease store in a new container, and that container.
async fn leases(emulator: &Emulator) -> (BlobLeases, BlobContainerClient) {
    let created = container(emulator, "checkpoints");
    created.create(None).await.expect("a container");
    (BlobLeases::new(container(emulator, "checkpoints"), NAMESPACE), created)
}

fn reader() -> String {
    format!("eventhub/{HUB}/{GROUP}")
}

fn range() -> FeedRange {
    FeedRange("0".into())
}

fn at(sequence_number: i64) -> Checkpoint {
    Checkpoint::new(
        Continuation(format!(
            r#"{{"sequenceNumber":{sequence_number},"offset":"{}"}}"#,
            sequence_number * 100
        )),
        sequence_number as u64 + 1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn blob_leases_keep_the_promises_of_a_lease_store() {
    let bench = Bench::start(1).await;
    lease_store::check(&leases(&bench.emulator).await.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_where_and_what_other_languages_read() {
    let bench = Bench::start(1).await;
    let (leases, container) = leases(&bench.emulator).await;
    let lease = leases
        .acquire(&reader(), &range(), "me", LONG)
        .await
        .expect("acquire")
        .expect("free");
    leases.renew(&lease, Some(&at(7)), LONG).await.expect("renew");

    let blob = container.blob_client(&format!("shop.servicebus.windows.net/{HUB}/{GROUP}/checkpoint/0"));
    let metadata = blob
        .get_properties(None)
        .await
        .expect("a checkpoint")
        .metadata()
        .expect("metadata");
    assert_eq!(
        (metadata["sequencenumber"].as_str(), metadata["offset"].as_str()),
        ("7", "700")
    );
    let blob = container.blob_client(&format!("shop.servicebus.windows.net/{HUB}/{GROUP}/ownership/0"));
    let metadata = blob
        .get_properties(None)
        .await
        .expect("an ownership")
        .metadata()
        .expect("metadata");
    assert_eq!(metadata["ownerid"], "me");
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_checkpoint_is_gone_on_from_and_its_fresh_ownership_respected() {
    let bench = Bench::start(1).await;
    let (leases, container) = leases(&bench.emulator).await;
    for (what, metadata) in [
        ("ownership", [("ownerid", "python"), ("x", "y")]),
        ("checkpoint", [("sequencenumber", "41"), ("offset", "4100")]),
    ] {
        let blob = container.blob_client(&format!("shop.servicebus.windows.net/{HUB}/{GROUP}/{what}/0"));
        blob.upload(RequestContent::from(Vec::new()), None)
            .await
            .expect("uploaded");
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        blob.set_metadata(&metadata, None).await.expect("set");
    }
    assert!(
        leases
            .acquire(&reader(), &range(), "me", LONG)
            .await
            .expect("acquire")
            .is_none()
    );
    assert_eq!(leases.list(&reader()).await.expect("list")[0].owner, "python");
    let lease = loop {
        if let Some(lease) = leases
            .acquire(&reader(), &range(), "me", Duration::from_millis(50))
            .await
            .expect("acquire")
        {
            break lease;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let checkpoint = lease.checkpoint.expect("the other's");
    assert_eq!(checkpoint.continuation, at(41).continuation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_write_that_came_between_only_if_it_is_its_own() {
    let bench = Bench::start(1).await;
    let (leases, container) = leases(&bench.emulator).await;
    let first = leases
        .acquire(&reader(), &range(), "me", LONG)
        .await
        .expect("acquire")
        .expect("free");
    // As if the answer had been lost: the lease goes on from the version it knew before.
    leases.renew(&first, Some(&at(1)), LONG).await.expect("renew");
    let lease = leases
        .renew(&first, Some(&at(2)), LONG)
        .await
        .expect("its own write came between");

    let blob = container.blob_client(&format!("shop.servicebus.windows.net/{HUB}/{GROUP}/ownership/0"));
    let stolen = [("ownerid".to_owned(), "thief".to_owned())].into();
    blob.set_metadata(&stolen, Some(BlobClientSetMetadataOptions::default()))
        .await
        .expect("stolen");
    let lost = leases.renew(&lease, Some(&at(3)), LONG).await.expect_err("stolen");
    assert_eq!(lost.kind(), ErrorKind::Conflict);
    assert_eq!(leases.list(&reader()).await.expect("list")[0].checkpoint, Some(at(2)));
    leases
        .release(&lease)
        .await
        .expect("releasing a lost lease is no error");
    assert_eq!(leases.list(&reader()).await.expect("list")[0].owner, "thief");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_container_is_said_to_be_missing() {
    let bench = Bench::start(1).await;
    let leases = BlobLeases::new(container(&bench.emulator, "nowhere"), NAMESPACE);
    let error = leases
        .acquire(&reader(), &range(), "me", LONG)
        .await
        .expect_err("there is no container");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let text = format!("{leases:?}");
    assert!(text.contains("nowhere") && !text.contains("sig="), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_checkpoints_in_blobs() {
    let bench = Bench::start(2).await;
    let messages = interleaved(6, 5);
    bench.publisher().publish(&messages).await.expect("published");
    let leases = Arc::new(leases(&bench.emulator).await.0);
    let recorder = Recorder::new();
    let parking = Arc::new(bench.parking.clone());
    let consumer = bench.hubs().consumer(HUB, GROUP, leases.clone(), parking);
    let running = Running::start(consumer.with_options(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    let listed = leases.list(&reader()).await.expect("list");
    let events: u64 = listed
        .iter()
        .filter_map(|lease| lease.checkpoint.as_ref())
        .map(|at| at.events)
        .sum();
    assert_eq!(events, messages.len() as u64);
    assert!(
        listed.iter().all(|lease| lease.owner.is_empty()),
        "given back: {listed:?}"
    );
}
