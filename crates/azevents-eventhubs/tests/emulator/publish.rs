//! Publishing: order per key, and events of any size.

use azevents_core::{ErrorKind, Publisher};
use azevents_eventhubs::PublisherOptions;

use crate::support::{Bench, Recorder, Running, assert_in_order, interleaved, message, quick};

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_arrive_in_order_with_every_field() {
    let bench = Bench::start(4).await;
    let publisher = bench.publisher();
    let messages = interleaved(40, 25);
    // Calls of a size that cuts through every key's events.
    for part in messages.chunks(130) {
        publisher.publish(part).await.expect("published");
    }

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all events arrive", |seen| seen.ids().len() == messages.len())
        .await;
    running.stop().await.expect("stopped");

    let seen = recorder.messages();
    assert_in_order(&seen);
    let mut expected = messages.clone();
    let mut sorted = seen;
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(sorted, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_too_large_event_is_blamed_with_its_size_and_the_others_go() {
    let bench = Bench::start(1).await;
    let publisher = bench.publisher();
    let mut messages = vec![message("a", 0), message("b", 0), message("c", 0)];
    messages[1].body = vec![b'x'; 3 << 20].into();

    let refused = publisher.publish(&messages).await.expect_err("3 MiB are too much");
    assert_eq!((refused.accepted, refused.error.kind()), (1, ErrorKind::TooLarge));
    let text = refused.error.to_string();
    assert!(
        text.contains("b/0") && text.contains(&messages[1].size().to_string()),
        "{text}"
    );

    // The rest of the slice, as the contract asks of the caller; "c" may have gone the first time.
    publisher.publish(&messages[2..]).await.expect("published");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("the other two arrive", |seen| seen.distinct() == 2)
        .await;
    running.stop().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_events_fill_batch_after_batch_in_order() {
    let bench = Bench::start(1).await;
    let mut messages: Vec<_> = (0..6).map(|number| message("order-1", number)).collect();
    for message in &mut messages {
        // Two do not fit into one batch, and the SDK takes none for the first of a batch.
        message.body = vec![b'x'; 600 << 10].into();
    }
    bench.publisher().publish(&messages).await.expect("published");

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.ids().len() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_eq!(recorder.messages(), messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_hub_is_reported_and_no_messages_fault() {
    let bench = Bench::start(1).await;
    let publisher = bench.hubs().publisher("nowhere");
    let error = publisher
        .publish(&[message("a", 0)])
        .await
        .expect_err("there is no such hub");
    assert_eq!(
        (error.accepted, error.error.kind()),
        (0, ErrorKind::NotFound),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_dropped_leave_the_publisher_usable_and_in_order() {
    let bench = Bench::start(2).await;
    let publisher = bench
        .publisher()
        .with_options(PublisherOptions::default().with_lanes(2));
    let messages = interleaved(10, 20);
    for part in messages.chunks(50) {
        // Polled once, then dropped: some of it may be on its way.
        let _ = futures::poll!(Box::pin(publisher.publish(part)));
        publisher.publish(part).await.expect("published");
    }
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_in_order(&recorder.messages());
}
