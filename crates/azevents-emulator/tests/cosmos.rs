//! The Cosmos DB endpoint, driven by the official Rust client over a socket.

#![cfg(feature = "cosmos")]

mod support;

use azevents_emulator::{Container, Database, Emulator, FaultKind, FaultPlan, TimeToLive};
use azure_data_cosmos::{
    ContainerClient, FeedScope, PartitionKey, Query, TransactionalBatch,
    models::{ChangeFeedItem, ContainerProperties, ThroughputProperties},
    options::{
        ChangeFeedOptions, ChangeFeedStartFrom, CreateContainerOptions, ItemWriteOptions, MaxItemCountHint,
        OperationOptionsBuilder, Precondition, ThrottlingRetryOptionsBuilder,
    },
};
use futures::StreamExt;
use serde_json::{Value, json};

use support::{cosmos_client, cosmos_client_with, events_container, http};

async fn emulator_with_events() -> (Emulator, ContainerClient) {
    let emulator = Emulator::builder().start().await.expect("an emulator");
    let client = cosmos_client(&emulator).await;
    let events = events_container(&client).await;
    (emulator, events)
}

fn commit(stream: &str, id: &str) -> Value {
    json!({ "id": id, "stream": stream, "type": "commit", "events": [1, 2, 3] })
}

async fn create(events: &ContainerClient, stream: &str, id: &str) {
    events
        .create_item(stream.to_owned(), id, commit(stream, id), None)
        .await
        .expect("created");
}

#[tokio::test]
async fn a_batch_commits_as_a_whole_and_says_which_operation_failed() {
    let (_emulator, events) = emulator_with_events().await;
    let appended = TransactionalBatch::new("order-1")
        .create_item(commit("order-1", "0"))
        .unwrap()
        .create_item(commit("order-1", "1"))
        .unwrap();
    let response = events.execute_transactional_batch(appended, None).await.unwrap();
    let results = response.into_model().unwrap();
    let statuses = |results: &azure_data_cosmos::models::TransactionalBatchResponse| {
        results
            .results()
            .iter()
            .map(azure_data_cosmos::models::TransactionalBatchOperationResult::status_code)
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(&results), [201, 201]);

    let conflicting = TransactionalBatch::new("order-1")
        .read_item("0", None)
        .create_item(commit("order-1", "2"))
        .unwrap()
        .create_item(commit("order-1", "1"))
        .unwrap();
    let results = match events.execute_transactional_batch(conflicting, None).await {
        Ok(response) => response.into_model().unwrap(),
        Err(error) => panic!("the outcome of each operation is lost: {error}"),
    };
    assert_eq!(statuses(&results), [424, 424, 409]);
    let absent = events.read_item("order-1", "2", None).await.unwrap_err();
    assert!(absent.status().is_not_found(), "the first half stayed: {absent}");
}

#[tokio::test]
async fn a_stale_etag_is_refused() {
    let (_emulator, events) = emulator_with_events().await;
    create(&events, "order-1", "0").await;
    let read = events.read_item("order-1", "0", None).await.unwrap();
    let etag = read.headers().etag().expect("an etag").clone();
    let guarded = || {
        let precondition = Precondition::if_match(etag.clone());
        Some(ItemWriteOptions::default().with_precondition(precondition))
    };
    let item = commit("order-1", "0");
    events
        .replace_item("order-1", "0", &item, guarded())
        .await
        .expect("the etag was fresh");
    let stale = events.replace_item("order-1", "0", &item, guarded()).await.unwrap_err();
    assert!(stale.status().is_precondition_failed(), "{stale}");
}

#[tokio::test]
async fn queries_see_one_partition_or_all_of_them() {
    let (_emulator, events) = emulator_with_events().await;
    for stream in ["a", "b", "c", "d", "e"] {
        create(&events, stream, "0").await;
        create(&events, stream, "1").await;
    }
    let count = async |query: &str, scope: FeedScope| {
        let mut items = events
            .query_items::<Value>(Query::from(query), scope, None)
            .await
            .unwrap();
        let mut count = 0;
        while let Some(item) = items.next().await {
            item.unwrap();
            count += 1;
        }
        count
    };
    let one = FeedScope::partition(PartitionKey::from("c"));
    assert_eq!(count("SELECT * FROM c ORDER BY c.id DESC", one).await, 2);
    let all = FeedScope::full_container();
    assert_eq!(count("SELECT * FROM c WHERE c.id = '1'", all).await, 5);
}

/// Reads on until `wanted` changes have come; returns them and where to go on.
async fn changes(
    events: &ContainerClient,
    options: ChangeFeedOptions,
    wanted: usize,
) -> (Vec<String>, ChangeFeedOptions) {
    let page_size = MaxItemCountHint::Limit(7.try_into().unwrap());
    let options = options.with_max_item_count(page_size);
    let mut feed = events
        .query_change_feed::<Value>(
            FeedScope::full_container(),
            ChangeFeedStartFrom::Beginning,
            Some(options),
        )
        .await
        .unwrap();
    let mut seen = Vec::new();
    while seen.len() < wanted {
        let page = feed.next().await.expect("a change feed has no end").unwrap();
        for item in page.items() {
            let current: &Value = ChangeFeedItem::current(item).expect("the latest version");
            seen.push(format!("{}/{}", current["stream"], current["id"]));
        }
    }
    let token = feed.to_continuation_token().unwrap();
    (seen, ChangeFeedOptions::default().with_continuation_token(token))
}

