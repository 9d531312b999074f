//! The promises of the core traits, kept over a socket.

mod common;

use azevents_cosmos::{CosmosCommitFeed, CosmosInbox, CosmosLeases};
use common::{EVENTS, INBOX, LEASES, Server};

#[tokio::test]
async fn event_store() {
    let server = Server::start().await;
    for store in server.stores().await {
        azevents_testing::event_store::check(&store).await;
    }
}

/// Histories by `AZEVENTS_MODEL_SEEDS`.
#[tokio::test]
async fn event_store_and_model_agree() {
    let seeds: u64 = std::env::var("AZEVENTS_MODEL_SEEDS").map_or(6, |text| text.parse().expect("a number"));
    let server = Server::start().await;
    for store in server.stores().await {
        let histories = (0..seeds).map(|seed| azevents_testing::event_store_model::check(&store, seed, 40));
        futures::future::join_all(histories).await;
    }
}

#[tokio::test]
async fn lifecycle() {
    let server = Server::start().await;
    for store in server.stores().await {
        azevents_testing::lifecycle::check(&store).await;
    }
}

#[tokio::test]
async fn categories() {
    let server = Server::start().await;
    for store in server.stores().await {
        azevents_testing::category::check(&store).await;
    }
}

#[tokio::test]
async fn snapshots() {
    let server = Server::start().await;
    for store in server.stores().await {
        azevents_testing::snapshot_store::check(&store).await;
    }
}

#[tokio::test]
async fn commit_feed() {
    let server = Server::start().await;
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    azevents_testing::commit_feed::check(&server.store().await, &feed).await;
}

#[tokio::test]
async fn commit_feed_in_small_pages() {
    let server = Server::start().await;
    let feed = CosmosCommitFeed::open(&server.cosmos, EVENTS).await.expect("container");
    let feed = feed.with_page_size(3.try_into().expect("not zero"));
    azevents_testing::commit_feed::check(&server.store().await, &feed).await;
}

#[tokio::test]
async fn lease_store() {
    let server = Server::start().await;
    let leases = CosmosLeases::open(&server.cosmos, LEASES).await.expect("container");
    azevents_testing::lease_store::check(&leases).await;
    azevents_testing::lease_store::check_handing_over(&leases).await;
}

#[tokio::test]
async fn inbox() {
    let server = Server::start().await;
    let inbox = CosmosInbox::open(&server.cosmos, INBOX).await.expect("container");
    azevents_testing::inbox::check(&inbox).await;
}

#[tokio::test]
async fn read_model() {
    let server = Server::start().await;
    azevents_testing::read_model::check(&server.read_model().await).await;
}
