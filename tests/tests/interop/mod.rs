//! Our Event Hubs publisher and consumer beside the official clients, on the same hub, group and checkpoints: each
//! reads what the other publishes, and goes on where the other stopped.

mod azurite;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::MemoryDeadLetters;
use azevents_core::{Consumer, Delivery, Handled, Handler, HandlerError, LeaseStore, Message, Pipeline, Publisher};
use azevents_emulator::Emulator;
use azevents_eventhubs::{BlobLeases, ConsumerOptions, EventHubs};
use azevents_testing::lease_store;
use azure_storage_blob::BlobContainerClient;
use tokio_util::sync::CancellationToken;

use self::azurite::Azurite;
use crate::builder;
use crate::clients::{interpreter, run_with};

const HUB: &str = "order-events";
const GROUP: &str = "analytics";
const CONTAINER: &str = "checkpoints";
const KEYS: usize = 8;
/// Events of a key in each of the three parts.
const EACH: usize = 5;
const LATE: usize = 1;

/// A client's script, and what ends the namespace's name for it: an emulator's port belongs to it or not.
const PYTHON: (&str, &[char]) = ("eventhubs_interop.py", &[';', '/']);
const JAVASCRIPT: (&str, &[char]) = ("eventhubs_interop.cjs", &[';', '/', ':']);

#[tokio::test(flavor = "multi_thread")]
async fn python_and_we_read_each_others_events_and_checkpoints() {
    take_turns_with(PYTHON, Place::Emulator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_and_we_read_each_others_events_and_checkpoints() {
    take_turns_with(JAVASCRIPT, Place::Emulator).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azurite_python_and_we_go_on_from_each_others_checkpoints() {
    take_turns_with(PYTHON, Place::Azurite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azurite_javascript_and_we_go_on_from_each_others_checkpoints() {
    take_turns_with(JAVASCRIPT, Place::Azurite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azurite_blob_leases_keep_the_promises_of_a_lease_store() {
    let emulator = builder().start().await.expect("the emulator starts");
    let Some(blobs) = Blobs::of(&emulator, Place::Azurite).await else {
        return;
    };
    lease_store::check(&*leases(&blobs, "shop.servicebus.windows.net").await).await;
    emulator.shutdown().await;
}

/// Which Blob Storage checkpoints are kept in.
#[derive(Clone, Copy)]
enum Place {
    Emulator,
    Azurite,
}

struct Blobs {
    endpoint: String,
    connection_string: String,
    sas: String,
    /// Runs as long as this.
    _azurite: Option<Azurite>,
}

impl Blobs {
    /// `None`, after saying that it is skipped, where Azurite isn't installed. It has the emulator's account with
    /// the same key, so that the same signature holds.
    async fn of(emulator: &Emulator, place: Place) -> Option<Self> {
        let ours = &emulator.ready().blobs;
        let (azurite, endpoint) = match place {
            Place::Emulator => (None, ours.endpoint.clone()),
            Place::Azurite => {
                let azurite = Azurite::start(&ours.connection_string).await?;
                let endpoint = azurite.endpoint().to_owned();
                (Some(azurite), endpoint)
            }
        };
        Some(Self {
            connection_string: ours.connection_string.replace(&ours.endpoint, &endpoint),
            sas: ours.sas.clone(),
            endpoint,
            _azurite: azurite,
        })
    }
}

async fn take_turns_with((script, ends): (&str, &[char]), place: Place) {
    let Some(interpreter) = interpreter(script) else {
        return;
    };
    let emulator = builder().start().await.expect("the emulator starts");
    let Some(blobs) = Blobs::of(&emulator, place).await else {
        return;
    };
    let connection = emulator.ready().eventhubs.connection_string.clone();
    let hubs = EventHubs::from_connection_string(&connection).expect("an emulator's");
    let first: Vec<_> = (0..KEYS * EACH)
        .map(|number| message(number % KEYS, number / KEYS))
        .collect();
    hubs.publisher(HUB).publish(&first).await.expect("published");
    let rest = connection.split_once("sb://").expect("an endpoint").1;
    let leases = leases(&blobs, rest.split(ends).next().expect("a host")).await;
    let seen = consume(&hubs, &leases, first.len()).await;
    assert_in_order(&seen, 0, EACH);

    // Reads those, publishes as many, handles its own in the same group, publishes the late ones.
    let arguments = vec![connection, blobs.connection_string, CONTAINER.to_owned()];
    run_with(interpreter, script, arguments).await;
    let late = consume(&hubs, &leases, KEYS * LATE).await;
    assert_in_order(&late, 2 * EACH, LATE);
    assert_eq!(
        late.len(),
        KEYS * LATE,
        "what the other has checkpointed does not come again"
    );
    for message in &late {
        assert_eq!(message.headers["attempt"], "3", "numbers come as text");
        assert!(!message.id.is_empty());
    }
    emulator.shutdown().await;
}

fn message(key: usize, number: usize) -> Message {
    Message {
        id: format!("order-{key}/{number}"),
        key: format!("order-{key}"),
        event_type: "LineAdded".to_owned(),
        content_type: "application/json".to_owned(),
        body: format!("{{\"line\":{number}}}").into(),
        headers: [("azevents-version".to_owned(), (number + 1).to_string())].into(),
    }
}

async fn leases(blobs: &Blobs, namespace: &str) -> Arc<BlobLeases> {
    let url = format!("{}/{CONTAINER}?{}", blobs.endpoint, blobs.sas);
    let container = BlobContainerClient::new(url.parse().expect("a URL"), None, None).expect("a client");
    container.create(None).await.expect("a container");
    Arc::new(BlobLeases::new(container, namespace))
}

/// Handles `count` events and stops; waits for the checkpoints.
async fn consume(hubs: &EventHubs, leases: &Arc<BlobLeases>, count: usize) -> Vec<Message> {
    let stop = CancellationToken::new();
    let recorder = Arc::new(Recorder {
        seen: Mutex::default(),
        count,
        stop: stop.clone(),
    });
    let parking = Arc::new(MemoryDeadLetters::new());
    // Of another language's owner nobody knows for how long it holds: as long as ours would.
    let options = ConsumerOptions::default().with_lease_duration(Duration::from_secs(4));
    let leases: Arc<dyn LeaseStore> = leases.clone();
    let consumer = hubs.consumer(HUB, GROUP, leases, parking.clone()).with_options(options);
    let running = consumer.run(Arc::new(Pipeline::new(recorder.clone())), stop);
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    ended.expect("all events come").expect("stopped");
    assert!(parking.all().is_empty());
    let seen = recorder.seen.lock().expect("nobody panicked");
    seen.clone()
}

struct Recorder {
    seen: Mutex<Vec<Message>>,
    count: usize,
    stop: CancellationToken,
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let mut seen = self.seen.lock().expect("nobody panicked");
        seen.push(message.clone());
        if seen.len() >= self.count {
            self.stop.cancel();
        }
        Ok(Handled::Done)
    }
}

/// Every key's lines from `begin` on, `each` of them.
fn assert_in_order(seen: &[Message], begin: usize, each: usize) {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for message in seen {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        lines.entry(&message.key).or_default().push(body);
    }
    let expected: Vec<_> = (begin..begin + each)
        .map(|line| format!("{{\"line\":{line}}}"))
        .collect();
    assert_eq!(lines.len(), KEYS);
    for (key, lines) in lines {
        assert_eq!(lines, expected, "{key}");
    }
}
