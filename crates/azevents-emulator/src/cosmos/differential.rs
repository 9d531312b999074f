//! Batches and the change feed are done here instead of in Microsoft's emulator. These tests give
//! both the same random requests and compare every answer and what is there afterwards.

use std::sync::Arc;

use azure_core::http::{Method, Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use super::{
    account::{Account, Limits},
    engine::{Answer, Engine},
    target::Target,
};
use crate::Clock;

const PARTITION_KEY: &str = r#"["s"]"#;

/// The account under test and the emulator alone, each with an empty container.
struct Pair {
    ours: Arc<Account>,
    theirs: Engine,
}

impl Pair {
    async fn new() -> Self {
        let region = || vec![("East US".to_owned(), Url::parse("http://127.0.0.1:1/").unwrap())];
        let pair = Self {
            ours: Account::new(region(), Clock::start(), Limits::None).unwrap(),
            theirs: Engine::new(region()).unwrap(),
        };
        let container = json!({
            "id": "c",
            "partitionKey": { "paths": ["/stream"], "kind": "Hash", "version": 2 },
        });
        for (path, body) in [("/dbs", json!({ "id": "d" })), ("/dbs/d/colls", container)] {
            let (ours, theirs) = pair.both(&request(Method::Post, path, &[], Some(&body))).await;
            assert_eq!((u16::from(ours.status), u16::from(theirs.status)), (201, 201));
        }
        pair
    }

    async fn both(&self, request: &Request) -> (Answer, Answer) {
        let ours = self.ours.execute(request.clone(), Target::of(request)).await;
        (ours, self.theirs.execute(request).await)
    }

    /// The items of the change feed in order, page by page of `limit` items.
    async fn feeds(&self, limit: usize) -> (Vec<Value>, Vec<Value>) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The container has four physical partitions; the one with the items is not known.
        for partition in ["0", "1", "2", "3"] {
            let mut positions = [None, None];
            loop {
                let feed = |position: &Option<String>| {
                    let limit = limit.to_string();
                    let mut feed = request(Method::Get, "/dbs/d/colls/c/docs", &[], None);
                    feed.insert_header("a-im", "Incremental Feed");
                    feed.insert_header("x-ms-documentdb-partitionkeyrangeid", partition);
                    feed.insert_header("x-ms-max-item-count", limit);
                    if let Some(position) = position {
                        feed.insert_header("if-none-match", position.clone());
                    }
                    feed
                };
                let our_feed = feed(&positions[0]);
                let our_page = self.ours.execute(our_feed.clone(), Target::of(&our_feed)).await;
                let their_page = self.theirs.execute(&feed(&positions[1])).await;
                positions = [&our_page, &their_page].map(|page| page.header("etag").map(str::to_owned));
                let more = [documents(&our_page), documents(&their_page)];
                if more.iter().all(Vec::is_empty) {
                    break;
                }
                let [our_more, their_more] = more;
                ours.extend(our_more);
                theirs.extend(their_more);
            }
        }
        (ours, theirs)
    }
}

fn request(method: Method, path: &str, headers: &[(&'static str, &str)], body: Option<&Value>) -> Request {
    let url = Url::parse("http://127.0.0.1:1").unwrap().join(path).unwrap();
    let mut request = Request::new(url, method);
    for (name, value) in headers {
        request.insert_header(*name, (*value).to_owned());
    }
    if let Some(body) = body {
        request.set_body(body.to_string().into_bytes());
    }
    request
}

fn documents(page: &Answer) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    body["Documents"]
        .as_array()
        .cloned()
        .unwrap_or_default()
        .iter()
        .map(without_stamps)
        .collect()
}

/// An item without what differs from one emulator to the next.
fn without_stamps(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(item) = item.as_object_mut() {
        item.retain(|name, _| !name.starts_with('_'));
    }
    item
}

/// The results of a batch without etags and charges.
fn results(answer: &Answer) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let results = body.as_array().cloned().unwrap_or_default();
    results
        .iter()
        .map(|result| {
            assert!(result["requestCharge"].is_number(), "{result}");
            json!([
                result["statusCode"],
                result["eTag"].is_string(),
                without_stamps(&result["resourceBody"])
            ])
        })
        .collect()
}

