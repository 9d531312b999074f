//! What is refused and what isn't, on a clock that stands still.

use std::{sync::Arc, time::Duration};

use azure_core::http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::{
    Clock,
    cosmos::{
        account::{Account, Limits},
        engine::Answer,
        partitions::Partitions,
        testing,
    },
};

const KEY: &str = "x-ms-documentdb-partitionkey";
const MANUAL: &str = "x-ms-offer-throughput";
const AUTOSCALE: &str = "x-ms-cosmos-offer-autopilot-settings";

struct Bench {
    account: Arc<Account>,
    clock: Clock,
}

impl Bench {
    /// An account with a database that was created with these headers.
    async fn new(headers: &[(&'static str, &str)]) -> Self {
        let clock = Clock::start();
        let regions = vec![("East US".to_owned(), Url::parse("http://127.0.0.1:1/").unwrap())];
        let account = Account::new(regions, clock.clone(), Limits::Provisioned).unwrap();
        let bench = Self { account, clock };
        let created = bench.send(Method::Post, "/dbs", headers, &json!({ "id": "d" })).await;
        assert_eq!(u16::from(created.status), 201);
        bench
    }

    /// Of four partitions, as all are in the beginning.
    async fn container(&self, name: &str, headers: &[(&'static str, &str)]) {
        let definition = json!({
            "id": name, "partitionKey": { "paths": ["/stream"], "kind": "Hash", "version": 2 },
        });
        let created = self.send(Method::Post, "/dbs/d/colls", headers, &definition).await;
        assert_eq!(u16::from(created.status), 201);
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
        testing::ask(&self.account, method, path, headers, body).await
    }

    async fn upsert(&self, container: &str, stream: &str) -> Answer {
        let key = format!(r#"["{stream}"]"#);
        let headers = [(KEY, key.as_str()), ("x-ms-documentdb-is-upsert", "true")];
        let item = json!({ "id": "a", "stream": stream });
        let path = format!("/dbs/d/colls/{container}/docs");
        self.send(Method::Post, &path, &headers, &item).await
    }

    /// Writes until it is refused. What was spent until then, and on the last write of it.
    async fn spend(&self, container: &str, stream: &str) -> (f64, f64, Answer) {
        let (mut spent, mut last) = (0.0, 0.0);
        loop {
            let answer = self.upsert(container, stream).await;
            if u16::from(answer.status) == 429 {
                return (spent, last, answer);
            }
            assert!(answer.status.is_success(), "{answer:?}");
            last = answer.header("x-ms-request-charge").unwrap().parse().unwrap();
            spent += last;
            assert!(spent < 100_000.0, "it is never refused");
        }
    }

    /// What a partition gives in a second, give or take the last write.
    async fn assert_limit(&self, container: &str, stream: &str, units: f64) {
        self.clock.advance(Duration::from_secs(1));
        let (spent, last, _) = self.spend(container, stream).await;
        assert!(spent >= units && spent - last < units, "{spent} RU of {units}");
    }

    async fn offers(&self) -> Vec<Value> {
        let listed = self.send(Method::Get, "/offers", &[], &Value::Null).await;
        let mut listed: Value = serde_json::from_slice(&listed.body).unwrap();
        match listed["Offers"].take() {
            Value::Array(offers) => offers,
            other => panic!("{other}"),
        }
    }

    async fn replace_offer(&self, content: Value) -> Value {
        let mut offer = self.offers().await.remove(0);
        let path = format!("/offers/{}", offer["id"].as_str().unwrap());
        offer["content"] = content;
        let answer = self.send(Method::Put, &path, &[], &offer).await;
        assert_eq!(u16::from(answer.status), 200);
        let mut answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["content"].take()
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_that_crosses_the_limit_is_served_and_the_next_waits_for_the_second_to_end() {
    let bench = Bench::new(&[]).await;
    bench.container("c", &[(MANUAL, "400")]).await;
    let (spent, last, refused) = bench.spend("c", "s").await;
    assert!(spent >= 100.0 && spent - last < 100.0, "{spent}");
    assert_eq!(refused.header("x-ms-substatus"), Some("3200"));
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    assert!(body["message"].as_str().unwrap().contains("Request rate is large"));
    let wait: u64 = refused.header("x-ms-retry-after-ms").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&wait));
    // Reads are refused as well.
    let key = [(KEY, r#"["s"]"#)];
    let path = "/dbs/d/colls/c/docs/a";
    assert_eq!(
        u16::from(bench.send(Method::Get, path, &key, &Value::Null).await.status),
        429
    );
    bench.clock.advance(Duration::from_millis(wait - 1));
    assert_eq!(u16::from(bench.upsert("c", "s").await.status), 429);
    bench.clock.advance(Duration::from_millis(1));
    assert!(bench.upsert("c", "s").await.status.is_success());
}

#[tokio::test(start_paused = true)]
async fn each_partition_has_a_part_of_its_own_which_is_less_after_a_split() {
    let bench = Bench::new(&[]).await;
    bench.container("c", &[(MANUAL, "400")]).await;
    let (_, _, refused) = bench.spend("c", "s").await;
    assert_eq!(u16::from(refused.status), 429);
    let mut served = 0;
    for n in 0..20 {
        served += u32::from(bench.upsert("c", &format!("s{n}")).await.status.is_success());
    }
    assert!(served > 0, "a partition that is used up is not all of them");
    let all = Partitions::new(Arc::clone(&bench.account));
    for partition in all.list("d", "c") {
        all.split("d", "c", partition).await.unwrap();
    }
    bench.assert_limit("c", "s", 50.0).await;
}

#[tokio::test(start_paused = true)]
async fn replaced_throughput_holds_at_once() {
    let bench = Bench::new(&[]).await;
    bench.container("c", &[(MANUAL, "400")]).await;
    let (spent, ..) = bench.spend("c", "s").await;
    bench.replace_offer(json!({ "offerThroughput": 4000 })).await;
    let (more, last, _) = bench.spend("c", "s").await;
    assert!(spent + more >= 1000.0 && spent + more - last < 1000.0, "{spent} {more}");
}

#[tokio::test(start_paused = true)]
async fn autoscale_goes_up_to_its_maximum_and_is_shown() {
    let bench = Bench::new(&[]).await;
    bench.container("c", &[(AUTOSCALE, r#"{"maxThroughput":4000}"#)]).await;
    bench.assert_limit("c", "s", 1000.0).await;
    let shown = json!({ "offerThroughput": 400, "offerAutopilotSettings": { "maxThroughput": 4000 } });
    assert_eq!(bench.offers().await[0]["content"], shown);
    // As clients send it that know nothing but the maximum.
    let replaced = bench
        .replace_offer(json!({ "offerAutopilotSettings": { "maxThroughput": 8000 } }))
        .await;
    assert_eq!(replaced["offerAutopilotSettings"]["maxThroughput"], 8000);
    bench.assert_limit("c", "s", 2000.0).await;
}

#[tokio::test(start_paused = true)]
async fn the_containers_of_a_database_share_its_throughput_but_for_those_with_their_own() {
    let bench = Bench::new(&[(MANUAL, "800")]).await;
    for name in ["c1", "c2"] {
        bench.container(name, &[]).await;
    }
    bench.container("own", &[(MANUAL, "1200")]).await;
    bench.assert_limit("c1", "s", 100.0).await;
    bench.assert_limit("c2", "s", 100.0).await;
    bench.assert_limit("own", "s", 300.0).await;
    let offers = bench.offers().await;
    let of = |link: &str| offers.iter().filter(|offer| offer["resource"] == link).count();
    assert_eq!((of("dbs/AAAAAQ==/"), offers.len()), (1, 2));
    bench.send(Method::Delete, "/dbs/d/colls/c2", &[], &Value::Null).await;
    bench.assert_limit("c1", "s", 200.0).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_where_nothing_was_provisioned() {
    let bench = Bench::new(&[]).await;
    bench.container("c", &[]).await;
    for _ in 0..200 {
        assert!(bench.upsert("c", "s").await.status.is_success());
    }
}

#[tokio::test(start_paused = true)]
async fn throughput_that_cannot_be_is_refused_and_nothing_is_created() {
    let bench = Bench::new(&[]).await;
    let definition = json!({ "id": "c", "partitionKey": { "paths": ["/stream"], "kind": "Hash", "version": 2 } });
    for headers in [
        (MANUAL, "300"),
        (MANUAL, "450"),
        (AUTOSCALE, r#"{"maxThroughput":1500}"#),
        (AUTOSCALE, "{}"),
    ] {
        let answer = bench.send(Method::Post, "/dbs/d/colls", &[headers], &definition).await;
        assert_eq!(u16::from(answer.status), 400, "{headers:?}");
    }
    bench.container("c", &[(MANUAL, "400")]).await;
    let offer = bench.offers().await.remove(0);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    for content in [
        json!({ "offerThroughput": 100 }),
        json!({ "offerAutopilotSettings": { "maxThroughput": 4000 } }),
        json!({}),
    ] {
        let answer = bench
            .send(Method::Put, &path, &[], &json!({ "content": content }))
            .await;
        assert_eq!(u16::from(answer.status), 400, "{content}");
    }
    assert_eq!(bench.offers().await, [offer]);
}
