//! What operations may cost at most. Request units are those of the emulator's model of the service.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::{
    Aggregate, Aggregates, AppendOutcome, Begin, Cost, CostMeter, EventStore, ExpectedVersion, Inbox, InboxKey,
    ReadModel, SnapshotPolicy, StateCache, Update,
};
use azevents_cosmos::{Append, CosmosEventStore, CosmosInbox};
use serde::{Deserialize, Serialize};

use crate::common::{INBOX, Server};
use crate::support::{committed, events, stream};

/// What the model adds for each KB of an item after the first, at most.
const RU_PER_KB: f64 = 5.52 / 11.0;

async fn append(
    store: &CosmosEventStore,
    name: &str,
    expected: ExpectedVersion,
    count: usize,
) -> (Cost, ExpectedVersion) {
    let append = Append::new(stream(name), expected).events(events(count));
    let appended = store.execute(append).await.expect("append");
    let head = committed(appended.outcome).head();
    (appended.cost, ExpectedVersion::Head(head))
}

#[tokio::test]
async fn an_append_is_one_request_of_two_operations_however_many_small_events_it_has() {
    let server = Server::start().await;
    let store = server.store().await;
    for count in [1, 5, 42] {
        let name = format!("cost-{count}");
        let (first, head) = append(&store, &name, ExpectedVersion::NoStream, count).await;
        assert_eq!((first.requests, first.operations), (1, 1), "{first}");
        let (next, _) = append(&store, &name, head, count).await;
        assert_eq!((next.requests, next.operations), (1, 2), "{next}");
        // The read of the commit before grows with it as well.
        let kilobytes = (next.sent as f64 / 1024.0).floor();
        let most = 8.0 + kilobytes * (RU_PER_KB + 1.0 / 11.0);
        assert!(first.request_units > 0.0 && first.request_units <= most, "{first}");
        assert!(next.request_units <= most, "{count} events: {next}, at most {most}");
    }
}

#[tokio::test]
async fn a_conflict_is_two_requests_at_most() {
    let server = Server::start().await;
    let store = server.store().await;
    let (_, head) = append(&store, "conflict-1", ExpectedVersion::NoStream, 2).await;
    append(&store, "conflict-1", head, 2).await;
    for expected in [ExpectedVersion::NoStream, head] {
        let conflicting = Append::new(stream("conflict-1"), expected).events(events(1));
        let appended = store.execute(conflicting).await.expect("append");
        assert!(matches!(appended.outcome, AppendOutcome::Conflict(_)));
        assert!(appended.cost.requests <= 2, "{}", appended.cost);
        assert!(appended.cost.request_units <= 8.0, "{}", appended.cost);
    }
}

/// Size by `AZEVENTS_COST_COMMITS`; 10,000 is what the storage model speaks of.
#[tokio::test]
async fn an_append_to_a_long_stream_costs_what_one_to_a_short_stream_does() {
    let commits: usize = std::env::var("AZEVENTS_COST_COMMITS").map_or(300, |text| text.parse().expect("a number"));
    let server = Server::start().await;
    let store = server.store().await;
    let (_, mut head) = append(&store, "long-1", ExpectedVersion::NoStream, 1).await;
    let second;
    (second, head) = append(&store, "long-1", head, 1).await;
    let mut last = second;
    for _ in 2..commits {
        (last, head) = append(&store, "long-1", head, 1).await;
    }
    assert_eq!((last.requests, last.operations), (second.requests, second.operations));
    // Only the digits of the version grow.
    assert!(last.sent <= second.sent + 8, "{last}, at first {second}");
    assert!(last.received <= second.received + 16, "{last}, at first {second}");
    assert!(
        (last.request_units - second.request_units).abs() < 0.01,
        "{last}, at first {second}"
    );
}

#[derive(Serialize, Deserialize)]
enum CounterEvent {
    Counted(u64),
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Counter {
    seen: u64,
}

impl Aggregate for Counter {
    type Event = CounterEvent;
    type Command = ();
    type Refusal = ();

    fn decide(&self, (): &()) -> Result<Vec<CounterEvent>, ()> {
        Ok(vec![CounterEvent::Counted(1)])
    }