#[tokio::test]
async fn the_change_feed_has_every_commit_once_and_goes_on_where_it_stopped() {
    let (_emulator, events) = emulator_with_events().await;
    for n in 0..40 {
        create(&events, &format!("order-{}", n % 8), &n.to_string()).await;
    }
    let (mut seen, position) = changes(&events, ChangeFeedOptions::default(), 40).await;
    for n in 40..60 {
        create(&events, &format!("order-{}", n % 8), &n.to_string()).await;
    }
    let (more, _) = changes(&events, position, 20).await;
    for stream in 0..8 {
        let prefix = format!("\"order-{stream}\"/");
        let order: Vec<&String> = seen
            .iter()
            .chain(&more)
            .filter(|change| change.starts_with(&prefix))
            .collect();
        let expected: Vec<String> = (0..60)
            .filter(|n| n % 8 == stream)
            .map(|n| format!("{prefix}\"{n}\""))
            .collect();
        assert_eq!(order, expected.iter().collect::<Vec<_>>());
    }
    seen.extend(more);
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn a_request_signed_with_another_key_is_refused() {
    let emulator = Emulator::builder().start().await.unwrap();
    let wrong = "d3Jvbmc=".to_owned();
    let refused = match cosmos_client_with(&emulator, wrong).await {
        Err(error) => error,
        // The account may be asked for as late as with the first request.
        Ok(client) => client
            .create_database("test", None)
            .await
            .map(|_| ())
            .expect_err("the wrong key"),
    };
    assert_eq!(u16::from(refused.status().status_code()), 401, "{refused}");
}

#[tokio::test]
async fn charges_follow_the_figures_the_service_publishes() {
    let (_emulator, events) = emulator_with_events().await;
    // In hundredths, which is how it is told.
    let charge = |headers: &azure_data_cosmos::models::ResponseHeaders| {
        (headers.request_charge().expect("a charge").value() * 100.0).round() as u32
    };
    let item = json!({ "id": "0", "stream": "s" });
    let created = events.create_item("s".to_owned(), "0", &item, None).await.unwrap();
    let read = events.read_item("s", "0", None).await.unwrap();
    let replaced = events.replace_item("s", "0", &item, None).await.unwrap();
    let deleted = events.delete_item("s", "0", None).await.unwrap();
    let charges = [
        charge(created.headers()),
        charge(read.headers()),
        charge(replaced.headers()),
        charge(deleted.headers()),
    ];
    assert_eq!(charges, [571, 100, 1067, 571]);

    let batch = TransactionalBatch::new("s")
        .create_item(json!({ "id": "1", "stream": "s" }))
        .unwrap()
        .create_item(json!({ "id": "2", "stream": "s", "v": 1 }))
        .unwrap()
        .read_item("1", None);
    let batch = events.execute_transactional_batch(batch, None).await.unwrap();
    assert_eq!(charge(batch.headers()), 1262, "the sum of 5.714, 5.905 and 1");
}

#[tokio::test]
async fn throttled_and_unavailable_requests_succeed_when_the_client_tries_again() {
    let (emulator, events) = emulator_with_events().await;
    emulator.faults().set_plan(
        FaultPlan::new(7)
            .with(FaultKind::CosmosThrottle, 0.3, 5)
            .with(FaultKind::CosmosUnavailable, 0.2, 2)
            .with(FaultKind::CosmosRetryWith, 0.2, 2)
            .with(FaultKind::Delay, 0.2, 2),
    );
    for n in 0..30 {
        create(&events, "order-1", &n.to_string()).await;
    }
    assert_eq!(emulator.faults().counts()[&FaultKind::CosmosThrottle].injected, 5);
    assert_eq!(emulator.faults().counts()[&FaultKind::CosmosUnavailable].injected, 2);
}

#[tokio::test]
async fn a_client_waits_for_request_units_unless_it_is_told_not_to() {
    let builder = Emulator::builder().enforce_provisioned_throughput();
    let emulator = builder.start().await.expect("an emulator");
    let client = cosmos_client(&emulator).await;
    client.create_database("test", None).await.expect("a database");
    let database = client.database_client("test");
    let properties = ContainerProperties::new("events", "/stream".into());
    let options = CreateContainerOptions::default().with_throughput(ThroughputProperties::manual(400));
    database
        .create_container(properties, Some(options))
        .await
        .expect("a container");
    let events = database.container_client("events", None).await.expect("a client");
    let throughput = events.read_throughput(None).await.expect("an offer");
    assert_eq!(throughput.and_then(|throughput| throughput.throughput()), Some(400));
    // A partition has 100 RU a second, so both kinds of client meet the end of it.
    let hasty = ThrottlingRetryOptionsBuilder::new().with_max_retry_count(0).build();
    let hasty = OperationOptionsBuilder::new()
        .with_throttling_retry_options(hasty)
        .build();
    let mut refused = None;
    for n in 0.. {
        let (id, options) = (n.to_string(), ItemWriteOptions::default());
        let options = options.with_operation_options(hasty.clone());
        if let Err(error) = events.create_item("s", &id, commit("s", &id), Some(options)).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("an error");
    assert!(refused.status().is_throttled(), "{refused}");
    for n in 0..30 {
        create(&events, "s", &format!("patient-{n}")).await;
    }
    let throughput = ThroughputProperties::manual(40_000);
    let replacing = events.begin_replace_throughput(throughput, None).await.expect("begun");
    replacing.await.expect("replaced");
    for n in 0..30 {
        let (id, options) = (format!("replaced-{n}"), ItemWriteOptions::default());
        let options = options.with_operation_options(hasty.clone());
        let created = events.create_item("s", &id, commit("s", &id), Some(options)).await;
        created.expect("there is more than enough");
    }
}

#[tokio::test]
async fn a_lost_response_leaves_the_write_in_place() {
    let (emulator, events) = emulator_with_events().await;
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::CosmosLoseResponse, 1.0, 1));
    // The client may try again by itself, and then is told that the item is there.
    let outcome = events.create_item("s".to_owned(), "0", commit("s", "0"), None).await;
    assert_eq!(emulator.faults().counts()[&FaultKind::CosmosLoseResponse].injected, 1);
    if let Err(error) = outcome {
        assert!(!error.status().is_throttled(), "{error}");
    }
    events.read_item("s", "0", None).await.expect("the write was executed");
}

