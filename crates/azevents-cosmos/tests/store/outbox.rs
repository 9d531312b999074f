//! Documents and messages of services that keep no events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azevents_core::memory::MemoryLeases;
use azevents_core::{ErrorKind, InboxKey, Message, PublishError, Publisher, Relay, RelayOptions};
use azevents_cosmos::{Committed, CosmosCommitFeed, CosmosOutbox, DocumentWrite, Transaction};
use azevents_emulator::{FaultKind, FaultPlan};
use azure_data_cosmos::FeedScope;
use azure_data_cosmos::models::ContainerProperties;
use futures::TryStreamExt;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::common::Server;
use crate::support::message;

const CUSTOMERS: &str = "customers";

/// A broker that keeps what it is given.
#[derive(Default)]
struct Collected(Mutex<Vec<String>>);

impl Collected {
    fn ids(&self) -> Vec<String> {
        self.0.lock().expect("no panic while locked").clone()
    }
}

#[async_trait]
impl Publisher for Collected {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let ids = messages.iter().map(|message| message.id.clone());
        self.0.lock().expect("no panic while locked").extend(ids);
        Ok(())
    }
}

/// A container of the user's own making.
async fn outbox(server: &Server) -> CosmosOutbox {
    let database = server.cosmos.client().database_client("test".to_owned());
    let properties = ContainerProperties::new(CUSTOMERS, "/address/country".into());
    database.create_container(properties, None).await.expect("created");
    CosmosOutbox::open(&server.cosmos, CUSTOMERS).await.expect("container")
}

async fn documents(server: &Server) -> BTreeMap<String, Value> {
    let container = server.cosmos.container(CUSTOMERS).await.expect("container");
    let query = container.query_items::<Value>("SELECT * FROM c", FeedScope::full_container(), None);
    let all: Vec<_> = query.await.expect("query").try_collect().await.expect("query");
    let id = |document: &Value| document["id"].as_str().expect("an id").to_owned();
    all.into_iter().map(|document| (id(&document), document)).collect()
}

fn upsert(id: &str, content: &Value) -> DocumentWrite {
    DocumentWrite::upsert(id, content).expect("JSON")
}

#[tokio::test]
async fn documents_and_messages_are_committed_together_and_the_relay_publishes_the_messages() {
    let server = Server::start().await;
    let outbox = outbox(&server).await;
    server.misbehave(FaultPlan::new(9).with(FaultKind::CosmosLoseResponse, 0.5, 100));
    for n in 0..10 {
        let transaction = Transaction::new("France")
            .document(upsert(
                &format!("customer-{n}"),
                &json!({ "name": "A", "address": { "city": "Lyon" } }),
            ))
            .message(message(&format!("m{n}")));
        let (committed, cost) = outbox.commit(&transaction).await.expect("commit");
        assert_eq!(committed, Committed::Written);
        assert!(cost.request_units > 0.0, "{cost}");
    }
    server.emulator.faults().clear();
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 0, "answers were lost");
    let kept = documents(&server).await;
    assert_eq!(kept.len(), 20, "a document and an outbox document each");
    assert_eq!(
        kept["customer-3"]["address"],
        json!({ "city": "Lyon", "country": "France" })
    );

    let feed = CosmosCommitFeed::open(&server.cosmos, CUSTOMERS)
        .await
        .expect("container");
    let broker = Arc::new(Collected::default());
    let relay = Relay::new(
        "outbox",
        Arc::new(feed),
        Arc::new(MemoryLeases::new()),
        broker.clone(),
        RelayOptions::default(),
    );
    let stop = CancellationToken::new();
    let done = async {
        while broker.ids().len() < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (ran, ()) = futures::join!(relay.run(stop.clone()), done);
    ran.expect("the relay runs");
    assert_eq!(broker.ids(), (0..10).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_copies_of_a_message_at_once_have_one_effect() {
    let server = Server::start().await;
    let outbox = outbox(&server).await;
    server.misbehave(FaultPlan::new(4).with(FaultKind::CosmosLoseResponse, 0.2, 100));
    for n in 0..5 {
        let copies = (0..4).map(|copy| {
            Transaction::new("France")
                .handling(InboxKey::new("shipping", format!("cause/{n}")))
                .document(upsert(&format!("shipment-{n}"), &json!({ "by": copy })))
                .message(message(&format!("shipped-{n}-{copy}")))
        });
        let copies: Vec<_> = copies.collect();
        let outcomes = join_all(copies.iter().map(|copy| outbox.commit(copy))).await;
        let written = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok((Committed::Written, _))))
            .count();
        let duplicates = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Ok((Committed::Duplicate, _))))
            .count();
        assert_eq!((written, duplicates), (1, 3), "{outcomes:?}");
    }
    let outboxes = documents(&server)
        .await
        .keys()
        .filter(|id| id.starts_with("azevents-outbox"))
        .count();
    assert_eq!(outboxes, 5, "no messages of a copy");
}

#[tokio::test]
async fn a_transaction_that_cannot_be_is_refused_by_name_and_leaves_nothing() {
    let server = Server::start().await;
    let outbox = outbox(&server).await;
    let new = || Transaction::new("France").message(message("m"));
    let many = (0..100).fold(new(), |transaction, n| {
        transaction.document(upsert(&n.to_string(), &json!({})))
    });
    let elsewhere = json!({ "address": { "country": "Spain" } });
    for (transaction, kind, says) in [
        (
            Transaction::in_partition(["a", "b"]),
            ErrorKind::InvalidInput,
            "2 level(s)",
        ),
        (
            Transaction::new("x".repeat(3000)),
            ErrorKind::InvalidInput,
            "3000 bytes",
        ),
        (many, ErrorKind::TooLarge, "101 operations"),
        (
            new().document(upsert("a/b", &json!({}))),
            ErrorKind::InvalidInput,
            "a/b",
        ),
        (
            new().document(upsert("a", &json!(1))),
            ErrorKind::InvalidInput,
            "no JSON object",
        ),
        (
            new().document(upsert("a", &json!({ "id": "b" }))),
            ErrorKind::InvalidInput,
            "another id",
        ),
        (
            new().document(upsert("a", &elsewhere)),
            ErrorKind::InvalidInput,
            "address/country",
        ),
        (
            new().document(upsert("a", &json!({ "address": 1 }))),
            ErrorKind::InvalidInput,
            "no object",
        ),
        (
            new().document(DocumentWrite::delete("gone", None)),
            ErrorKind::NotFound,
            "gone",
        ),
    ] {
        let error = outbox.commit(&transaction).await.expect_err(says);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert!(documents(&server).await.is_empty());
}
