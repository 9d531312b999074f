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
const EVENTS_IN_ALL: usize = STREAMS * COMMITS * 2;
const NAME: &str = "orders";
/// A lease that runs out soon after a crash...
const SHORT: Duration = Duration::from_millis(900);
/// ...and one that no slow machine loses.
const LONG: Duration = Duration::from_secs(30);

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
async fn relay(server: &Server, topic: &Arc<Topic>, owner: &str, lease: Duration) -> Running {
    let cosmos = server.connect_again().await;
    let feed = Arc::new(CosmosCommitFeed::open(&cosmos, EVENTS).await.expect("container"));
    let leases = Arc::new(CosmosLeases::open(&cosmos, LEASES).await.expect("container"));
    let options = RelayOptions::default()
        .with_owner(owner)
        .with_lease_duration(lease)
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

/// Ranges that have handed over to their parts: the whole, once it is divided, and every one that was split.
fn retired(leases: &[Lease]) -> usize {
    leases.iter().filter(|lease| !lease.successors.is_empty()).count()
}

/// Events that won't come again.
fn checkpointed(leases: &[Lease]) -> usize {
    let events = leases
        .iter()
        .filter_map(|lease| Some(lease.checkpoint.as_ref()?.events));
    events.sum::<u64>() as usize
}

async fn all_published(topic: &Topic) {
    let complete = async || {
        let streams = topic.streams();
        streams.len() == STREAMS && streams.values().all(|events| *events == 2 * COMMITS as u64)
    };
    until("everything is published", complete).await;
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), waiting).await;
    assert!(waited.is_ok(), "not within two minutes: {what}");
}

/// What happens to a half of the keys while it is read.
enum Half {
    /// It is split, its readers see that, and then its parts are merged.
    SplitAndThenMerged,
    /// It is split and merged before anybody looks.
    SplitAndMergedUnseen,
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_whole_and_in_order_over_a_split_a_merge_and_a_crash() {
    streams_stay_whole_and_in_order(Half::SplitAndThenMerged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_stay_whole_and_in_order_over_a_split_that_is_merged_at_once_and_a_crash() {
    streams_stay_whole_and_in_order(Half::SplitAndMergedUnseen).await;
}

async fn streams_stay_whole_and_in_order(half: Half) {
    let server = Server::start().await;
    let topic = Arc::new(Topic::default());
    let store = server.store().await;
    let partitions = server.emulator.partitions();
    let (database, container) = (DATABASE, EVENTS);
    let all = partitions.list(database, container);
    let halves = partitions.split(database, container, all[0]).await.expect("split");

    let first = relay(&server, &topic, "first", SHORT).await;
    let crashing = relay(&server, &topic, "crashing", SHORT).await;
    let appending = append_all(&store);
    let leases = CosmosLeases::open(&server.cosmos, LEASES).await.expect("container");
    let divided = async || retired(&leases.list(NAME).await.expect("leases")) == 1;
    until("the feed is divided", divided).await;
    while topic.len() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let quarters = partitions
        .split(database, container, halves[0])
        .await
        .expect("split of a split");
    crashing.task.abort();
    if let Half::SplitAndThenMerged = half {
        let split = async || retired(&leases.list(NAME).await.expect("leases")) == 2;
        until("the half is handed over to its parts", split).await;
    }
    partitions
        .merge(database, container, [quarters[0], quarters[1]])
        .await
        .expect("merge");
    let last = relay(&server, &topic, "last", SHORT).await;
    appending.join_all().await;
    all_published(&topic).await;
    // The crashed one may have published all that was its own; what it didn't checkpoint still comes again.
    let checkpointed = async || checkpointed(&leases.list(NAME).await.expect("leases")) >= EVENTS_IN_ALL;
    until("everything is checkpointed", checkpointed).await;
    first.stop().await;
    last.stop().await;

    let leases = leases.list(NAME).await.expect("leases");
    assert_eq!(
        self::checkpointed(&leases),
        EVENTS_IN_ALL,
        "every event is checkpointed once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_graceful_stop_all_is_given_back_and_a_split_repeats_nothing() {
    let server = Server::start().await;
    let topic = Arc::new(Topic::default());
    let store = server.store().await;
    let before = relay(&server, &topic, "before", LONG).await;
    append_all(&store).join_all().await;
    all_published(&topic).await;
    before.stop().await;
    let published = topic.len();
    let leases = CosmosLeases::open(&server.cosmos, LEASES).await.expect("container");
    let leases = leases.list(NAME).await.expect("leases");
    assert!(
        leases.iter().all(|lease| lease.owner.is_empty()),
        "all given back: {leases:#?}"
    );

    let partitions = server.emulator.partitions();
    let (database, container) = (DATABASE, EVENTS);
    partitions.split(database, container, 0).await.expect("split");
    let stream: StreamId = "order-later".parse().expect("a name");
    let event = NewEvent::json("Counted", &1).expect("JSON");
    let outcome = store.append(&stream, ExpectedVersion::NoStream, vec![event]).await;
    assert!(matches!(outcome, Ok(AppendOutcome::Committed(_))));
    let after = relay(&server, &topic, "after", LONG).await;
    while !topic.streams().contains_key("order-later") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    after.stop().await;
    assert_eq!(topic.len(), published + 1);
}
