//! The management endpoint: small, and clear about what it does not take.

mod support;

use std::time::Duration;

use azevents_emulator::{Emulator, FaultKind};
use serde_json::{Value, json};
use support::{http, http_with};

async fn request(emulator: &Emulator, method: &str, path: &str, body: &str) -> (u16, Value) {
    http(&emulator.ready().management.endpoint, method, path, body).await
}

#[tokio::test]
async fn health_and_the_ready_line_can_be_asked_for() {
    let emulator = Emulator::builder().start().await.unwrap();
    assert_eq!(
        request(&emulator, "GET", "/health", "").await,
        (200, json!({ "status": "ok" }))
    );
    let (status, ready) = request(&emulator, "GET", "//ready/", "").await;
    assert_eq!(status, 200, "slashes too many are not an error");
    assert_eq!(
        ready.to_string(),
        serde_json::to_value(emulator.ready()).unwrap().to_string()
    );
}

#[tokio::test]
#[cfg(feature = "cosmos")]
async fn a_topology_in_toml_creates_what_is_missing_in_every_service() {
    let emulator = Emulator::builder().blob_container("checkpoints").start().await.unwrap();
    let topology = r#"
        queue = [{ name = "q" }]
        database = [{ name = "shop", containers = [{ name = "events", partition_key = "/stream" }] }]
        blob_container = [{ name = "checkpoints" }, { name = "claims" }]
    "#;
    let endpoint = &emulator.ready().management.endpoint;
    let header = "Content-Type: application/toml";
    let (status, changes) = http_with(endpoint, "PUT", "/topology", header, topology).await;
    assert_eq!(status, 200, "{changes}");
    assert_eq!(
        changes["created"],
        json!(["q", "blobs/claims", "cosmos/shop", "cosmos/shop/events"])
    );
    assert_eq!(changes["existing"], json!(["blobs/checkpoints"]));
    let (_, changes) = http_with(endpoint, "PUT", "/topology", header, topology).await;
    assert_eq!(changes["created"], json!([]));
}

#[tokio::test]
async fn a_queue_that_nobody_uses_is_gone_when_the_clock_has_jumped_far_enough() {
    let emulator = Emulator::builder().start().await.unwrap();
    let endpoint = &emulator.ready().management.endpoint;
    let topology = r#"queue = [{ name = "brief", auto_delete_on_idle = "5m" }, { name = "lasting" }]"#;
    let create = || http_with(endpoint, "PUT", "/topology", "Content-Type: application/toml", topology);
    let (_, changes) = create().await;
    assert_eq!(changes["created"], json!(["brief", "lasting"]));
    request(&emulator, "POST", "/clock", r#"{"advance_ms":240000}"#).await;
    let (_, changes) = create().await;
    assert_eq!(changes["existing"], json!(["brief", "lasting"]));
    request(&emulator, "POST", "/clock", r#"{"advance_ms":60000}"#).await;
    let gone = async { while create().await.1["created"] != json!(["brief"]) {} };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("it is deleted");
}

#[tokio::test]
async fn the_clock_jumps_ahead_and_says_how_far() {
    let emulator = Emulator::builder().start().await.unwrap();
    let (status, time) = request(&emulator, "GET", "/clock", "").await;
    assert_eq!((status, &time["advanced_ms"]), (200, &json!(0)));
    let before = emulator.clock().now_utc();
    let (status, time) = request(&emulator, "POST", "/clock", r#"{"advance_ms":60000}"#).await;
    assert_eq!((status, &time["advanced_ms"]), (200, &json!(60_000)));
    assert!((emulator.clock().now_utc() - before).whole_seconds() >= 60);
    let (status, refusal) = request(&emulator, "POST", "/clock", r#"{"to":"tomorrow"}"#).await;
    assert_eq!(status, 400);
    assert!(refusal["error"].as_str().unwrap().contains("advance_ms"), "{refusal}");
}

#[tokio::test]
async fn faults_are_set_counted_and_cleared() {
    let emulator = Emulator::builder().start().await.unwrap();
    let plan = r#"{"seed":7,"rules":{"lose_settle":{"rate":1.0,"limit":2}}}"#;
    let (status, report) = request(&emulator, "PUT", "/faults", plan).await;
    assert_eq!((status, &report["counts"]), (200, &json!({})));
    assert!(emulator.faults().decide(FaultKind::LoseSettle));
    let (_, report) = request(&emulator, "GET", "/faults", "").await;
    assert_eq!(
        report["counts"]["lose_settle"],
        json!({ "decisions": 1, "injected": 1 })
    );
    assert_eq!(report["plan"], serde_json::from_str::<Value>(plan).unwrap());
    let (status, report) = request(&emulator, "DELETE", "/faults", "").await;
    assert_eq!((status, &report["plan"]["rules"]), (200, &json!({})));
    assert!(!emulator.faults().decide(FaultKind::LoseSettle));
}

#[tokio::test]
async fn a_topology_creates_what_is_missing_and_can_be_put_again() {
    let emulator = Emulator::builder().queue("q1").start().await.unwrap();
    let topology = r#"{ "UserConfig": { "Namespaces": [ {
        "Queues": [ { "Name": "Q1" }, { "Name": "q2" } ],
        "Topics": [ { "Name": "t1", "Subscriptions": [ { "Name": "s1" } ] } ],
        "Entities": [ { "Name": "eh1", "PartitionCount": 2 } ]
    } ] } }"#;
    let (status, changes) = request(&emulator, "PUT", "/topology", topology).await;
    assert_eq!(status, 200, "{changes}");
    let created = ["q2", "t1", "t1/Subscriptions/s1", "eh1"];
    assert_eq!(changes, json!({ "created": created, "existing": ["Q1"] }));
    let (status, changes) = request(&emulator, "PUT", "/topology", topology).await;
    assert_eq!((status, &changes["created"]), (200, &json!([])));
    let clash = topology
        .replace("q2", "t1")
        .replace("\"Name\": \"t1\", ", "\"Name\": \"t2\", ");
    let (status, error) = request(&emulator, "PUT", "/topology", &clash).await;
    assert_eq!(status, 409);
    assert!(error["error"].as_str().unwrap().contains("queue `t1`"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_sentence() {
    let emulator = Emulator::builder().start().await.unwrap();
    let cases = [
        ("GET", "/nothing", "", 404, "There is nothing at /nothing"),
        ("POST", "/health", "", 405, "/health does not take POST"),
        ("PUT", "/faults", "{", 400, "not a fault plan"),
        (
            "PUT",
            "/faults",
            r#"{"seed":1,"rules":{"rain":{"rate":1,"limit":1}}}"#,
            400,
            "rain",
        ),
        (
            "PUT",
            "/faults",
            r#"{"seed":1,"rules":{"lose_settle":{"rate":2,"limit":1}}}"#,
            400,
            "0.0 to 1.0",
        ),
        ("PUT", "/topology", "{\n\"UserConfig\": 3}", 400, "request body:2:"),
    ];
    for (method, path, body, status, says) in cases {
        let (answered, error) = request(&emulator, method, path, body).await;
        assert_eq!(answered, status, "{method} {path} {body}: {error}");
        let error = error["error"].as_str().expect("a sentence");
        assert!(error.contains(says), "{method} {path} {body}: {error}");
    }
}
