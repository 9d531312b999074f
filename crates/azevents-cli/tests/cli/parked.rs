//! `azevents parked`: from an event hub's consumer to each place, and back in order per key.

use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::MemoryLeases;
use azevents_core::{
    Consumer, DeadLetterSink, Delivery, Handled, Handler, HandlerError, Message, Pipeline, Publisher, RetryPolicy,
};
use azevents_cosmos::{ContainerSpec, Cosmos, CosmosConfig, CosmosDeadLetters};
use azevents_emulator::{Emulator, EventHub, Queue};
use azevents_eventhubs::{ConsumerOptions, EventHubs};
use azevents_servicebus::{ServiceBusClient, ServiceBusDeadLetters};
use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const DATABASE: &str = "parking";
const HUB: &str = "orders";
/// Events of a key, and keys.
const EACH: usize = 6;
const KEYS: usize = 3;

/// Where everything happens: events of which every second key's can't be handled, and places for them.
struct Scene {
    emulator: Emulator,
    hubs: EventHubs,
    cosmos: Cosmos,
}

impl Scene {
    async fn start() -> Self {
        let emulator = Emulator::builder()
            .event_hub(EventHub::new(HUB).with_partition_count(2))
            .event_hub(EventHub::new("parked").with_partition_count(2))
            .event_hub(EventHub::new("again").with_partition_count(2))
            .queue(Queue::new("parked"))
            .queue(Queue::new("parked-sessions").with_sessions())
            .blob_container("redriven")
            .start()
            .await
            .unwrap();
        let ready = emulator.ready();
        let hubs = EventHubs::from_connection_string(&ready.eventhubs.connection_string).unwrap();
        let address = ready.cosmos.as_ref().expect("Cosmos DB");
        let config = CosmosConfig::with_key(&address.endpoint, &address.key, DATABASE);
        let cosmos = Cosmos::connect(config).await.unwrap();
        cosmos
            .provision(&[ContainerSpec::dead_letters("parked")])
            .await
            .unwrap();
        Self { emulator, hubs, cosmos }
    }

