use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::event::{Commit, NewEvent, RecordedEvent};
use crate::lifecycle::StreamLifecycle;
use crate::memory::MemoryStore;
use crate::snapshot::{Snapshot, SnapshotPolicy, SnapshotStore};
use crate::state_cache::StateCache;
use crate::store::{AppendOutcome, EventStore, ReadOptions};
use crate::stream::StreamId;
use crate::version::{ExpectedVersion, StreamHead};

#[derive(Serialize, Deserialize)]
enum CounterEvent {
    Counted { by: u64 },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    total: u64,
}

impl Aggregate for Counter {
    type Event = CounterEvent;
    type Command = u64;
    type Refusal = u64;

    fn decide(&self, limit: &u64) -> Result<Vec<CounterEvent>, u64> {
        if self.total >= *limit {
            return Err(self.total);
        }
        Ok(vec![CounterEvent::Counted { by: 1 }])
    }

    fn evolve(&mut self, event: &CounterEvent) {
        let CounterEvent::Counted { by } = event;
        self.total += by;
    }
}

/// A store that counts calls, and lets checks for a next commit pass one by one.
struct Watched {
    store: MemoryStore,
    reads: AtomicUsize,
    checks: AtomicUsize,
    gate: Semaphore,
}

impl Watched {
    fn new(store: &MemoryStore) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            reads: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn calls(&self) -> (usize, usize) {
        (
            self.reads.swap(0, Ordering::SeqCst),
            self.checks.swap(0, Ordering::SeqCst),
        )
    }
}

#[async_trait]
impl EventStore for Watched {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<AppendOutcome> {
        self.store.append(stream, expected, events).await
    }

    fn read(&self, stream: &StreamId, options: ReadOptions) -> BoxStream<'static, Result<RecordedEvent>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.read(stream, options)
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        self.store.head(stream).await
    }

    async fn next_commit(&self, stream: &StreamId, head: Option<StreamHead>) -> Result<Option<Commit>> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let permit = self.gate.acquire().await.unwrap();
        permit.forget();
        self.store.next_commit(stream, head).await
    }
}

fn stream() -> StreamId {
    StreamId::new("counter-1").unwrap()
}

fn cache() -> StateCache<Counter> {
    StateCache::new(1 << 20, |_| 0)
}

async fn count(counters: &Aggregates<Counter>, times: usize) {
    for _ in 0..times {
        let executed = counters.execute(&stream(), &u64::MAX, |_, event| event).await.unwrap();
        assert!(matches!(executed, Executed::Committed(_)));
    }
}

#[tokio::test]
async fn a_cached_state_is_checked_by_asking_for_the_next_commit_only() {
    let store = MemoryStore::new();
    let watched = Watched::new(&store);
    let cached = Aggregates::new(watched.clone()).with_cache(cache());
    count(&cached, 3).await;
    watched.calls();
    assert_eq!(cached.load(&stream()).await.unwrap().state.total, 3);
    assert_eq!(watched.calls(), (0, 1));
    // What others append is found, and read once.
    count(&Aggregates::new(Arc::new(store)), 3).await;
    assert_eq!(cached.load(&stream()).await.unwrap().state.total, 6);
    assert_eq!(watched.calls(), (1, 1));
}

#[tokio::test]
async fn a_command_on_a_cached_state_asks_nothing_and_finds_out_by_appending() {
    let store = MemoryStore::new();
    let watched = Watched::new(&store);
    let cached = Aggregates::new(watched.clone()).with_cache(cache());
    count(&cached, 2).await;
    count(&Aggregates::new(Arc::new(store)), 2).await;
    watched.calls();
    count(&cached, 1).await;
    assert_eq!(watched.calls(), (0, 0));
    assert_eq!(cached.load(&stream()).await.unwrap().state.total, 5);
}

#[tokio::test]
async fn a_refusal_is_only_believed_of_a_state_that_is_current() {
    let store = MemoryStore::new();
    let cached = Aggregates::<Counter>::new(Arc::new(store.clone())).with_cache(cache());
    count(&cached, 5).await;
    count(&Aggregates::new(Arc::new(store)), 2).await;
    let refused = cached.execute(&stream(), &5, |_, event| event).await.unwrap();
    assert!(matches!(refused, Executed::Refused(7)), "{refused:?}");
}

#[tokio::test]
async fn a_cached_state_that_was_truncated_elsewhere_is_loaded_again() {
    let store = MemoryStore::new();
    let snapshots = Arc::new(store.clone());
    let new = || Aggregates::new(Arc::new(store.clone()));
    let cached = Aggregates::<Counter>::new(Arc::new(store.clone()))
        .with_cache(cache())
        .with_snapshots(snapshots.clone(), "v1", SnapshotPolicy::by_hand());
    count(&cached, 1).await;
    count(&new(), 4).await;
    let loaded = new().load(&stream()).await.unwrap();
    new()
        .with_snapshots(snapshots, "v1", SnapshotPolicy::by_hand())
        .snapshot(&stream(), &loaded)
        .await
        .unwrap();
    store
        .truncate(&stream(), crate::version::Version::new(5))
        .await
        .unwrap();
    // What follows the cached state is gone; the snapshot covers it.
    count(&cached, 1).await;
    assert_eq!(cached.load(&stream()).await.unwrap().state.total, 6);
}

