//! The relay's promises, on the in-memory implementations and tokio's paused clock.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::error::ErrorKind;
use crate::event::NewEvent;
use crate::feed::{Checkpoint, FeedRange, Lease, StartFrom};
use crate::memory::{MemoryDeadLetters, MemoryLeases, MemoryStore};
use crate::message::Message;
use crate::publisher::PublishError;
use crate::store::EventStore;
use crate::stream::StreamId;
use crate::version::ExpectedVersion;

/// Keeps what it is sent; fails by a script.
#[derive(Default)]
struct Recorder {
    sent: Mutex<Vec<Message>>,
    script: Mutex<Vec<(usize, ErrorKind)>>,
    refuse: Option<String>,
}

impl Recorder {
    fn sent(&self) -> Vec<Message> {
        self.sent.lock().unwrap().clone()
    }
}

#[async_trait]
impl Publisher for Recorder {
    async fn publish(&self, messages: &[Message]) -> std::result::Result<(), PublishError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let poison = messages
            .iter()
            .position(|message| Some(&message.key) == self.refuse.as_ref());
        let failure = self.script.lock().unwrap().pop();
        let (accepted, kind) = match (poison, failure) {
            (_, Some((accepted, kind))) => (accepted.min(messages.len() - 1), Some(kind)),
            (Some(poison), None) => (poison, Some(ErrorKind::TooLarge)),
            (None, None) => (messages.len(), None),
        };
        self.sent.lock().unwrap().extend_from_slice(&messages[..accepted]);
        match kind {
            Some(kind) => Err(PublishError::after(accepted, Error::new(kind, "publish", "test"))),
            None => Ok(()),
        }
    }
}

async fn append(store: &MemoryStore, stream: &str, events: usize) {
    let events = (0..events).map(|n| NewEvent::json("Counted", &n).unwrap()).collect();
    let outcome = store
        .append(&StreamId::new(stream).unwrap(), ExpectedVersion::Any, events)
        .await
        .unwrap();
    assert!(matches!(outcome, crate::AppendOutcome::Committed(_)));
}

fn options() -> RelayOptions {
    RelayOptions::default().with_owner("test").with_lanes(3).with_batch(4)
}

fn relay(store: &MemoryStore, leases: &MemoryLeases, publisher: &Arc<Recorder>) -> Relay {
    Relay::new(
        "test",
        Arc::new(store.clone()),
        Arc::new(leases.clone()),
        publisher.clone(),
        options(),
    )
    .with_nudge(store.nudge())
}

/// Runs until `published` messages have arrived, then stops gracefully.
async fn run_until(relay: Relay, publisher: &Recorder, published: usize) -> Result<()> {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(stop).await }
    });
    while publisher.sent().len() < published && !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    running.await.unwrap()
}

