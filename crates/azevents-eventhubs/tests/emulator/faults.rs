//! A broken network: nothing lost, nothing out of order.

use std::time::Duration;

use azevents_core::{Publisher, RetryPolicy};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_eventhubs::PublisherOptions;

use crate::support::{Bench, Recorder, Running, assert_in_order, interleaved, quick};

#[tokio::test(flavor = "multi_thread")]
async fn publishing_over_broken_connections_loses_nothing_and_keeps_order() {
    let bench = Bench::start(4).await;
    let plan = FaultPlan::new(7)
        .with(FaultKind::DropConnection, 0.01, 5)
        .with(FaultKind::DetachLink, 0.05, 5)
        .with(FaultKind::LoseOutcome, 0.1, 5);
    bench.emulator.faults().set_plan(plan);
    let options = PublisherOptions::default()
        .with_send_timeout(Duration::from_secs(2))
        .with_retry(
            RetryPolicy::default()
                .with_retries(20)
                .with_cap(Duration::from_millis(50)),
        );
    let publisher = bench.publisher().with_options(options);
    let messages = interleaved(40, 10);
    for part in messages.chunks(50) {
        publisher.publish(part).await.expect("published");
    }
    let counts = bench.emulator.faults().counts();
    bench.emulator.faults().clear();

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_in_order(&recorder.messages());
    assert!(
        counts.values().any(|count| count.injected > 0),
        "there were faults: {counts:?}"
    );
    assert!(recorder.ids().len() > messages.len(), "a lost answer makes a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn consuming_over_broken_connections_loses_nothing_and_keeps_order() {
    let bench = Bench::start(4).await;
    let messages = interleaved(40, 10);
    bench.publisher().publish(&messages).await.expect("published");
    let plan = FaultPlan::new(7)
        .with(FaultKind::DropConnection, 0.02, 5)
        .with(FaultKind::DetachLink, 0.02, 5)
        .with(FaultKind::RepeatDelivery, 0.05, 20);
    bench.emulator.faults().set_plan(plan);

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_in_order(&recorder.messages());
    let counts = bench.emulator.faults().counts();
    assert!(
        counts.values().any(|count| count.injected > 0),
        "there were faults: {counts:?}"
    );
    assert_eq!(
        recorder.ids().len(),
        messages.len(),
        "reading goes on where it was, so nothing comes twice"
    );
}