#[tokio::test]
async fn loads_that_arrive_together_share_their_requests_and_see_what_was_there_before_them() {
    let store = MemoryStore::new();
    let watched = Watched::new(&store);
    let cached = Aggregates::new(watched.clone()).with_cache(cache());
    count(&cached, 1).await;
    watched.calls();
    watched.gate.forget_permits(Semaphore::MAX_PERMITS);
    // The first load is under way when another process appends and twenty more loads arrive.
    let first = tokio::spawn({
        let cached = cached.clone();
        async move { cached.load(&stream()).await.unwrap().state.total }
    });
    while watched.checks.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    count(&Aggregates::new(Arc::new(store)), 1).await;
    let stream = stream();
    let later = join_all((0..20).map(|_| cached.load(&stream)));
    let release = async {
        tokio::task::yield_now().await;
        watched.gate.add_permits(100);
    };
    let (later, ()) = futures::join!(later, release);
    first.await.unwrap();
    for loaded in later {
        assert_eq!(loaded.unwrap().state.total, 2);
    }
    assert_eq!(watched.calls().1, 2, "one for the first load, one for all others");
}

#[tokio::test]
async fn a_load_that_is_dropped_does_not_keep_others_from_loading() {
    let store = MemoryStore::new();
    let watched = Watched::new(&store);
    let cached = Aggregates::new(watched.clone()).with_cache(cache());
    count(&cached, 1).await;
    watched.gate.forget_permits(Semaphore::MAX_PERMITS);
    let stream = stream();
    assert!(futures::poll!(std::pin::pin!(cached.load(&stream))).is_pending());
    watched.gate.add_permits(1);
    assert_eq!(cached.load(&stream).await.unwrap().state.total, 1);
}

#[tokio::test]
async fn the_cache_holds_no_more_than_its_bytes() {
    let cache = StateCache::<Counter>::new(64 * 1024, |_| 1000);
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
    let cached = Aggregates::<Counter>::new(store).with_cache(cache);
    for n in 0..200 {
        let stream = StreamId::new(format!("counter-{n}")).unwrap();
        let _ = cached.execute(&stream, &9, |_, event| event).await.unwrap();
    }
    let cache = cached.cache.as_ref().unwrap();
    assert!(cache.bytes() <= 64 * 1024, "{cache:?}");
    assert!(cache.len() > 20, "{cache:?}");
}

#[tokio::test]
async fn snapshots_are_taken_every_so_many_commits_and_loading_begins_there() {
    let store = MemoryStore::new();
    let watched = Watched::new(&store);
    let policy = SnapshotPolicy::by_hand().with_every(10);
    let counters = Aggregates::new(watched.clone()).with_snapshots(Arc::new(store.clone()), "counter.v1", policy);
    for times in [10, 10, 5] {
        count(&counters, times).await;
        counters.snapshots_written().await;
    }
    let snapshot = store.load_snapshot(&stream(), "counter.v1").await.unwrap().unwrap();
    assert_eq!(snapshot.head.version.get(), 20);
    assert_eq!(counters.load(&stream()).await.unwrap().state.total, 25);
    // Also when the events before it are gone; without the snapshot the gap is an error that says so.
    store.truncate(&stream(), snapshot.head.version).await.unwrap();
    assert_eq!(counters.load(&stream()).await.unwrap().state.total, 25);
    let plain = Aggregates::<Counter>::new(Arc::new(store));
    let error = plain.load(&stream()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("from 1 to 19 are gone"), "{error}");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_or_is_of_another_schema_is_ignored() {
    let store = MemoryStore::new();
    count(&Aggregates::new(Arc::new(store.clone())), 3).await;
    let head = store.head(&stream()).await.unwrap().unwrap();
    for (schema, state) in [("counter.v1", r#"{"total":99}"#), ("counter.v2", "{not json")] {
        let snapshot = Snapshot {
            stream: stream(),
            schema: schema.into(),
            head,
            taken_at: time::OffsetDateTime::now_utc(),
            content_type: "application/json".into(),
            state: state.into(),
        };
        store.save_snapshot(&snapshot).await.unwrap();
    }
    let counters = Aggregates::<Counter>::new(Arc::new(store.clone())).with_snapshots(
        Arc::new(store),
        "counter.v2",
        SnapshotPolicy::by_hand(),
    );
    assert_eq!(counters.load(&stream()).await.unwrap().state.total, 3);
}

/// A snapshot store that is away.
struct Away;

#[async_trait]
impl SnapshotStore for Away {
    async fn load_snapshot(&self, stream: &StreamId, _: &str) -> Result<Option<Snapshot>> {
        Err(crate::Error::new(ErrorKind::Unavailable, "load snapshot", stream))
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        Err(crate::Error::new(
            ErrorKind::Unavailable,
            "save snapshot",
            &snapshot.stream,
        ))
    }

    async fn delete_snapshot(&self, stream: &StreamId, _: &str) -> Result<()> {
        Err(crate::Error::new(ErrorKind::Unavailable, "delete snapshot", stream))
    }
}

#[tokio::test]
async fn a_snapshot_store_that_is_away_fails_neither_loads_nor_appends() {
    let policy = SnapshotPolicy::by_hand().with_every(1);
    let counters =
        Aggregates::<Counter>::new(Arc::new(MemoryStore::new())).with_snapshots(Arc::new(Away), "v1", policy);
    count(&counters, 3).await;
    counters.snapshots_written().await;
    let loaded = counters.load(&stream()).await.unwrap();
    assert_eq!(loaded.state.total, 3);
    let by_hand = counters.snapshot(&stream(), &loaded).await.unwrap_err();
    assert_eq!(by_hand.kind(), ErrorKind::Unavailable);
}