/// Every version of every stream at least once, first sightings in order.
fn assert_complete(sent: &[Message], streams: &[(&str, u64)]) {
    for (stream, events) in streams {
        let mut reached = 0;
        for version in sent
            .iter()
            .filter(|m| m.key == *stream)
            .map(|m| m.version().unwrap().get())
        {
            assert!(version <= reached + 1, "{stream}: {version} after {reached}");
            reached = reached.max(version);
        }
        assert_eq!(reached, *events, "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_is_published_in_order_per_stream() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    for n in 0..50 {
        append(&store, &format!("order-{}", n % 5), 3).await;
    }
    run_until(relay(&store, &leases, &publisher), &publisher, 150)
        .await
        .unwrap();
    assert_eq!(publisher.sent().len(), 150);
    let streams = ["order-0", "order-1", "order-2", "order-3", "order-4"].map(|stream| (stream, 30));
    assert_complete(&publisher.sent(), &streams);
}

#[tokio::test(start_paused = true)]
async fn a_failed_publish_is_repeated_without_a_gap() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    *publisher.script.lock().unwrap() = vec![
        (2, ErrorKind::Unavailable),
        (0, ErrorKind::Throttled),
        (1, ErrorKind::OutcomeUnknown),
    ];
    append(&store, "order-1", 20).await;
    run_until(relay(&store, &leases, &publisher), &publisher, 20)
        .await
        .unwrap();
    assert_complete(&publisher.sent(), &[("order-1", 20)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_graceful_stop_nothing_is_published_twice() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    append(&store, "order-1", 5).await;
    run_until(relay(&store, &leases, &publisher), &publisher, 5)
        .await
        .unwrap();
    append(&store, "order-1", 5).await;
    run_until(relay(&store, &leases, &publisher), &publisher, 10)
        .await
        .unwrap();
    assert_eq!(publisher.sent().len(), 10);
    let leases = leases.list("test").await.unwrap();
    let events = leases
        .iter()
        .filter_map(|lease| lease.checkpoint.as_ref())
        .map(|checkpoint| checkpoint.events);
    assert_eq!(events.sum::<u64>(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_moment_loses_nothing() {
    for crash_after in 1..60 {
        let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
        for n in 0..12 {
            append(&store, &format!("order-{}", n % 3), 4).await;
        }
        let crashing = relay(&store, &leases, &publisher);
        // Dropping the future is the crash.
        let _ = tokio::time::timeout(
            Duration::from_micros(300 * crash_after),
            crashing.run(CancellationToken::new()),
        )
        .await;
        drop(crashing);
        let again = relay(&store, &leases, &publisher);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { again.run(stop).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.cancel();
        running.await.unwrap().unwrap();
        assert_complete(&publisher.sent(), &[("order-0", 16), ("order-1", 16), ("order-2", 16)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_published_is_set_aside_and_the_others_go_on() {
    let parked = MemoryDeadLetters::new();
    let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
    let publisher = Arc::new(Recorder {
        refuse: Some("order-2".into()),
        ..Recorder::default()
    });
    append(&store, "order-1", 3).await;
    append(&store, "order-2", 1).await;
    append(&store, "order-3", 3).await;
    let relay = relay(&store, &leases, &publisher).with_parking(Arc::new(parked.clone()));
    run_until(relay, &publisher, 6).await.unwrap();
    assert_complete(&publisher.sent(), &[("order-1", 3), ("order-3", 3)]);
    assert_eq!(
        parked
            .all()
            .into_iter()
            .map(|(message, _)| message.key)
            .collect::<Vec<_>>(),
        ["order-2"]
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_parking_place_the_relay_stops_and_names_the_reason() {
    let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
    let publisher = Arc::new(Recorder {
        refuse: Some("order-2".into()),
        ..Recorder::default()
    });
    append(&store, "order-2", 1).await;
    let error = run_until(relay(&store, &leases, &publisher), &publisher, 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_everything_stops_the_relay_and_no_event_is_set_aside() {
    let parked = MemoryDeadLetters::new();
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    *publisher.script.lock().unwrap() = vec![(0, ErrorKind::Unauthorized)];
    append(&store, "order-1", 3).await;
    let relay = relay(&store, &leases, &publisher).with_parking(Arc::new(parked.clone()));
    let error = run_until(relay, &publisher, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(parked.all().is_empty());
}

/// Leases that are answered for late, or that another owner takes over once.
#[derive(Default)]
struct Troubled {
    leases: MemoryLeases,
    steals: std::sync::atomic::AtomicBool,
    answers_after: Duration,
}

#[async_trait]
impl LeaseStore for Troubled {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        let lease = self.leases.acquire(reader, range, owner, duration).await;
        tokio::time::sleep(self.answers_after).await;
        lease
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        if lease.reader == "test" && self.steals.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Conflict, "renew lease", &lease.range));
        }
        self.leases.renew(lease, checkpoint, duration).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.leases.release(lease).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.leases.list(reader).await
    }

    async fn create(&self, reader: &str, range: &FeedRange, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.leases.create(reader, range, checkpoint).await
    }

    async fn retire(&self, lease: &Lease, successors: &[FeedRange]) -> Result<()> {
        self.leases.retire(lease, successors).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_looked_for_again() {
    let (store, publisher) = (MemoryStore::new(), Arc::new(Recorder::default()));
    append(&store, "order-1", 5).await;
    let leases = Arc::new(Troubled {
        steals: true.into(),
        ..Troubled::default()
    });
    let relay = Relay::new("test", Arc::new(store.clone()), leases, publisher.clone(), options());
    // Five from the first holder, five again from the second, who starts at the same checkpoint.
    run_until(relay, &publisher, 10).await.unwrap();
    assert_complete(&publisher.sent(), &[("order-1", 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_being_taken_when_the_relay_stops_is_given_back() {
    let leases = Arc::new(Troubled {
        answers_after: Duration::from_secs(1),
        ..Troubled::default()
    });
    let feed = Arc::new(MemoryStore::new());
    let relay = Relay::new("test", feed, leases.clone(), Arc::new(Recorder::default()), options());
    let owned = async || {
        let all = leases.list("test").await.unwrap();
        all.iter()
            .filter(|lease| lease.range != FeedRange::whole() && !lease.owner.is_empty())
            .count()
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(stop).await }
    });
    while owned().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(owned().await, 0);
}

/// All streams that one of these tests writes to, `events` events each.
async fn fill(store: &MemoryStore, streams: usize, events: usize) {
    for _ in 0..events {
        for stream in 0..streams {
            append(store, &format!("order-{stream}"), 1).await;
        }
    }
}

fn complete(sent: &[Message], streams: usize, events: u64) {
    let names: Vec<_> = (0..streams).map(|stream| format!("order-{stream}")).collect();
    let expected: Vec<_> = names.iter().map(|name| (name.as_str(), events)).collect();
    assert_complete(sent, &expected);
}

/// A relay of its own among others, which runs until it is stopped.
struct Running {
    relay: Arc<Relay>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Running {
    fn start(store: &MemoryStore, leases: &MemoryLeases, publisher: &Arc<Recorder>, owner: &str) -> Self {
        let options = options().with_owner(owner);
        let (feed, leases) = (Arc::new(store.clone()), Arc::new(leases.clone()));
        let relay = Arc::new(Relay::new("test", feed, leases, publisher.clone(), options));
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (relay, stop) = (relay.clone(), stop.clone());
            async move { relay.run(stop).await }
        });
        Self { relay, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn held(leases: &MemoryLeases, owner: &str) -> usize {
    let all = leases.list("test").await.unwrap();
    all.iter().filter(|lease| lease.owner == owner).count()
}

#[tokio::test(start_paused = true)]
async fn a_split_hands_over_to_the_parts_without_a_gap_and_without_a_copy() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    let relay = Running::start(&store, &leases, &publisher, "a");
    for round in 1..=5_u64 {
        fill(&store, 8, 3).await;
        if let Some(range) = store.ranges().await.unwrap().get(round as usize % 2) {
            store.split(range).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        complete(&publisher.sent(), 8, round * 3);
    }
    store.merge();
    fill(&store, 8, 3).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    relay.stop().await;
    complete(&publisher.sent(), 8, 18);
    assert_eq!(publisher.sent().len(), 8 * 18, "graceful hand-over repeats nothing");
    let all = leases.list("test").await.unwrap();
    let events = all
        .iter()
        .filter_map(|lease| lease.checkpoint.as_ref())
        .map(|c| c.events);
    assert_eq!(events.sum::<u64>(), 8 * 18, "retired leases keep their count");
}

#[tokio::test(start_paused = true)]
async fn relays_share_ranges_evenly_and_a_dead_ones_are_taken_over() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    for _ in 0..3 {
        for range in store.ranges().await.unwrap() {
            store.split(&range).unwrap();
        }
    }
    let first = Running::start(&store, &leases, &publisher, "a");
    fill(&store, 20, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(held(&leases, "a").await, 8);
    let others = ["b", "c"].map(|owner| Running::start(&store, &leases, &publisher, owner));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut shares = Vec::new();
    for owner in ["a", "b", "c"] {
        shares.push(held(&leases, owner).await);
    }
    shares.sort_unstable();
    assert_eq!(shares, [2, 3, 3]);
    assert_eq!(publisher.sent().len(), 40, "sharing repeats nothing");

    // A crash: its ranges are free when its leases expire.
    let [b, c] = others;
    b.task.abort();
    fill(&store, 20, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((held(&leases, "a").await, held(&leases, "c").await), (4, 4));
    complete(&publisher.sent(), 20, 4);
    first.stop().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(held(&leases, "c").await, 8);
    c.stop().await;
    assert_eq!(held(&leases, "c").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_holds_up_its_stream_also_after_a_restart() {
    let parked = MemoryDeadLetters::new();
    let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
    let refusing = Arc::new(Recorder {
        refuse: Some("order-2".into()),
        ..Recorder::default()
    });
    append(&store, "order-2", 2).await;
    append(&store, "order-1", 2).await;
    let first = relay(&store, &leases, &refusing).with_parking(Arc::new(parked.clone()));
    run_until(first, &refusing, 2).await.unwrap();
    // What could not be published then could be now, but not before the events that stand before it.
    let publisher = Arc::new(Recorder::default());
    append(&store, "order-2", 2).await;
    append(&store, "order-1", 2).await;
    let second = relay(&store, &leases, &publisher).with_parking(Arc::new(parked.clone()));
    run_until(second, &publisher, 2).await.unwrap();
    let aside: Vec<_> = parked
        .all()
        .iter()
        .map(|(message, why)| {
            (
                message.key.clone(),
                message.version().unwrap().get(),
                why.reason.clone(),
            )
        })
        .collect();
    let behind = |version| ("order-2".to_owned(), version, BEHIND_PARKED_EVENT.to_owned());
    let first = ("order-2".to_owned(), 1, UNPUBLISHABLE.to_owned());
    assert_eq!(aside, [first, behind(2), behind(3), behind(4)]);
    assert!(publisher.sent().iter().all(|message| message.key == "order-1"));
    let all = leases.list("test").await.unwrap();
    let streams: Vec<_> = all
        .iter()
        .filter_map(|l| l.checkpoint.as_ref())
        .flat_map(|c| &c.parked)
        .collect();
    assert_eq!(streams.len(), 1);
    assert_eq!((streams[0].1.first.get(), streams[0].1.last.get()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_set_aside_goes_on_in_order_once_it_is_resumed() {
    let parked = MemoryDeadLetters::new();
    let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
    let refusing = Arc::new(Recorder {
        refuse: Some("order-2".into()),
        ..Recorder::default()
    });
    append(&store, "order-2", 6).await;
    append(&store, "order-1", 1).await;
    let first = relay(&store, &leases, &refusing).with_parking(Arc::new(parked.clone()));
    run_until(first, &refusing, 1).await.unwrap();

    let publisher = Arc::new(Recorder::default());
    let later = relay(&store, &leases, &publisher).with_parking(Arc::new(parked));
    let stream = ParkedKey::new("order-2".parse().unwrap()).leave_out(crate::Version::FIRST);
    let other = ParkedKey::new("order-1".parse().unwrap());
    let error = later.resume(&other, &store).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, "order-1"));
    let running = Running::start(&store, &leases, &publisher, "in the way");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = later.resume(&stream, &store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    running.stop().await;

    assert_eq!(later.resume(&stream, &store).await.unwrap(), 5);
    append(&store, "order-2", 2).await;
    run_until(later, &publisher, 7).await.unwrap();
    let versions: Vec<_> = publisher.sent().iter().map(|m| m.version().unwrap().get()).collect();
    assert_eq!(versions, [2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_begun_beside_another_leaves_no_gap_in_a_stream_that_was_set_aside() {
    let parked = MemoryDeadLetters::new();
    let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
    let refusing = Arc::new(Recorder {
        refuse: Some("order-2".into()),
        ..Recorder::default()
    });
    append(&store, "order-2", 2).await;
    append(&store, "order-1", 1).await;
    let other = relay(&store, &leases, &refusing).with_parking(Arc::new(parked.clone()));
    run_until(other, &refusing, 1).await.unwrap();

    append(&store, "order-2", 1).await;
    append(&store, "order-1", 1).await;
    let publisher = Arc::new(Recorder::default());
    let (feed, leases) = (Arc::new(store.clone()), Arc::new(leases));
    let beside = || {
        let options = options().with_start_beside("test");
        Relay::new("beside", feed.clone(), leases.clone(), publisher.clone(), options)
            .with_parking(Arc::new(parked.clone()))
    };
    run_until(beside(), &publisher, 1).await.unwrap();
    let stream = ParkedKey::new("order-2".parse().unwrap());
    assert_eq!(beside().resume(&stream, &store).await.unwrap(), 3);
    let sent = publisher.sent().into_iter();
    let sent: Vec<_> = sent.map(|m| (m.key.clone(), m.version().unwrap().get())).collect();
    let expected = [("order-1", 2), ("order-2", 1), ("order-2", 2), ("order-2", 3)];
    assert_eq!(sent, expected.map(|(key, version)| (key.to_owned(), version)));
}

#[tokio::test(start_paused = true)]
async fn a_new_relay_can_begin_with_what_comes_and_take_what_it_wants() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    append(&store, "order-1", 3).await;
    let (feed, leases) = (Arc::new(store.clone()), Arc::new(leases));
    let options = options()
        .with_start(StartFrom::Now)
        .with_selection(Selection::all().categories(["order"]));
    let relay = Relay::new("test", feed, leases, publisher.clone(), options);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { relay.run(stop).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    append(&store, "invoice-1", 2).await;
    append(&store, "order-2", 2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let keys: Vec<_> = publisher.sent().into_iter().map(|message| message.key).collect();
    assert_eq!(keys, ["order-2", "order-2"]);
}

#[tokio::test(start_paused = true)]
async fn lag_is_what_was_read_and_is_not_acknowledged() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Recorder::default()));
    // Away for long: nothing is acknowledged.
    *publisher.script.lock().unwrap() = vec![(0, ErrorKind::Unavailable); 1000];
    fill(&store, 2, 3).await;
    let running = Running::start(&store, &leases, &publisher, "a");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let lag = running.relay.lag().remove(0);
    assert_eq!((lag.events, lag.commits_behind), (6, Some(0)));
    publisher.script.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let lag = running.relay.lag().remove(0);
    assert_eq!((lag.events, lag.commits_behind, lag.age), (0, Some(0), Duration::ZERO));
    running.stop().await;
}

/// Takes messages and never answers.
#[derive(Default)]
struct Stuck {
    bytes: std::sync::atomic::AtomicUsize,
    messages: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Publisher for Stuck {
    async fn publish(&self, messages: &[Message]) -> std::result::Result<(), PublishError> {
        let bytes = messages.iter().map(Message::size).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.fetch_add(messages.len(), Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_in_hand_than_there_is_room_for() {
    let (store, leases, publisher) = (MemoryStore::new(), MemoryLeases::new(), Arc::new(Stuck::default()));
    fill(&store, 50, 10).await;
    let size = first_message(&store, "order-11").await.size();
    // Three lanes would take four messages each.
    let room = size * 7 + size / 2;
    let options = options().with_bytes_in_flight(room as u32);
    let relay = Relay::new("test", Arc::new(store), Arc::new(leases), publisher.clone(), options);
    let _ = tokio::time::timeout(Duration::from_secs(5), relay.run(CancellationToken::new())).await;
    let (bytes, messages) = (&publisher.bytes, &publisher.messages);
    assert!((1..=7).contains(&messages.load(Ordering::Relaxed)), "{messages:?}");
    assert!(bytes.load(Ordering::Relaxed) <= room);
}

/// What is published of a stream's first event.
async fn first_message(store: &MemoryStore, stream: &str) -> Message {
    use futures::StreamExt;
    let stream = StreamId::new(stream).unwrap();
    let first = store.read(&stream, crate::ReadOptions::default()).next().await;
    Message::from(&first.unwrap().unwrap())
}