    /// Publishes events and consumes them, with `sink` for those that can't be handled.
    async fn park(&self, sink: Arc<dyn DeadLetterSink>) {
        let messages: Vec<_> = (0..EACH * KEYS).map(|n| message(n % KEYS, n / KEYS)).collect();
        self.hubs.publisher(HUB).publish(&messages).await.unwrap();
        let leases = Arc::new(MemoryLeases::new());
        let options = ConsumerOptions::default()
            .with_acquire_interval(Duration::from_millis(100))
            .with_checkpoints(1, Duration::from_millis(100));
        let consumer = self
            .hubs
            .consumer(HUB, "$Default", leases.clone(), sink)
            .with_options(options);
        let pipeline = Pipeline::new(Arc::new(Refusing)).with_retry(RetryPolicy::none());
        let stop = CancellationToken::new();
        let done = async {
            let behind = |lags: Vec<azevents_eventhubs::PartitionLag>| lags.iter().any(|lag| lag.events > 0);
            while behind(self.hubs.lag(HUB, "$Default", &*leases).await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            stop.cancel();
        };
        let (ran, ()) = tokio::join!(consumer.run(Arc::new(pipeline), stop.clone()), done);
        ran.unwrap();
    }

    async fn azevents(&self, args: &[&str], place: &[&str]) -> Output {
        let ready = self.emulator.ready();
        let cosmos = ready.cosmos.as_ref().expect("Cosmos DB");
        Command::new(env!("CARGO_BIN_EXE_azevents"))
            .arg("parked")
            .args(args)
            .args(place)
            .env("SERVICEBUS_CONNECTION_STRING", &ready.servicebus.connection_string)
            .env("EVENTHUBS_CONNECTION_STRING", &ready.eventhubs.connection_string)
            .env(
                "BLOBS_CONTAINER_URL",
                format!("{}/redriven?{}", ready.blobs.endpoint, ready.blobs.sas),
            )
            .env("COSMOS_ENDPOINT", &cosmos.endpoint)
            .env("COSMOS_KEY", &cosmos.key)
            .env("COSMOS_DATABASE", DATABASE)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }

    async fn json(&self, args: &[&str], place: &[&str]) -> Value {
        let output = self.azevents(&[args, &["--json"]].concat(), place).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The events in the hub that things are sent again to.
    async fn sent_again(&self) -> Vec<Message> {
        let seen = Arc::new(Seen::default());
        let replay = self.hubs.replay("again", "$Default");
        let pipeline = Arc::new(Pipeline::new(seen.clone()));
        replay.run(pipeline, CancellationToken::new()).await.unwrap();
        std::mem::take(&mut seen.0.lock().unwrap())
    }

    /// Lists, shows and sends again what lies in a place; `left` says whether it stays to be seen there.
    async fn check(&self, place: &[&str], left: bool) {
        let listed = self.json(&["list"], place).await;
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 2 * EACH, "{listed:?}");
        for key in ["order-0", "order-2"] {
            let ids: Vec<_> = listed
                .iter()
                .filter(|letter| letter["key"] == key)
                .map(|letter| letter["id"].clone())
                .collect();
            assert_eq!(
                ids,
                (0..EACH).map(|n| Value::from(format!("{key}/{n}"))).collect::<Vec<_>>()
            );
        }
        let of_key = self
            .json(&["list", "--key", "order-2", "--reason", "Poison"], place)
            .await;
        assert_eq!(of_key.as_array().unwrap().len(), EACH);
        let shown = self.json(&["show", "order-2/3"], place).await;
        assert_eq!(
            (&shown["reason"], &shown["body"]),
            (&"Poison".into(), &"{\"line\":3}".into())
        );
        assert!(
            shown["source"]
                .as_str()
                .unwrap()
                .starts_with("eventhub/orders/$Default/"),
            "{shown}"
        );

        let sent = self.json(&["redrive", "--to", "again"], place).await;
        assert_eq!(sent["sent"], 2 * EACH);
        let again = self.sent_again().await;
        for key in [0, 2] {
            let of_key: Vec<_> = again
                .iter()
                .filter(|message| message.key == format!("order-{key}"))
                .collect();
            let expected: Vec<_> = (0..EACH).map(|number| message(key, number)).collect();
            assert_eq!(of_key, expected.iter().collect::<Vec<_>>(), "in order, without marks");
        }
        let once_more = self.json(&["redrive", "--to", "again"], place).await;
        assert_eq!(once_more["sent"], 0, "nothing is sent twice");
        let listed = self.json(&["list"], place).await;
        assert_eq!(listed.as_array().unwrap().is_empty(), !left);
    }
}

fn message(key: usize, number: usize) -> Message {
    Message {
        id: format!("order-{key}/{number}"),
        key: format!("order-{key}"),
        event_type: "LineAdded".into(),
        content_type: "application/json".into(),
        body: format!("{{\"line\":{number}}}").into(),
        headers: [("tenant".to_owned(), "acme".to_owned())].into(),
    }
}

struct Refusing;

#[async_trait]
impl Handler for Refusing {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        match message.key.as_str() {
            "order-1" => Ok(Handled::Done),
            _ => Err(HandlerError::permanent("Poison", "cannot be handled")),
        }
    }
}

#[derive(Default)]
struct Seen(Mutex<Vec<Message>>);

#[async_trait]
impl Handler for Seen {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        self.0.lock().unwrap().push(message.clone());
        Ok(Handled::Done)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_in_a_queue_is_sent_again_in_order() {
    for (queue, sessions) in [("parked", &[][..]), ("parked-sessions", &["--sessions"][..])] {
        let scene = Scene::start().await;
        let client =
            ServiceBusClient::from_connection_string(&scene.emulator.ready().servicebus.connection_string).unwrap();
        scene.park(Arc::new(ServiceBusDeadLetters::new(&client, queue))).await;
        scene.check(&[&["--queue", queue], sessions].concat(), false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_in_a_container_is_sent_again_in_order() {
    let scene = Scene::start().await;
    let parking = CosmosDeadLetters::open(&scene.cosmos, "parked", "billing")
        .await
        .unwrap();
    scene.park(Arc::new(parking)).await;
    scene
        .check(&["--container", "parked", "--source", "billing"], false)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_in_another_hub_is_sent_again_in_order_and_once() {
    let scene = Scene::start().await;
    scene.park(Arc::new(scene.hubs.dead_letters("parked"))).await;
    scene.check(&["--hub", "parked"], true).await;
}

#[tokio::test]
async fn errors_of_parked_say_what_to_do() {
    let scene = Scene::start().await;
    for (args, place, says) in [
        (&["list"][..], &["--container", "parked"][..], "--source"),
        (&["list"], &[], "--queue"),
        (&["show", "x"], &["--queue", "parked"], "see `azevents parked list`"),
        (&["redrive", "--to", "nowhere"], &["--queue", "parked"], "nowhere"),
    ] {
        let output = scene.azevents(args, place).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(says), "{args:?}: {stderr}");
    }
}
