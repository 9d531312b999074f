//! The relay dies at each of its calls in turn, among others, while the feed is split and merged.
//!
//! `AZEVENTS_CRASH_SEEDS` sets how many schedules are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::{MemoryDeadLetters, MemoryLeases, MemoryStore};
use azevents_core::{
    AppendOutcome, Commit, CommitFeed, Continuation, Error, ErrorKind, EventStore, ExpectedVersion, FeedRange,
    LeaseStore, Message, NewEvent, PublishError, Publisher, Relay, RelayOptions, Result, StreamId,
};
use azevents_testing::crashes::{Fuse, Mortal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const POISONED: (&str, u64) = ("order-2", 3);
const STREAMS: u64 = 6;
/// Steps of one relay that outlives its run: far more than any run takes.
const IMMORTAL: u64 = u64::MAX;

type Event = (String, u64);

fn event(message: &Message) -> Event {
    (message.key.clone(), message.version().unwrap().get())
}

/// A broker: fails now and then, and always for one event.
struct Broker {
    random: Mutex<StdRng>,
    /// How many relays had crashed when it took this.
    sent: Mutex<Vec<(u64, Event)>>,
    crashes: Mutex<u64>,
}

#[async_trait]
impl Publisher for Broker {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let poison = |message: &Message| event(message) == (POISONED.0.to_owned(), POISONED.1);
        let mut accepted = messages.iter().position(poison).unwrap_or(messages.len());
        let mut failure = (accepted < messages.len()).then_some(ErrorKind::TooLarge);
        let mut random = self.random.lock().unwrap();
        if random.random_bool(0.15) {
            accepted = random.random_range(0..=accepted);
            failure = Some(ErrorKind::Unavailable);
        }
        let crashes = *self.crashes.lock().unwrap();
        let taken = messages[..accepted].iter().map(|message| (crashes, event(message)));
        self.sent.lock().unwrap().extend(taken);
        failure.map_or(Ok(()), |kind| {
            Err(PublishError::after(accepted, Error::new(kind, "publish", "broker")))
        })
    }
}

#[derive(Clone)]
struct World {
    store: MemoryStore,
    leases: MemoryLeases,
    parking: MemoryDeadLetters,
    broker: Arc<Broker>,
    stop: CancellationToken,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            store: MemoryStore::new(),
            leases: MemoryLeases::new(),
            parking: MemoryDeadLetters::new(),
            broker: Arc::new(Broker {
                random: Mutex::new(StdRng::seed_from_u64(!seed)),
                sent: Mutex::default(),
                crashes: Mutex::default(),
            }),
            stop: CancellationToken::new(),
        }
    }

    fn start(&self, owner: &str, fuse: &Arc<Fuse>) -> JoinHandle<Result<()>> {
        let options = RelayOptions::default()
            .with_owner(owner)
            .with_lanes(2)
            .with_batch(3)
            .with_lease_duration(Duration::from_secs(6))
            .with_checkpoint_interval(Duration::from_millis(700));
        let relay = Relay::new(
            "test",
            Arc::new(mortal(self.store.clone(), fuse)),
            Arc::new(mortal(self.leases.clone(), fuse)),
            Arc::new(mortal(Shared(self.broker.clone()), fuse)),
            options,
        )
        .with_parking(Arc::new(mortal(self.parking.clone(), fuse)));
        let stop = self.stop.clone();
        tokio::spawn(async move { relay.run(stop).await })
    }

    /// Runs a relay, and another in its place when it dies. Whether it died.
    async fn replaced_when_dead(self, steps: u64) -> bool {
        let fuse = Fuse::new(steps);
        let mut running = self.start("mortal", &fuse);
        tokio::select! {
            ended = &mut running => { ended.unwrap().unwrap(); return false }
            () = fuse.burnt() => {}
        }
        running.abort();
        let _ = running.await;
        let covered = self.covered().await;
        let before = self.broker.sent.lock().unwrap().len();
        *self.broker.crashes.lock().unwrap() += 1;
        self.start("successor", &Fuse::new(IMMORTAL)).await.unwrap().unwrap();
        let sent = self.broker.sent.lock().unwrap();
        for (_, again) in &sent[before..] {
            assert!(
                !covered.contains(again),
                "{again:?} again, though a checkpoint had passed it"
            );
        }
        true
    }

    async fn commits(&self, range: &FeedRange, mut after: Option<Continuation>) -> Vec<Commit> {
        let mut all = Vec::new();
        loop {
            let page = self.store.next(range, after.as_ref()).await.unwrap();
            if page.commits.is_empty() {
                return all;
            }
            all.extend(page.commits);
            after = page.continuation;
        }
    }

    /// What the checkpoints have passed; all of it was published or set aside.
    async fn covered(&self) -> BTreeSet<Event> {
        let done = self.done();
        let mut covered = BTreeSet::new();
        for lease in self.leases.list("test").await.unwrap() {
            let Some(checkpoint) = lease.checkpoint else { continue };
            let mut passed = self.commits(&lease.range, None).await;
            let rest = self.commits(&lease.range, Some(checkpoint.continuation)).await;
            passed.truncate(passed.len() - rest.len());
            covered.extend(passed.iter().flat_map(Commit::messages).map(|message| event(&message)));
        }
        for passed in &covered {
            assert!(done.contains(passed), "a checkpoint has passed {passed:?}");
        }
        covered
    }

    fn done(&self) -> BTreeSet<Event> {
        let sent = self.broker.sent.lock().unwrap();
        let aside = self.parking.all();
        sent.iter()
            .map(|(_, event)| event.clone())
            .chain(aside.iter().map(|(message, _)| event(message)))
            .collect()
    }

    async fn settled(&self, events: usize) {
        for _ in 0..120 {
            if self.done().len() >= events {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!(
            "{} of {events} events are dealt with after two minutes",
            self.done().len()
        );
    }

    fn check(&self, appended: &BTreeMap<String, u64>) {
        let sent = self.broker.sent.lock().unwrap();
        let aside: Vec<_> = self.parking.all().iter().map(|(message, _)| event(message)).collect();
        let copies: BTreeSet<_> = sent.iter().collect();
        assert_eq!(copies.len(), sent.len(), "a copy that no crash explains");
        for (stream, events) in appended {
            let of_stream = |event: &&Event| event.0 == *stream;
            let published = sent.iter().map(|(_, event)| event).filter(of_stream);
            let last = if stream == POISONED.0 { POISONED.1 - 1 } else { *events };
            in_order(published, 1, last.min(*events));
            in_order(aside.iter().filter(of_stream), last.min(*events) + 1, *events);
        }
    }
}

/// First sightings from `first` to `last`, and nothing else.
fn in_order<'a>(events: impl Iterator<Item = &'a Event>, first: u64, last: u64) {
    let mut reached = first - 1;
    for (stream, version) in events {
        assert!(
            (first..=reached + 1).contains(version),
            "{stream}: {version} after {reached}"
        );
        reached = reached.max(*version);
    }
    assert_eq!(reached, last);
}

