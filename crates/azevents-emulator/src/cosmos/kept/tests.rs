//! An account that is opened again has the same items under the same numbers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use azure_core::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::replay::restore_condensed;
use crate::{
    Clock,
    cosmos::{
        account::{Account, Limits},
        engine::Answer,
        partitions::Partitions,
        testing,
    },
    state::{DataFolder, Folder},
};

const CONTAINER: &str = "/dbs/d/colls/c";
const ITEMS: &str = "/dbs/d/colls/c/docs";

struct Bench {
    path: PathBuf,
    account: Arc<Account>,
    clock: Clock,
    random: u64,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

async fn open(path: &PathBuf, clock: &Clock, small: u64) -> Arc<Account> {
    let regions = vec![("East US".to_owned(), Url::parse("http://127.0.0.1:1/").unwrap())];
    let account = Account::new(regions, clock.clone(), Limits::None).unwrap();
    let folder = Folder::open(&DataFolder::new(path)).unwrap();
    restore_condensed(&account, &folder, small).await.unwrap();
    account
}

impl Bench {
    async fn new(name: &str, seed: u64) -> Self {
        let path = std::env::temp_dir().join(format!("azevents-cosmos-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let clock = Clock::start();
        let account = open(&path, &clock, u64::MAX).await;
        let bench = Self {
            path,
            account,
            clock,
            random: seed,
        };
        bench.send(Method::Post, "/dbs", &[], &json!({ "id": "d" })).await;
        bench.create_container().await;
        bench
    }

    async fn create_container(&self) {
        let definition = json!({
            "id": "c", "defaultTtl": -1,
            "partitionKey": { "paths": ["/in/stream"], "kind": "Hash", "version": 2 },
        });
        let created = self.send(Method::Post, "/dbs/d/colls", &[], &definition).await;
        assert_eq!(u16::from(created.status), 201);
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
        testing::ask(&self.account, method, path, headers, body).await
    }

    /// Numerical Recipes' generator.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }

    /// The change feeds of all partitions: numbers, positions, and items but for what Microsoft's emulator
    /// makes up.
    async fn state(&self) -> Vec<String> {
        let mut state = Vec::new();
        for partition in Partitions::new(Arc::clone(&self.account)).list("d", "c") {
            let partition = partition.to_string();
            let headers = [
                ("a-im", "Incremental Feed"),
                ("x-ms-documentdb-partitionkeyrangeid", partition.as_str()),
                ("x-ms-cosmos-changefeed-wire-format-version", "2021-09-15"),
            ];
            let page = self.send(Method::Get, ITEMS, &headers, &Value::Null).await;
            state.push(format!(
                "{partition}: {:?} {:?}",
                page.header("etag"),
                page.header("lsn")
            ));
            let body: Value = serde_json::from_slice(&page.body).unwrap_or_default();
            for item in body["Documents"].as_array().into_iter().flatten() {
                let mut current = item["current"].clone();
                for made_up in ["_etag", "_ts", "_rid", "_self"] {
                    current.as_object_mut().unwrap().remove(made_up);
                }
                state.push(format!("{} {current}", item["metadata"]["lsn"]));
            }
        }
        state
    }

    /// Closes the account and opens it again.
    async fn again(&mut self, small: u64) {
        let before = self.state().await;
        self.account.keeper.close().await;
        self.account = open(&self.path, &self.clock, small).await;
        let after = self.state().await;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
    }

    /// Kills the account, and opens what it leaves.
    async fn killed(&mut self, small: u64) {
        let before = self.state().await;
        let left = self.path.with_extension("left");
        let _ = std::fs::remove_dir_all(&left);
        std::fs::create_dir(&left).unwrap();
        for file in std::fs::read_dir(&self.path).unwrap() {
            let file = file.unwrap();
            // A log that is being condensed may be gone by now.
            let _ = std::fs::copy(file.path(), left.join(file.file_name()));
        }
        self.account.keeper.close().await;
        let _ = std::fs::remove_dir_all(&self.path);
        std::fs::rename(&left, &self.path).unwrap();
        self.account = open(&self.path, &self.clock, small).await;
        assert_eq!(self.state().await, before);
    }

    async fn step(&mut self) {
        let (stream, id) = (format!("s{}", self.below(6)), self.below(8).to_string());
        let key = format!(r#"["{stream}"]"#);
        let key = ("x-ms-documentdb-partitionkey", key.as_str());
        let item = |id: &str, value: u64| json!({ "id": id, "in": { "stream": stream }, "value": value });
        let path = format!("{ITEMS}/{id}");
        let value = self.below(1000);
        match self.below(14) {
            0..3 => drop(self.send(Method::Post, ITEMS, &[key], &item(&id, value)).await),
            3..5 => {
                let upsert = ("x-ms-documentdb-is-upsert", "true");
                self.send(Method::Post, ITEMS, &[key, upsert], &item(&id, value)).await;
            }
            5 => {
                let read = self.send(Method::Get, &path, &[key], &Value::Null).await;
                let etag = read.header("etag").unwrap_or_default().to_owned();
                let if_match = ("if-match", etag.as_str());
                self.send(Method::Put, &path, &[key, if_match], &item(&id, value)).await;
            }
            6 => {
                let patch = json!({ "operations": [{ "op": "incr", "path": "/value", "value": 1 }] });
                self.send(Method::Patch, &path, &[key], &patch).await;
            }
            7..9 => drop(self.send(Method::Delete, &path, &[key], &Value::Null).await),
            9..12 => {
                let mut operations = Vec::new();
                for _ in 0..=self.below(4) {
                    let id = self.below(8).to_string();
                    operations.push(match self.below(4) {
                        0 => json!({ "operationType": "Create", "resourceBody": item(&id, value) }),
                        1 => json!({ "operationType": "Delete", "id": id }),
                        2 => json!({ "operationType": "Replace", "id": id, "resourceBody": item(&id, value) }),
                        _ => json!({ "operationType": "Upsert", "resourceBody": item(&id, value) }),
                    });
                }
                let headers = [
                    key,
                    ("x-ms-cosmos-is-batch-request", "true"),
                    ("x-ms-cosmos-batch-atomic", "true"),
                ];
                self.send(Method::Post, ITEMS, &headers, &operations.into()).await;
            }
            12 => {
                let mut mortal = item(&id, value);
                mortal["ttl"] = 5.into();
                let upsert = ("x-ms-documentdb-is-upsert", "true");
                self.send(Method::Post, ITEMS, &[key, upsert], &mortal).await;
            }
            _ => {
                let seconds = self.below(4);
                self.clock.advance(Duration::from_secs(seconds));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_their_numbers_and_positions_in_the_change_feed_are_there_again() {
    for seed in 0..4 {
        let mut bench = Bench::new(&format!("items-{seed}"), seed).await;
        for round in 0..3 {
            for _ in 0..80 {
                bench.step().await;
            }
            bench.again(if round == 1 { 0 } else { u64::MAX }).await;
        }
        // Now the log is condensed again and again meanwhile.
        bench.again(0).await;
        for _ in 0..4 {
            for _ in 0..40 {
                bench.step().await;
            }
            bench.killed(0).await;
        }
        // Once more, from what was condensed.
        bench.again(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_that_were_split_and_merged_are_there_again() {
    let mut bench = Bench::new("partitions", 7).await;
    for round in 0..2 {
        for _ in 0..60 {
            bench.step().await;
        }
        let all = Partitions::new(Arc::clone(&bench.account));
        let halves = all.split("d", "c", all.list("d", "c")[0]).await.unwrap();
        for _ in 0..20 {
            bench.step().await;
        }
        if round == 1 {
            all.merge("d", "c", [halves[0], halves[1]]).await.unwrap();
        }
        drop(all);
        bench.step().await;
        bench.again(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_stays_deleted_and_its_name_can_be_used_again() {
    let mut bench = Bench::new("deleted", 3).await;
    for _ in 0..40 {
        bench.step().await;
    }
    bench.send(Method::Delete, CONTAINER, &[], &Value::Null).await;
    bench.create_container().await;
    for _ in 0..20 {
        bench.step().await;
    }
    bench.again(u64::MAX).await;
    bench.again(0).await;
    bench.send(Method::Delete, "/dbs/d", &[], &Value::Null).await;
    bench.again(u64::MAX).await;
    let gone = bench.send(Method::Get, CONTAINER, &[], &Value::Null).await;
    assert_eq!(u16::from(gone.status), 404);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_expires_while_nothing_runs_is_gone_afterwards() {
    let mut bench = Bench::new("expires", 1).await;
    let key = ("x-ms-documentdb-partitionkey", r#"["s"]"#);
    for id in ["a", "b"] {
        let item = json!({ "id": id, "in": { "stream": "s" }, "ttl": if id == "a" { 5 } else { 60 } });
        bench.send(Method::Post, ITEMS, &[key], &item).await;
    }
    bench.account.keeper.close().await;
    bench.clock.advance(Duration::from_secs(6));
    bench.account = open(&bench.path, &bench.clock, u64::MAX).await;
    let status = async |bench: &Bench, id: &str| {
        let read = bench
            .send(Method::Get, &format!("{ITEMS}/{id}"), &[key], &Value::Null)
            .await;
        u16::from(read.status)
    };
    assert_eq!((status(&bench, "a").await, status(&bench, "b").await), (404, 200));
    bench.again(u64::MAX).await;
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(status(&bench, "b").await, 404);
}

#[tokio::test]
async fn a_condensed_log_is_shorter_and_its_last_number_the_same() {
    let mut bench = Bench::new("condensed", 1).await;
    let key = ("x-ms-documentdb-partitionkey", r#"["s"]"#);
    let upsert = ("x-ms-documentdb-is-upsert", "true");
    for n in 0..50 {
        for id in ["a", "b"] {
            let item = json!({ "id": id, "in": { "stream": "s" }, "n": n });
            bench.send(Method::Post, ITEMS, &[key, upsert], &item).await;
        }
    }
    bench
        .send(Method::Delete, &format!("{ITEMS}/b"), &[key], &Value::Null)
        .await;
    let length = |bench: &Bench| bench.path.join("cosmos.log").metadata().unwrap().len();
    let before = length(&bench);
    bench.again(0).await;
    assert!(length(&bench) < before / 10);
    bench.again(0).await;
}

#[tokio::test]
async fn the_first_write_to_half_a_partition_may_be_a_deletion() {
    let mut bench = Bench::new("half", 1).await;
    let streams: Vec<String> = (0..20).map(|n| format!(r#"["s{n}"]"#)).collect();
    let key = |n: usize| [("x-ms-documentdb-partitionkey", streams[n].as_str())];
    for n in 0..20 {
        let item = json!({ "id": "a", "in": { "stream": format!("s{n}") } });
        bench.send(Method::Post, ITEMS, &key(n), &item).await;
    }
    let all = Partitions::new(Arc::clone(&bench.account));
    for partition in all.list("d", "c") {
        all.split("d", "c", partition).await.unwrap();
    }
    drop(all);
    for n in 0..20 {
        bench
            .send(Method::Delete, &format!("{ITEMS}/a"), &key(n), &Value::Null)
            .await;
    }
    bench.again(0).await;
}

#[tokio::test]
async fn numbers_are_kept_where_values_have_to_be_unique() {
    let mut bench = Bench::new("unique", 1).await;
    let definition = json!({
        "id": "u", "partitionKey": { "paths": ["/stream"], "kind": "Hash", "version": 2 },
        "uniqueKeyPolicy": { "uniqueKeys": [{ "paths": ["/name"] }] },
    });
    bench.send(Method::Post, "/dbs/d/colls", &[], &definition).await;
    let items = "/dbs/d/colls/u/docs";
    let key = ("x-ms-documentdb-partitionkey", r#"["s"]"#);
    let upsert = ("x-ms-documentdb-is-upsert", "true");
    // One without a name: no other may be without.
    let nameless = json!({ "id": "none", "stream": "s" });
    bench.send(Method::Post, items, &[key], &nameless).await;
    for n in 0..5 {
        for id in ["a", "b", "c"] {
            let item = json!({ "id": id, "stream": "s", "name": format!("{id}{n}") });
            bench.send(Method::Post, items, &[key, upsert], &item).await;
        }
    }
    for path in ["a", "c"].map(|id| format!("{items}/{id}")) {
        bench.send(Method::Delete, &path, &[key], &Value::Null).await;
    }
    let number = async |bench: &Bench| {
        let read = bench
            .send(Method::Get, &format!("{items}/b"), &[key], &Value::Null)
            .await;
        let number = |name| read.header(name).map(str::to_owned);
        (number("x-ms-item-lsn"), number("x-ms-cosmos-llsn"))
    };
    let before = number(&bench).await;
    bench.again(0).await;
    bench.again(0).await;
    assert_eq!(number(&bench).await, before);
}

#[tokio::test]
async fn throughput_is_there_again_as_it_was_replaced() {
    let mut bench = Bench::new("throughput", 1).await;
    let definition = json!({ "id": "t", "partitionKey": { "paths": ["/stream"], "kind": "Hash", "version": 2 } });
    let autoscale = ("x-ms-cosmos-offer-autopilot-settings", r#"{"maxThroughput":4000}"#);
    bench
        .send(Method::Post, "/dbs/d/colls", &[autoscale], &definition)
        .await;
    let offer = async |bench: &Bench| -> Value {
        let offers = bench.send(Method::Get, "/offers", &[], &Value::Null).await;
        let mut offers: Value = serde_json::from_slice(&offers.body).unwrap();
        offers["Offers"][0]["_etag"].take();
        offers["Offers"][0].take()
    };
    let mut replaced = offer(&bench).await;
    replaced["content"]["offerAutopilotSettings"]["maxThroughput"] = 8000.into();
    let path = format!("/{}", replaced["_self"].as_str().unwrap());
    bench.send(Method::Put, &path, &[], &replaced).await;
    let before = offer(&bench).await;
    assert_eq!(before["content"]["offerAutopilotSettings"]["maxThroughput"], 8000);
    bench.again(u64::MAX).await;
    assert_eq!(offer(&bench).await, before);
}

#[tokio::test]
async fn a_merge_gives_the_same_numbers_again_whenever_items_were_written() {
    let mut bench = Bench::new("merge", 1).await;
    let put = async |bench: &Bench, stream: &str, id: &str| {
        let key = format!(r#"["{stream}"]"#);
        let headers = [
            ("x-ms-documentdb-partitionkey", key.as_str()),
            ("x-ms-documentdb-is-upsert", "true"),
        ];
        let item = json!({ "id": id, "in": { "stream": stream } });
        let answer = bench.send(Method::Post, ITEMS, &headers, &item).await;
        let partition = answer.header("x-ms-documentdb-partitionkeyrangeid").unwrap();
        partition.parse::<u32>().unwrap()
    };
    // A stream in each of two neighbours.
    let mut streams = std::collections::BTreeMap::new();
    for n in 0..20 {
        let stream = format!("s{n}");
        streams.insert(put(&bench, &stream, "first").await, stream);
    }
    let streams: Vec<_> = streams.into_iter().take(2).collect();
    for n in 0..5 {
        put(&bench, &streams[0].1, &format!("early-{n}")).await;
    }
    // Items are numbered by the second first, which is the system's: later, with smaller numbers.
    tokio::time::sleep(Duration::from_millis(1001)).await;
    for n in 0..3 {
        put(&bench, &streams[1].1, &format!("late-{n}")).await;
        put(&bench, &streams[0].1, &format!("early-{n}")).await;
    }
    let all = Partitions::new(Arc::clone(&bench.account));
    all.merge("d", "c", [streams[0].0, streams[1].0]).await.unwrap();
    drop(all);
    bench.again(0).await;
    put(&bench, &streams[0].1, "behind").await;
    bench.again(0).await;
}
