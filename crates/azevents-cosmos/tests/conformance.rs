//! The promises of the core traits, kept over a socket.

mod common;

use azevents_core::dead_letter::{PARKED_SEQUENCE_NUMBER, PARKED_SOURCE};
use azevents_core::{DeadLetter, DeadLetterSink, Message};
use azevents_cosmos::{CosmosCommitFeed, CosmosDeadLetters, CosmosInbox, CosmosLeases};
use common::{DEAD_LETTERS, EVENTS, INBOX, LEASES, Server};

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

#[tokio::test]
async fn what_was_parked_is_listed_as_it_lay_in_its_source_until_it_is_removed() {
    let server = Server::start().await;
    let parking = CosmosDeadLetters::open(&server.cosmos, DEAD_LETTERS, "billing")
        .await
        .expect("container");
    let other = CosmosDeadLetters::open(&server.cosmos, DEAD_LETTERS, "shipping")
        .await
        .expect("container");
    let message = |number: u32, body: &'static [u8]| Message {
        id: format!("order-1/{number}"),
        key: "order-1".into(),
        event_type: "LineAdded".into(),
        content_type: "application/json".into(),
        body: body.into(),
        headers: [
            (PARKED_SOURCE.to_owned(), "eventhub/orders/billing/0".to_owned()),
            (PARKED_SEQUENCE_NUMBER.to_owned(), number.to_string()),
        ]
        .into(),
    };
    let why = DeadLetter::new("Poison", "cannot be handled");
    let messages = [message(9, b"{\"a\":1}"), message(10, b"no JSON"), message(100, b"")];
    for message in messages.iter().rev() {
        parking.set_aside(message, &why).await.expect("parked");
    }
    other.set_aside(&messages[0], &why).await.expect("parked");
    let listed = parking.list().await.expect("a list");
    assert_eq!(
        listed.iter().map(|parked| parked.message.clone()).collect::<Vec<_>>(),
        messages
    );
    assert!(listed.iter().all(|parked| parked.why == why && parked.at.is_some()));

    assert!(parking.remove("order-1/10").await.expect("removed"));
    assert!(!parking.remove("order-1/10").await.expect("an answer"), "it is gone");
    assert_eq!(parking.list().await.expect("a list").len(), 2);
    assert_eq!(other.list().await.expect("a list").len(), 1, "another source's stay");
}
