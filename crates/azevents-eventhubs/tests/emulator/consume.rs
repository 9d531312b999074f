//! Consuming: checkpoints, retries in place, parking.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Consumer, DeadLetter, DeadLetterSink, Error, ErrorKind, Message, Pipeline, Publisher, Result};
use azevents_eventhubs::{PARKED_SEQUENCE_NUMBER, PARKED_SOURCE, StartFrom};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Bench, Failure, GROUP, HUB, Recorder, Running, assert_in_order, eventually, interleaved, message, quick,
};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_only_events_after_the_checkpoint_come_again() {
    let bench = Bench::start(1).await;
    let messages: Vec<_> = (0..60).map(|number| message("order-1", number)).collect();
    bench.publisher().publish(&messages).await.expect("published");

    // The fortieth event fails for ever, so the checkpoint stands right before it.
    let first = Recorder::new().failing("order-1/40", Failure::Times(u32::MAX));
    let options = quick().with_owner("reader");
    let stuck = bench.consumer(options.clone());
    let pipeline = Pipeline::new(first.handler()).with_max_deliveries(u32::MAX);
    let crashing = tokio::spawn(async move { stuck.run(Arc::new(pipeline), CancellationToken::new()).await });
    eventually("40 events are checkpointed", || async {
        bench.checkpointed().await == 40
    })
    .await;
    crashing.abort();
    assert!(crashing.await.unwrap_err().is_cancelled());

    let second = Recorder::new();
    let running = Running::start(bench.consumer(options), second.handler());
    second.until("the rest arrives", |seen| seen.ids().len() == 20).await;
    running.stop().await.expect("stopped");
    assert_eq!(second.messages(), messages[40..]);
    assert_eq!(bench.checkpointed().await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_stopped_repeats_nothing() {
    let bench = Bench::start(2).await;
    let publisher = bench.publisher();
    let messages = interleaved(10, 10);
    publisher.publish(&messages[..50]).await.expect("published");
    // No checkpoint is due while it runs: the one at stop has to do.
    let options = quick().with_checkpoints(usize::MAX, Duration::from_secs(3600));

    let recorder = Recorder::new();
    for published in [50, 100] {
        let running = Running::start(bench.consumer(options.clone()), recorder.handler());
        recorder.until("all arrive", |seen| seen.ids().len() == published).await;
        running.stop().await.expect("stopped");
        assert_eq!(bench.checkpointed().await, published as u64);
        if published == 50 {
            publisher.publish(&messages[50..]).await.expect("published");
        }
    }
    assert_eq!(recorder.distinct(), 100);
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_is_tried_again_in_its_place_while_other_keys_go_on() {
    let bench = Bench::start(1).await;
    bench.publisher().publish(&interleaved(12, 5)).await.expect("published");
    let recorder = Recorder::new().failing("order-3/1", Failure::Times(2));
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder.until("all arrive", |seen| seen.distinct() == 60).await;
    running.stop().await.expect("stopped");

    assert_eq!(recorder.deliveries("order-3/1"), [1, 2, 3]);
    assert_in_order(&recorder.messages());
    assert!(bench.parking.all().is_empty());
}

/// A parking lot that refuses until it is opened.
#[derive(Clone)]
struct Gate {
    open: watch::Sender<bool>,
    tried: watch::Sender<usize>,
    bench: azevents_core::memory::MemoryDeadLetters,
}

#[async_trait]
impl DeadLetterSink for Gate {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        self.tried.send_modify(|tried| *tried += 1);
        if !*self.open.borrow() {
            return Err(Error::new(ErrorKind::Unavailable, "park", &message.id));
        }
        self.bench.set_aside(message, why).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_passes_a_poison_event_only_when_it_is_parked() {
    let bench = Bench::start(1).await;
    let messages: Vec<_> = (0..10).map(|number| message("order-1", number)).collect();
    bench.publisher().publish(&messages).await.expect("published");

    let gate = Gate {
        open: watch::Sender::new(false),
        tried: watch::Sender::new(0),
        bench: bench.parking.clone(),
    };
    let recorder = Recorder::new().failing("order-1/4", Failure::Permanent);
    let leases = Arc::new(bench.leases.clone());
    let consumer = bench
        .hubs()
        .consumer(HUB, GROUP, leases, Arc::new(gate.clone()))
        .with_options(quick());
    let running = Running::start(consumer, recorder.handler());
    eventually("parking is tried, and tried again", || async {
        *gate.tried.borrow() >= 3
    })
    .await;
    eventually("what came before is checkpointed", || async {
        bench.checkpointed().await == 4
    })
    .await;
    assert_eq!(recorder.ids().len(), 5, "what comes behind it waits");

    gate.open.send_replace(true);
    recorder.until("the rest arrives", |seen| seen.distinct() == 10).await;
    eventually("and is checkpointed", || async { bench.checkpointed().await == 10 }).await;
    running.stop().await.expect("stopped");

    let parked = bench.parking.all();
    let [(event, why)] = &parked[..] else {
        panic!("parked once: {parked:?}")
    };
    assert_eq!((event.id.as_str(), why.reason.as_str()), ("order-1/4", "Poison"));
    assert_eq!(event.headers[PARKED_SOURCE], format!("eventhub/{HUB}/{GROUP}/0"));
    assert_eq!(event.headers[PARKED_SEQUENCE_NUMBER], "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_too_often_is_parked() {
    let bench = Bench::start(1).await;
    bench
        .publisher()
        .publish(&[message("a", 0), message("a", 1)])
        .await
        .expect("published");
    let recorder = Recorder::new().failing("a/0", Failure::Times(u32::MAX));
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("the next one arrives", |seen| seen.distinct() == 2)
        .await;
    running.stop().await.expect("stopped");
    assert_eq!(recorder.deliveries("a/0"), [1, 2, 3]);
    assert_eq!(
        bench.parking.all()[0].1.reason,
        azevents_core::dead_letter::RETRIES_EXHAUSTED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_begins_after_what_was_there_and_keeps_that_place_over_a_restart() {
    let bench = Bench::start(1).await;
    let publisher = bench.publisher();
    publisher
        .publish(&[message("a", 0), message("a", 1)])
        .await
        .expect("published");
    let options = quick().with_start(StartFrom::Latest).with_owner("reader");

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(options.clone()), recorder.handler());
    let leases = &bench.leases;
    eventually("the place is written down", || async {
        use azevents_core::LeaseStore;
        let held = leases.list(&format!("eventhub/{HUB}/{GROUP}")).await.expect("a list");
        held.iter().any(|lease| lease.checkpoint.is_some())
    })
    .await;
    running.crash().await;

    publisher.publish(&[message("a", 2)]).await.expect("published");
    let running = Running::start(bench.consumer(options), recorder.handler());
    recorder
        .until("the new event arrives", |seen| !seen.ids().is_empty())
        .await;
    running.stop().await.expect("stopped");
    assert_eq!(recorder.ids(), ["a/2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_begins_at_a_sequence_number_or_a_time_and_then_goes_on_from_its_checkpoint() {
    let bench = Bench::start(1).await;
    let publisher = bench.publisher();
    let messages: Vec<_> = (0..12).map(|number| message("a", number)).collect();
    publisher.publish(&messages[..6]).await.expect("published");
    // Enqueued times are in milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = time::OffsetDateTime::now_utc();
    tokio::time::sleep(Duration::from_millis(5)).await;
    publisher.publish(&messages[6..]).await.expect("published");
    let starts = [(StartFrom::SequenceNumber(4), 4), (StartFrom::Time(between), 6)];
    for (published, (start, first)) in (messages.len()..).zip(starts) {
        let leases = Arc::new(azevents_core::memory::MemoryLeases::new());
        let parking = Arc::new(bench.parking.clone());
        let consumer = || {
            bench
                .hubs()
                .consumer(HUB, GROUP, leases.clone(), parking.clone())
                .with_options(quick().with_start(start))
        };
        let recorder = Recorder::new();
        let running = Running::start(consumer(), recorder.handler());
        recorder
            .until("the rest arrives", |seen| seen.ids().len() == published - first)
            .await;
        running.stop().await.expect("stopped");
        let seen: Vec<_> = recorder
            .messages()
            .into_iter()
            .filter(|message| message.key == "a")
            .collect();
        assert_eq!(seen, messages[first..]);

        let next = message("later", first);
        publisher.publish(std::slice::from_ref(&next)).await.expect("published");
        let again = Recorder::new();
        let running = Running::start(consumer(), again.handler());
        again.until("the new one arrives", |seen| !seen.ids().is_empty()).await;
        running.stop().await.expect("stopped");
        assert_eq!(again.ids()[0], next.id, "not from the start once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_hub_ends_the_consumer_with_the_reason() {
    let bench = Bench::start(1).await;
    let (leases, parking) = (Arc::new(bench.leases.clone()), Arc::new(bench.parking.clone()));
    let consumer = bench.hubs().consumer("nowhere", GROUP, leases, parking);
    let pipeline = Arc::new(Pipeline::new(Recorder::new().handler()));
    let error = consumer
        .run(pipeline, CancellationToken::new())
        .await
        .expect_err("there is no such hub");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