    fn evolve(&mut self, _: &CounterEvent) {
        self.seen += 1;
    }
}

async fn count(counters: &Aggregates<Counter>, name: &str, times: usize) {
    for _ in 0..times {
        let _ = counters
            .execute(&stream(name), &(), |_, event| event)
            .await
            .expect("execute");
    }
}

#[tokio::test]
async fn a_warm_load_is_one_point_read_and_a_command_on_a_warm_state_one_append() {
    let server = Server::start().await;
    let (store, meter) = server.store().await.metered();
    let counters = Aggregates::<Counter>::new(Arc::new(store)).with_cache(StateCache::new(1 << 20, |_| 0));
    count(&counters, "warm-1", 3).await;
    meter.take();
    let loaded = counters.load(&stream("warm-1")).await.expect("load");
    let cost = meter.take();
    assert_eq!(loaded.state.seen, 3);
    assert_eq!((cost.requests, cost.operations), (1, 1), "{cost}");
    assert!(cost.request_units <= 1.4, "{cost}");
    count(&counters, "warm-1", 1).await;
    let cost = meter.take();
    assert_eq!((cost.requests, cost.operations), (1, 2), "{cost}");
}

#[tokio::test]
async fn a_cold_load_with_a_snapshot_is_two_requests() {
    let server = Server::start().await;
    let (store, meter) = server.store().await.metered();
    let policy = SnapshotPolicy::by_hand().with_every(20);
    let counters = || {
        Aggregates::<Counter>::new(Arc::new(store.clone())).with_snapshots(
            Arc::new(store.clone()),
            "v1",
            policy.clone(),
        )
    };
    let writer = counters();
    count(&writer, "cold-1", 20).await;
    writer.snapshots_written().await;
    count(&writer, "cold-1", 3).await;
    meter.take();
    let loaded = counters().load(&stream("cold-1")).await.expect("load");
    let cost = meter.take();
    assert_eq!(loaded.state.seen, 23);
    assert_eq!(cost.requests, 2, "{cost}");
    assert!(cost.received < 4096, "only the snapshot and what came after it: {cost}");
}

#[tokio::test]
async fn costs_are_told_by_operation_and_category() {
    let server = Server::start().await;
    let (store, meter) = server.store().await.metered();
    for name in ["order-1", "invoice-1"] {
        append(&store, name, ExpectedVersion::NoStream, 1).await;
    }
    let _ = store.head(&stream("order-1")).await.expect("head");
    let costs = meter.by_operation_and_category();
    let of: Vec<_> = costs
        .keys()
        .map(|(operation, category)| (*operation, category.as_str()))
        .collect();
    assert_eq!(of, [("append", "invoice"), ("append", "order"), ("find end", "order")]);
    assert!(
        costs
            .values()
            .all(|cost| cost.requests == 1 && cost.request_units > 0.0)
    );
    assert_eq!(meter.of("append").operations, 2);
}

#[tokio::test]
async fn inbox_and_read_model_tell_their_costs_too() {
    let server = Server::start().await;
    let meter = CostMeter::new();
    let inbox = CosmosInbox::open(&server.cosmos, INBOX).await.expect("container");
    let inbox = inbox.with_costs(Arc::new(meter.clone()));
    let key = InboxKey::new("billing", "m1");
    let Begin::Granted(lease) = inbox.begin(&key, Duration::from_secs(60)).await.expect("begin") else {
        panic!("nobody else has asked for it");
    };
    assert_eq!(meter.take().requests, 1);
    inbox.complete(&lease).await.expect("complete");
    assert_eq!(meter.take().requests, 2);
    assert_eq!(
        inbox.begin(&key, Duration::from_secs(60)).await.expect("begin"),
        Begin::AlreadyHandled
    );
    assert_eq!(meter.take().requests, 2);

    let model = server.read_model().await.with_costs(Arc::new(meter.clone()));
    let update = Update::new(key, "France").change("revenue", |pence: &mut i64| *pence += 1530);
    model.apply(update).await.expect("apply");
    let cost = meter.take();
    // The document is looked for once, then mark and document are written together.
    assert_eq!((cost.requests, cost.operations), (2, 3), "{cost}");
    assert!(cost.request_units > 0.0, "{cost}");
}