#[tokio::test]
async fn what_the_emulator_does_not_have_is_said_in_the_services_words() {
    let emulator = Emulator::builder().start().await.unwrap();
    let endpoint = &emulator.ready().cosmos.as_ref().unwrap().endpoint;
    let (status, body) = http(endpoint, "POST", "/dbs/d/colls/c/sprocs", "{}").await;
    assert_eq!(status, 501);
    assert_eq!(body["code"], "NotImplemented");
    let (status, body) = http(endpoint, "TRACE", "/", "").await;
    assert_eq!(status, 405);
    assert!(body["message"].as_str().unwrap().contains("TRACE"), "{body}");
    let (status, _) = http(endpoint, "GET", "/dbs/nowhere/", "").await;
    assert_eq!(status, 404, "a trailing slash is not an error");
}

#[tokio::test]
async fn a_database_of_the_topology_is_there_before_the_first_client() {
    let container = Container::new("events", "/stream").with_time_to_live(TimeToLive::PerItem);
    let emulator = Emulator::builder()
        .database(Database::new("test").with_container(container))
        .start()
        .await
        .unwrap();
    let client = cosmos_client(&emulator).await;
    let events = client.database_client("test").container_client("events", None).await;
    let events = events.expect("the container is there");
    let mut item = commit("s", "0");
    item["ttl"] = 10.into();
    events.create_item("s".to_owned(), "0", &item, None).await.unwrap();
    emulator.clock().advance(std::time::Duration::from_secs(11));
    let gone = events.read_item("s", "0", None).await.unwrap_err();
    assert!(gone.status().is_not_found(), "{gone}");
}

#[tokio::test]
async fn writes_go_on_in_another_region_after_a_failover_and_a_loss() {
    let emulator = Emulator::builder()
        .cosmos_regions(["East US", "West US"])
        .start()
        .await
        .unwrap();
    let events = events_container(&cosmos_client(&emulator).await).await;
    create(&events, "s", "0").await;
    emulator.cosmos_regions().fail_over_to("West US").unwrap();
    create(&events, "s", "1").await;
    let writes = || {
        let listed = emulator.cosmos_regions().list();
        listed.iter().map(|region| region.writes).collect::<Vec<_>>()
    };
    assert_eq!(writes(), [false, true]);
    // The region that writes is lost: the other takes over, and whoever comes now finds everything.
    emulator.cosmos_regions().set_online("West US", false).unwrap();
    assert_eq!(writes(), [true, false]);
    let client = cosmos_client(&emulator).await;
    let events = client.database_client("test").container_client("events", None).await;
    let events = events.expect("the container");
    create(&events, "s", "2").await;
    for id in ["0", "1", "2"] {
        events.read_item("s", id, None).await.expect(id);
    }
    let refused = emulator.cosmos_regions().fail_over_to("Nowhere").unwrap_err();
    assert!(refused.to_string().contains("there is East US, West US"), "{refused}");
    let (status, regions) = http(
        &emulator.ready().management.endpoint,
        "POST",
        "/cosmos/regions",
        r#"{"region":"West US","online":true}"#,
    )
    .await;
    assert_eq!((status, &regions[1]["online"]), (200, &json!(true)));
}
