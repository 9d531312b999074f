//! The relay's promises, on the in-memory implementations and tokio's paused clock.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::event::NewEvent;
use crate::feed::{Checkpoint, Lease};
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
    let lease = leases.list("test").await.unwrap().remove(0);
    assert_eq!(lease.checkpoint.map(|checkpoint| checkpoint.events), Some(10));
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

/// Leases that another owner takes over once.
struct Stolen(MemoryLeases, std::sync::atomic::AtomicBool);

#[async_trait]
impl LeaseStore for Stolen {
    async fn acquire(&self, reader: &str, range: &FeedRange, owner: &str, duration: Duration) -> Result<Option<Lease>> {
        self.0.acquire(reader, range, owner, duration).await
    }

    async fn renew(&self, lease: &Lease, checkpoint: Option<&Checkpoint>, duration: Duration) -> Result<Lease> {
        if !self.1.swap(true, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Conflict, "renew lease", &lease.range));
        }
        self.0.renew(lease, checkpoint, duration).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.0.release(lease).await
    }

    async fn list(&self, reader: &str) -> Result<Vec<Lease>> {
        self.0.list(reader).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_looked_for_again() {
    let (store, publisher) = (MemoryStore::new(), Arc::new(Recorder::default()));
    append(&store, "order-1", 5).await;
    let leases = Arc::new(Stolen(MemoryLeases::new(), false.into()));
    let relay = Relay::new("test", Arc::new(store.clone()), leases, publisher.clone(), options());
    // Five from the first holder, five again from the second, who starts at the same checkpoint.
    run_until(relay, &publisher, 10).await.unwrap();
    assert_complete(&publisher.sent(), &[("order-1", 5)]);
}
