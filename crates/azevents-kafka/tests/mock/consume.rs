//! Consuming: commits, retries in place, parking, back-pressure.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::{BatchLimits, Pipeline, Publisher};
use azevents_kafka::{PARKED_OFFSET, PARKED_SOURCE, StartFrom};

use crate::support::{
    Behaviour, Bench, GROUP, Recorder, Running, TOPIC, assert_in_order, eventually, interleaved, message, quick,
};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_only_events_after_the_last_commit_come_again() {
    let bench = Bench::start(1);
    let messages = interleaved(1, 60);
    bench.publisher().publish(&messages).await.expect("published");
    let first = Recorder::new().with("order-0/40", Behaviour::Hang);
    let crashing = Running::start(bench.consumer(quick()), first.handler());
    eventually("40 events are committed", || bench.committed(1) == 40).await;
    crashing.crash().await;

    let second = Recorder::new();
    let running = Running::start(bench.consumer(quick()), second.handler());
    second.until("the rest arrives", |seen| seen.count() == 20).await;
    running.stop().await;
    assert_eq!(second.messages(), messages[40..]);
    assert_eq!(bench.committed(1), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_stopped_repeats_nothing() {
    let bench = Bench::start(2);
    let messages = interleaved(10, 10);
    // No commit is due while it runs: the one at stop has to do.
    let options = quick().with_commits(usize::MAX, Duration::from_secs(3600));
    let recorder = Recorder::new();
    for published in [50, 100] {
        let publisher = bench.publisher();
        publisher
            .publish(&messages[published - 50..published])
            .await
            .expect("published");
        let running = Running::start(bench.consumer(options.clone()), recorder.handler());
        recorder.until("all arrive", |seen| seen.count() == published).await;
        running.stop().await;
        assert_eq!(bench.committed(2), published as i64);
    }
    assert_eq!(recorder.distinct(), 100);
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_event_holds_back_the_commit_and_other_keys_go_on_within_a_bound() {
    let bench = Bench::start(1);
    let messages = interleaved(5, 100);
    bench.publisher().publish(&messages).await.expect("published");
    let recorder = Recorder::new().with("order-2/0", Behaviour::Hang);
    let options = quick().with_max_in_hand(50).with_concurrency(64);
    let running = Running::start(bench.consumer(options), recorder.handler());
    recorder.until("other keys go on", |seen| seen.distinct() > 20).await;
    eventually("what is before it is committed", || bench.committed(1) == 2).await;
    let bounded = recorder.distinct();
    assert!(bounded <= 50, "{bounded} events begun behind one that hangs");
    running.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_partition_goes_on_when_its_handlers_have_caught_up() {
    let bench = Bench::start(2);
    let messages = interleaved(8, 100);
    bench.publisher().publish(&messages).await.expect("published");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick().with_max_in_hand(10)), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
    assert_eq!(recorder.count(), messages.len(), "pausing repeats nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_is_tried_in_its_place_and_a_poison_event_is_parked() {
    let bench = Bench::start(1);
    bench.publisher().publish(&interleaved(3, 5)).await.expect("published");
    let recorder = Recorder::new()
        .with("order-1/1", Behaviour::Fail(2))
        .with("order-2/2", Behaviour::Poison);
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder.until("all arrive", |seen| seen.distinct() == 15).await;
    running.stop().await;
    assert_in_order(&recorder.messages());
    assert_eq!(recorder.count(), 17);
    assert_eq!(bench.committed(1), 15);
    let parked = bench.parking.all();
    let [(event, why)] = &parked[..] else {
        panic!("parked once: {parked:?}")
    };
    assert_eq!((event.id.as_str(), why.reason.as_str()), ("order-2/2", "Poison"));
    assert_eq!(event.headers[PARKED_SOURCE], format!("kafka/{TOPIC}/{GROUP}/0"));
    assert_eq!(event.headers[PARKED_OFFSET], "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_begins_after_what_was_there_and_keeps_that_place_over_a_restart() {
    let bench = Bench::start(1);
    let publisher = bench.publisher();
    publisher
        .publish(&[message("a", 0), message("a", 1)])
        .await
        .expect("published");
    let options = quick().with_start(StartFrom::Latest);
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(options.clone()), recorder.handler());
    eventually("the place is committed", || bench.committed(1) == 2).await;
    running.crash().await;

    publisher.publish(&[message("a", 2)]).await.expect("published");
    let running = Running::start(bench.consumer(options), recorder.handler());
    recorder.until("the new event arrives", |seen| seen.count() == 1).await;
    running.stop().await;
    assert_eq!(recorder.messages()[0].id, "a/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handler_gets_many_events_at_once_and_a_poison_one_is_parked_alone() {
    let bench = Bench::start(1);
    let messages = interleaved(4, 25);
    bench.publisher().publish(&messages).await.expect("published");
    let recorder = Recorder::new().with("order-2/7", Behaviour::Poison);
    let limits = BatchLimits::default()
        .with_messages(10)
        .with_linger(Duration::from_millis(20));
    let pipeline = Pipeline::in_batches(Arc::new(recorder.clone()), limits);
    let running = Running::through(bench.consumer(quick().with_concurrency(2)), pipeline);
    recorder.until("all arrive", |seen| seen.count() == 100).await;
    running.stop().await;
    assert_in_order(&recorder.messages());
    assert_eq!(recorder.batches.borrow().iter().max(), Some(&10));
    assert_eq!(bench.parking.all().len(), 1);
    assert_eq!(bench.committed(1), 100);
}