/// One broker for all relays.
struct Shared(Arc<Broker>);

#[async_trait]
impl Publisher for Shared {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        self.0.publish(messages).await
    }
}

fn mortal<T>(inner: T, fuse: &Arc<Fuse>) -> Mortal<T> {
    Mortal {
        inner,
        fuse: fuse.clone(),
    }
}

/// One schedule, with a relay that dies at this step. Whether it got so far.
async fn run(seed: u64, steps: u64) -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new(seed);
    let mut others = Vec::new();
    let dying = tokio::spawn(world.clone().replaced_when_dead(steps));
    let mut appended: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..8 {
        // The one that dies comes first, so that it divides the feed and gives ranges up to the others.
        if (1..=1 + seed % 2).contains(&round) {
            others.push(world.start(&format!("other-{round}"), &Fuse::new(IMMORTAL)));
        }
        for _ in 0..random.random_range(1..5) {
            let stream = format!("order-{}", random.random_range(0..STREAMS));
            let count = random.random_range(1..4);
            let events = (0..count).map(|n| NewEvent::json("Counted", &n).unwrap()).collect();
            let id = StreamId::new(&*stream).unwrap();
            let outcome = world.store.append(&id, ExpectedVersion::Any, events).await.unwrap();
            assert!(matches!(outcome, AppendOutcome::Committed(_)));
            *appended.entry(stream).or_default() += count;
        }
        if round == 5 && random.random_bool(0.5) {
            world.store.merge();
        } else if random.random_bool(0.4) {
            let ranges = world.store.ranges().await.unwrap();
            world
                .store
                .split(&ranges[random.random_range(0..ranges.len())])
                .unwrap();
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..3000))).await;
    }
    let events = appended.values().sum::<u64>() as usize;
    world.settled(events).await;
    world.stop.cancel();
    let died = dying.await.unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    world.covered().await;
    world.check(&appended);
    died
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_dies_at_any_of_its_calls_loses_nothing_and_keeps_order() {
    let seeds = std::env::var("AZEVENTS_CRASH_SEEDS").map_or(4, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut steps = 1;
        while run(seed, steps).await {
            steps += 1;
        }
        assert!(steps > 100, "seed {seed}: a relay that did nothing proves nothing");
        println!("seed {seed}: {} crashes", steps - 1);
    }
}
