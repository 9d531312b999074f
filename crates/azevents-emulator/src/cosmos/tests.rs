//! What is added to Microsoft's emulator, one promise each, by requests as they arrive.

use std::{sync::Arc, time::Duration};

use azure_core::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{
    account::{Account, Limits},
    engine::Answer,
    partitions::Partitions,
    testing,
};
use crate::Clock;

const ITEMS: &str = "/dbs/d/colls/c/docs";
const KEY: (&str, &str) = ("x-ms-documentdb-partitionkey", r#"["s"]"#);

/// An account with one container, partitioned by `/stream`.
struct Bench {
    account: Arc<Account>,
    clock: Clock,
}

impl Bench {
    async fn new(definition: Value) -> Self {
        let clock = Clock::start();
        let regions = vec![("East US".to_owned(), Url::parse("http://127.0.0.1:1/").unwrap())];
        let bench = Self {
            account: Account::new(regions, clock.clone(), Limits::None).unwrap(),
            clock,
        };
        bench.send(Method::Post, "/dbs", &[], &json!({ "id": "d" })).await;
        let created = bench
            .send(Method::Post, "/dbs/d/colls", &[], &container(definition))
            .await;
        assert_eq!(u16::from(created.status), 201);
        bench
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
        testing::ask(&self.account, method, path, headers, body).await
    }

    async fn create(&self, id: &str, more: Value) {
        let created = self.send(Method::Post, ITEMS, &[KEY], &item(id, more)).await;
        assert_eq!(u16::from(created.status), 201);
    }

    async fn status_of(&self, id: &str) -> u16 {
        let path = format!("{ITEMS}/{id}");
        self.send(Method::Get, &path, &[KEY], &Value::Null).await.status.into()
    }

    async fn queried(&self) -> usize {
        let query = json!({ "query": "SELECT * FROM c", "parameters": [] });
        let headers = [KEY, ("x-ms-documentdb-isquery", "true")];
        let page = self.send(Method::Post, ITEMS, &headers, &query).await;
        serde_json::from_slice::<Value>(&page.body).unwrap()["_count"]
            .as_u64()
            .unwrap() as usize
    }

    async fn changed(&self) -> usize {
        let mut count = 0;
        for partition in ["0", "1", "2", "3"] {
            let headers = [
                ("a-im", "Incremental Feed"),
                ("x-ms-documentdb-partitionkeyrangeid", partition),
            ];
            let page = self.send(Method::Get, ITEMS, &headers, &Value::Null).await;
            let page: Value = serde_json::from_slice(&page.body).unwrap_or_default();
            count += page["Documents"].as_array().map_or(0, Vec::len);
        }
        count
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn container(mut definition: Value) -> Value {
    definition["id"] = "c".into();
    definition["partitionKey"] = json!({ "paths": ["/stream"], "kind": "Hash", "version": 2 });
    definition
}

fn item(id: &str, mut more: Value) -> Value {
    more["id"] = id.into();
    more["stream"] = "s".into();
    more
}

#[tokio::test]
async fn an_item_whose_time_is_over_is_in_no_read_no_query_and_no_feed() {
    let bench = Bench::new(json!({ "defaultTtl": 60 })).await;
    bench.create("short", json!({ "ttl": 10 })).await;
    bench.create("default", json!({})).await;
    bench.create("ever", json!({ "ttl": -1 })).await;
    assert_eq!((bench.queried().await, bench.changed().await), (3, 3));
    bench.wait(11);
    assert_eq!(bench.status_of("short").await, 404);
    assert_eq!((bench.queried().await, bench.changed().await), (2, 2));
    bench.wait(60);
    assert_eq!((bench.queried().await, bench.changed().await), (1, 1));
    assert_eq!(bench.status_of("ever").await, 200);
    // Its id is free again.
    bench.create("short", json!({})).await;
}

#[tokio::test]
async fn a_write_starts_an_items_time_anew_also_in_a_batch() {
    let bench = Bench::new(json!({ "defaultTtl": -1 })).await;
    for id in ["alone", "batched", "left", "patched"] {
        bench.create(id, json!({ "ttl": 10 })).await;
    }
    bench.wait(6);
    let path = format!("{ITEMS}/alone");
    bench
        .send(Method::Put, &path, &[KEY], &item("alone", json!({ "ttl": 10 })))
        .await;
    let patch = json!({ "operations": [{ "op": "set", "path": "/n", "value": 1 }] });
    let path = format!("{ITEMS}/patched");
    bench.send(Method::Patch, &path, &[KEY], &patch).await;
    let batch = json!([
        { "operationType": "Replace", "id": "batched", "resourceBody": item("batched", json!({ "ttl": 10 })) },
        { "operationType": "Create", "resourceBody": item("new", json!({ "ttl": 3 })) },
    ]);
    let headers = [KEY, ("x-ms-cosmos-is-batch-request", "true")];
    let answer = bench.send(Method::Post, ITEMS, &headers, &batch).await;
    assert_eq!(u16::from(answer.status), 200);
    bench.wait(6);
    for (id, status) in [
        ("alone", 200),
        ("batched", 200),
        ("patched", 200),
        ("left", 404),
        ("new", 404),
    ] {
        assert_eq!(bench.status_of(id).await, status, "{id}");
    }
}

#[tokio::test]
async fn a_batch_sees_what_has_expired_as_gone() {
    let bench = Bench::new(json!({ "defaultTtl": 5 })).await;
    bench.create("a", json!({})).await;
    bench.wait(6);
    let batch = json!([{ "operationType": "Create", "resourceBody": item("a", json!({})) }]);
    let headers = [KEY, ("x-ms-cosmos-is-batch-request", "true")];
    let answer = bench.send(Method::Post, ITEMS, &headers, &batch).await;
    assert_eq!(u16::from(answer.status), 200);
}

#[tokio::test]
async fn a_container_that_begins_to_expire_does_so_for_items_that_are_there() {
    let bench = Bench::new(json!({})).await;
    bench.create("a", json!({ "ttl": 5 })).await;
    bench.wait(60);
    assert_eq!(bench.status_of("a").await, 200, "expiry is off");
    let definition = container(json!({ "defaultTtl": -1 }));
    let replaced = bench.send(Method::Put, "/dbs/d/colls/c", &[], &definition).await;
    assert!(replaced.status.is_success());
    bench.wait(6);
    assert_eq!(bench.status_of("a").await, 404);
}

#[tokio::test]
async fn a_patch_whose_condition_is_not_met_changes_nothing() {
    let bench = Bench::new(json!({})).await;
    bench.create("a", json!({ "n": 1 })).await;
    let path = format!("{ITEMS}/a");
    let patch = async |condition: &str| {
        let patch = json!({
            "condition": condition,
            "operations": [{ "op": "incr", "path": "/n", "value": 1 }],
        });
        let answer = bench.send(Method::Patch, &path, &[KEY], &patch).await;
        u16::from(answer.status)
    };
    assert_eq!(patch("from c where c.n = 2").await, 412);
    assert_eq!(patch("from c where c.n = 1 or c.n = 7").await, 200);
    assert_eq!(patch("from c where c.n = 2").await, 200);
    assert_eq!(patch("where n is 2").await, 400);
    let read = bench.send(Method::Get, &path, &[KEY], &Value::Null).await;
    assert_eq!(serde_json::from_slice::<Value>(&read.body).unwrap()["n"], 3);
    let absent = format!("{ITEMS}/absent");
    let answer = bench
        .send(
            Method::Patch,
            &absent,
            &[KEY],
            &json!({ "condition": "from c where c.n = 1", "operations": [
            { "op": "set", "path": "/n", "value": 1 }
        ] }),
        )
        .await;
    assert_eq!(u16::from(answer.status), 404);
}

#[tokio::test]
async fn each_operation_of_a_bulk_request_stands_alone() {
    let bench = Bench::new(json!({})).await;
    bench.create("there", json!({ "n": 1 })).await;
    let key = r#"["s"]"#;
    let bulk = json!([
        { "operationType": "Create", "partitionKey": key, "resourceBody": item("new", json!({})) },
        { "operationType": "Create", "partitionKey": key, "resourceBody": item("there", json!({})) },
        { "operationType": "Read", "partitionKey": key, "id": "there" },
        { "operationType": "Upsert", "partitionKey": r#"["t"]"#, "resourceBody": { "id": "u", "stream": "t" } },
        { "operationType": "Patch", "partitionKey": key, "id": "there", "resourceBody": {
            "operations": [{ "op": "incr", "path": "/n", "value": 1 }] } },
        { "operationType": "Replace", "partitionKey": key, "id": "new", "ifMatch": "stale",
          "resourceBody": item("new", json!({})) },
        { "operationType": "Delete", "partitionKey": key, "id": "new" },
        { "operationType": "Delete", "id": "there" },
    ]);
    let headers = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "False"),
        ("x-ms-documentdb-partitionkeyrangeid", "0"),
    ];
    let answer = bench.send(Method::Post, ITEMS, &headers, &bulk).await;
    assert_eq!(u16::from(answer.status), 207);
    let results: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
    let statuses: Vec<u64> = results
        .iter()
        .map(|result| result["statusCode"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 409, 200, 201, 200, 412, 204, 400]);
    assert_eq!(results[2]["resourceBody"]["n"], 1);
    assert!(results[0]["eTag"].is_string() && results[0]["requestCharge"].as_f64().unwrap() > 5.0);
}

#[tokio::test]
async fn a_patch_is_part_of_a_batch_and_taken_back_with_it() {
    let bench = Bench::new(json!({})).await;
    bench.create("a", json!({ "n": 1 })).await;
    let patch = |condition: &str| {
        json!({ "operationType": "Patch", "id": "a", "resourceBody": {
            "condition": condition, "operations": [{ "op": "incr", "path": "/n", "value": 1 }] } })
    };
    let create = |id: &str| json!({ "operationType": "Create", "resourceBody": item(id, json!({})) });
    let batch = async |operations: Value| {
        let headers = [KEY, ("x-ms-cosmos-is-batch-request", "true")];
        let answer = bench.send(Method::Post, ITEMS, &headers, &operations).await;
        let results: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        let statuses: Vec<u64> = results
            .iter()
            .map(|result| result["statusCode"].as_u64().unwrap())
            .collect();
        statuses
    };
    assert_eq!(
        batch(json!([create("b"), patch("from c where c.n = 1")])).await,
        [201, 200]
    );
    assert_eq!(
        batch(json!([create("c"), patch("from c where c.n = 1")])).await,
        [424, 412]
    );
    assert_eq!(
        batch(json!([patch("from c where c.n = 2"), create("b")])).await,
        [424, 409]
    );
    let read = bench
        .send(Method::Get, &format!("{ITEMS}/a"), &[KEY], &Value::Null)
        .await;
    assert_eq!(serde_json::from_slice::<Value>(&read.body).unwrap()["n"], 2);
    assert_eq!((bench.queried().await, bench.changed().await), (2, 2));
}

#[tokio::test]
async fn an_item_may_be_written_and_patched_in_one_batch() {
    let bench = Bench::new(json!({})).await;
    bench.create("old", json!({ "n": 1 })).await;
    let incr = |id: &str| {
        json!({ "operationType": "Patch", "id": id, "resourceBody": {
            "operations": [{ "op": "incr", "path": "/n", "value": 1 }] } })
    };
    let create = |id: &str| json!({ "operationType": "Create", "resourceBody": item(id, json!({ "n": 5 })) });
    let of = |kind: &str, id: &str| json!({ "operationType": kind, "id": id });
    let batch = async |operations: Value| {
        let headers = [KEY, ("x-ms-cosmos-is-batch-request", "true")];
        let answer = bench.send(Method::Post, ITEMS, &headers, &operations).await;
        let results: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        results
    };
    let statuses = |results: &[Value]| results.iter().map(|r| r["statusCode"].clone()).collect::<Vec<_>>();
    let n = async |id: &str| {
        let read = bench
            .send(Method::Get, &format!("{ITEMS}/{id}"), &[KEY], &Value::Null)
            .await;
        serde_json::from_slice::<Value>(&read.body).unwrap()["n"].clone()
    };
    let done = batch(json!([
        create("new"),
        incr("new"),
        incr("old"),
        incr("old"),
        of("Read", "old")
    ]))
    .await;
    assert_eq!(statuses(&done), [201, 200, 200, 200, 200]);
    assert_eq!(done[4]["resourceBody"]["n"], 3);
    assert_eq!((n("new").await, n("old").await), (json!(6), json!(3)));
    // Taken back as a whole, wherever it fails.
    for (operations, expected) in [
        (json!([incr("old"), of("Delete", "old"), incr("old")]), [424, 424, 404]),
        (json!([incr("old"), incr("new"), create("new")]), [424, 424, 409]),
        (json!([create("third"), incr("third"), incr("none")]), [424, 424, 404]),
    ] {
        assert_eq!(statuses(&batch(operations).await), expected);
    }
    assert_eq!((n("new").await, n("old").await), (json!(6), json!(3)));
    assert_eq!((bench.queried().await, bench.changed().await), (2, 2));
}

#[tokio::test]
async fn all_versions_and_deletes_are_refused_rather_than_shown_in_part() {
    let bench = Bench::new(json!({})).await;
    bench.create("a", json!({})).await;
    for position in ["*", "anything"] {
        let headers = [
            ("a-im", "Full-Fidelity Feed"),
            ("x-ms-documentdb-partitionkeyrangeid", "0"),
            ("if-none-match", position),
        ];
        let page = bench.send(Method::Get, ITEMS, &headers, &Value::Null).await;
        assert_eq!(u16::from(page.status), 400);
    }
}

/// What a partition's feed has after a position, and the position behind it.
async fn feed_of(bench: &Bench, partition: u32, after: Option<&str>) -> (usize, String) {
    let partition = partition.to_string();
    let mut headers = vec![
        ("a-im", "Incremental Feed"),
        ("x-ms-documentdb-partitionkeyrangeid", partition.as_str()),
    ];
    headers.extend(after.map(|after| ("if-none-match", after)));
    let page = bench.send(Method::Get, ITEMS, &headers, &Value::Null).await;
    let place = page.header("etag").expect("a position").to_owned();
    let items: Value = serde_json::from_slice(&page.body).unwrap_or_default();
    (items["Documents"].as_array().map_or(0, Vec::len), place)
}

#[tokio::test]
async fn a_position_in_the_feed_holds_through_splits_and_merges() {
    let bench = Bench::new(json!({})).await;
    let write = async |round: u32| {
        for stream in 0..40 {
            let (id, stream) = (round.to_string(), format!("s{stream}"));
            let key = json!([stream]).to_string();
            let headers = [
                ("x-ms-documentdb-partitionkey", key.as_str()),
                ("x-ms-documentdb-is-upsert", "true"),
            ];
            let item = json!({ "id": id, "stream": stream });
            let written = bench.send(Method::Post, ITEMS, &headers, &item).await;
            assert!(written.status.is_success());
        }
    };
    let partitions = Partitions::new(bench.account.clone());
    write(1).await;
    let (first_round, whole) = feed_of(&bench, 0, None).await;
    assert!(first_round > 1, "a partition with one key can't be split");
    let halves = partitions.split("d", "c", 0).await.unwrap();
    // Each write has a number: the positions are beyond the number of items, and so of the merged one's end.
    for _ in 0..5 {
        write(2).await;
    }
    let (lower, at_lower) = feed_of(&bench, halves[0], Some(&whole)).await;
    let (upper, at_upper) = feed_of(&bench, halves[1], Some(&whole)).await;
    assert_eq!(lower + upper, first_round, "the second round, and nothing of the first");

    let merged = partitions.merge("d", "c", [halves[0], halves[1]]).await.unwrap();
    assert_eq!(feed_of(&bench, merged, Some(&whole)).await.0, first_round);
    write(3).await;
    for place in [&at_lower, &at_upper] {
        let (third_round, behind) = feed_of(&bench, merged, Some(place)).await;
        assert!(third_round >= first_round, "{third_round} of {first_round}");
        assert_eq!(feed_of(&bench, merged, Some(&behind)).await.0, 0);
    }
    assert_eq!(feed_of(&bench, merged, None).await.0, 3 * first_round);
}
