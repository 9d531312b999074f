//! The relay on Cosmos DB while physical partitions split and merge under it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    AppendOutcome, EventStore, ExpectedVersion, Lease, LeaseStore, Message, NewEvent, PublishError, Publisher, Relay,
    RelayOptions, Result, StreamId,
};
use azevents_cosmos::{CosmosCommitFeed, CosmosEventStore, CosmosLeases};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::common::{DATABASE, EVENTS, LEASES, Server};

const STREAMS: usize = 24;
const COMMITS: usize = 12;
const NAME: &str = "orders";

/// Keeps what it is sent.
#[derive(Default)]
struct Topic(Mutex<Vec<Message>>);

#[async_trait]
impl Publisher for Topic {
    async fn publish(&self, messages: &[Message]) -> std::result::Result<(), PublishError> {
        self.0.lock().expect("not poisoned").extend_from_slice(messages);
        Ok(())
    }
}

impl Topic {
    /// The first sightings of each stream's events, which must be in order: how far each stream has come.
    fn streams(&self) -> BTreeMap<String, u64> {
        let mut streams: BTreeMap<String, u64> = BTreeMap::new();
        for message in self.0.lock().expect("not poisoned").iter() {
            let reached = streams.entry(message.key.clone()).or_default();
            let version = message.version().expect("an event").get();
            assert!(version <= *reached + 1, "{}: {version} after {reached}", message.key);
            *reached = version.max(*reached);
        }
        streams
    }

    fn len(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

/// A relay with a connection of its own, as in a process of its own.
async fn relay(server: &Server, topic: &Arc<Topic>, owner: &str) -> Running {
    let cosmos = server.connect_again().await;
    let feed = Arc::new(CosmosCommitFeed::open(&cosmos, EVENTS).await.expect("container"));
    let leases = Arc::new(CosmosLeases::open(&cosmos, LEASES).await.expect("container"));
    let options = RelayOptions::default()
        .with_owner(owner)
        .with_lease_duration(Duration::from_millis(900))
        .with_checkpoint_interval(Duration::from_millis(100))
        .with_poll_interval(Duration::from_millis(100));
    let relay = Relay::new(NAME, feed, leases, topic.clone(), options);
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(stop).await }
    });
    Running { stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a graceful end");
    }
}

/// Every stream gets one commit of two events after the other, all streams side by side.
fn append_all(store: &CosmosEventStore) -> JoinSet<()> {
    let mut appending = JoinSet::new();
    for stream in 0..STREAMS {
        let store = store.clone();
        let stream: StreamId = format!("order-{stream}").parse().expect("a name");
        appending.spawn(async move {
            let mut expected = ExpectedVersion::NoStream;
            for n in 0..COMMITS {
                let events = (0..2).map(|_| NewEvent::json("Counted", &n).expect("JSON")).collect();
                match store.append(&stream, expected, events).await.expect("append") {
                    AppendOutcome::Committed(commit) => expected = ExpectedVersion::Head(commit.head()),
                    AppendOutcome::Conflict(conflict) => panic!("nobody else appends: {conflict:?}"),
                }
            }
        });
    }
    appending
}

fn checkpointed(leases: &[Lease]) -> usize {
    let events = leases
        .iter()
        .filter_map(|lease| Some(lease.checkpoint.as_ref()?.events));
    events.sum::<u64>() as usize
}

async fn all_published(topic: &Topic) {
    let complete = |streams: &BTreeMap<String, u64>| {
        streams.len() == STREAMS && streams.values().all(|events| *events == 2 * COMMITS as u64)
    };
    let waiting = async {
        while !complete(&topic.streams()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), waiting).await;
    assert!(waited.is_ok(), "not everything was published: {:?}", topic.streams());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_whole_and_in_order_over_splits_merges_and_a_crash() {
    let server = Server::start().await;
    let topic = Arc::new(Topic::default());
    let store = server.store().await;
    let first = relay(&server, &topic, "first").await;
    let crashing = relay(&server, &topic, "crashing").await;
    let appending = append_all(&store);

    let partitions = server.emulator.partitions();
    let (database, container) = (DATABASE, EVENTS);
    let all = partitions.list(database, container);
    let halves = partitions.split(database, container, all[0]).await.expect("split");
    while topic.len() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let quarters = partitions
        .split(database, container, halves[0])
        .await
        .expect("split of a split");
    crashing.task.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    partitions
        .merge(database, container, [quarters[0], quarters[1]])
        .await
        .expect("merge");
    let last = relay(&server, &topic, "last").await;
    appending.join_all().await;
    let leases = CosmosLeases::open(&server.cosmos, LEASES).await.expect("container");
    if tokio::time::timeout(Duration::from_secs(60), all_published(&topic))
        .await
        .is_err()
    {
        panic!("{:?} {:#?}", topic.streams(), leases.list(NAME).await);
    }
    // The crashed one may have published all that was its own; what it didn't checkpoint still comes again.
    while checkpointed(&leases.list(NAME).await.expect("leases")) < STREAMS * COMMITS * 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.stop().await;
    last.stop().await;

    let leases = leases.list(NAME).await.expect("leases");
    let retired = leases.iter().filter(|lease| !lease.successors.is_empty()).count();
    assert!(
        retired >= 2,
        "the whole, and each range that was split while it was read: {leases:?}"
    );
    assert!(leases.iter().all(|lease| lease.owner.is_empty()), "all given back");
    assert_eq!(
        checkpointed(&leases),
        STREAMS * COMMITS * 2,
        "every event is checkpointed once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_graceful_stop_a_split_repeats_nothing() {
    let server = Server::start().await;
    let topic = Arc::new(Topic::default());
    let store = server.store().await;
    let before = relay(&server, &topic, "before").await;
    append_all(&store).join_all().await;
    all_published(&topic).await;
    before.stop().await;
    let published = topic.len();

    let partitions = server.emulator.partitions();
    let (database, container) = (DATABASE, EVENTS);
    partitions.split(database, container, 0).await.expect("split");
    let stream: StreamId = "order-later".parse().expect("a name");
    let event = NewEvent::json("Counted", &1).expect("JSON");
    let outcome = store.append(&stream, ExpectedVersion::NoStream, vec![event]).await;
    assert!(matches!(outcome, Ok(AppendOutcome::Committed(_))));
    let after = relay(&server, &topic, "after").await;
    while !topic.streams().contains_key("order-later") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    after.stop().await;
    assert_eq!(topic.len(), published + 1);
}