/// One operation on one of few items, so that they meet often.
fn operation() -> impl Strategy<Value = Value> {
    let item = (0..5_u8, any::<u8>(), prop::bool::weighted(0.05));
    let kind = prop::sample::select(vec!["Create", "Upsert", "Replace", "Read", "Delete", "Patch"]);
    let guard = prop::sample::select(vec![None, None, None, Some("ifMatch"), Some("ifNoneMatch")]);
    (kind, item, guard).prop_map(|(kind, (id, value, elsewhere), guard)| {
        let id = format!("i{id}");
        let stream = if elsewhere { "other" } else { "s" };
        let mut operation = json!({ "operationType": kind });
        if matches!(kind, "Create" | "Upsert" | "Replace") {
            operation["resourceBody"] = json!({ "id": id, "stream": stream, "v": value });
        }
        if !matches!(kind, "Create" | "Upsert") {
            operation["id"] = json!(id);
        }
        if let Some(guard) = guard {
            operation[guard] = json!("*");
        }
        operation
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_and_the_change_feed_are_as_in_the_emulator(
        batches in prop::collection::vec(prop::collection::vec(operation(), 1..6), 1..12),
        echo in any::<bool>(),
        limit in 1..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let pair = Pair::new().await;
            for batch in batches {
                let headers = [
                    ("x-ms-cosmos-is-batch-request", "true"),
                    ("x-ms-documentdb-partitionkey", PARTITION_KEY),
                    ("x-ms-cosmos-populate-content-response-on-write", if echo { "true" } else { "false" }),
                ];
                let body = Value::Array(batch);
                let batch = request(Method::Post, "/dbs/d/colls/c/docs", &headers, Some(&body));
                let (ours, theirs) = pair.both(&batch).await;
                prop_assert_eq!(u16::from(ours.status), u16::from(theirs.status), "{}", body);
                prop_assert_eq!(results(&ours), results(&theirs), "{}", body);
            }
            let (ours, theirs) = pair.feeds(limit).await;
            let sorted = |mut items: Vec<Value>| {
                items.sort_by_key(Value::to_string);
                items
            };
            // Items of one batch share a number there and have one each here, so their order in
            // the feed may differ within the batch.
            prop_assert_eq!(sorted(ours), sorted(theirs));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_batch_that_fails_on_its_last_creation_leaves_no_trace() {
    let pair = Pair::new().await;
    let key = ("x-ms-documentdb-partitionkey", PARTITION_KEY);
    let batch = [("x-ms-cosmos-is-batch-request", "true"), key];
    let items = "/dbs/d/colls/c/docs";
    let item = |id: &str, v: u8| json!({ "id": id, "stream": "s", "v": v });
    let seed = json!([
        { "operationType": "Create", "resourceBody": item("model", 1) },
        { "operationType": "Create", "resourceBody": item("seen", 1) },
    ]);
    pair.both(&request(Method::Post, items, &batch, Some(&seed))).await;
    let read = request(Method::Get, "/dbs/d/colls/c/docs/model", &[key], None);
    let (before, _) = pair.both(&read).await;
    let duplicate = json!([
        { "operationType": "Replace", "id": "model", "resourceBody": item("model", 2) },
        { "operationType": "Create", "resourceBody": item("new", 1) },
        { "operationType": "Create", "resourceBody": item("seen", 2) },
    ]);
    let (answer, _) = pair.both(&request(Method::Post, items, &batch, Some(&duplicate))).await;
    let statuses: Vec<Value> = results(&answer).iter().map(|result| result[0].clone()).collect();
    assert_eq!(statuses, [424, 424, 409]);
    let (after, _) = pair.both(&read).await;
    assert_eq!(after.body, before.body, "not even the etag has changed");
    let (feed, _) = pair.feeds(10).await;
    assert_eq!(feed, [item("model", 1), item("seen", 1)]);
}

#[tokio::test]
async fn single_writes_are_in_the_change_feed_too() {
    let pair = Pair::new().await;
    let key = ("x-ms-documentdb-partitionkey", PARTITION_KEY);
    let upsert = [("x-ms-documentdb-is-upsert", "true"), key];
    let items = "/dbs/d/colls/c/docs";
    for n in 0..9_u8 {
        let item = json!({ "id": (n % 6).to_string(), "stream": "s", "v": n });
        pair.both(&request(Method::Post, items, &upsert, Some(&item))).await;
    }
    pair.both(&request(Method::Delete, "/dbs/d/colls/c/docs/4", &[key], None))
        .await;
    let (ours, theirs) = pair.feeds(2).await;
    assert_eq!(ours, theirs);
    let values: Vec<u64> = ours.iter().map(|item| item["v"].as_u64().unwrap()).collect();
    assert_eq!(values, [3, 5, 6, 7, 8]);
}
