//! Publishing: order per key, and events of any size.

use std::time::Duration;

use azevents_core::{ErrorKind, LeaseStore, Message, Publisher, RetryPolicy};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_eventhubs::{Placement, PublisherOptions};

use crate::support::{Bench, GROUP, HUB, Recorder, Running, assert_in_order, interleaved, message, quick};

/// Reads until `count` different events have come, and says how many lie in which partition.
async fn read(bench: &Bench, count: usize) -> (Vec<Message>, Vec<(String, u64)>) {
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all events arrive", |seen| seen.distinct() == count)
        .await;
    running.stop().await.expect("stopped");
    let leases = bench
        .leases
        .list(&format!("eventhub/{HUB}/{GROUP}"))
        .await
        .expect("a list");
    let events = |lease: &azevents_core::Lease| lease.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.events);
    let partitions = leases
        .iter()
        .map(|lease| (lease.range.0.clone(), events(lease)))
        .collect();
    (recorder.messages(), partitions)
}

/// Makes the emulator count publications, without a fault ever happening.
fn count_sends(bench: &Bench) -> impl Fn() -> u64 {
    let faults = bench.emulator.faults().clone();
    faults.set_plan(FaultPlan::new(1).with(FaultKind::ServerBusy, f64::MIN_POSITIVE, 1));
    move || {
        faults
            .counts()
            .get(&FaultKind::ServerBusy)
            .map_or(0, |count| count.decisions)
    }
}

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
        .with_options(PublisherOptions::default().with_connections(2));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_many_keys_and_each_event_keeps_its_own() {
    let bench = Bench::start(2).await;
    let sends = count_sends(&bench);
    let messages = interleaved(50, 4);
    bench.publisher().publish(&messages).await.expect("published");
    // One in flight per partition: what comes meanwhile forms the second batch.
    assert!(sends() <= 4, "{} sends", sends());
    let (seen, _) = read(&bench, messages.len()).await;
    assert_in_order(&seen);
    let mut sorted = seen;
    let mut expected = messages;
    for list in [&mut sorted, &mut expected] {
        list.sort_by(|a, b| a.id.cmp(&b.id));
    }
    assert_eq!(sorted, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_many_callers_share_batches() {
    let bench = Bench::start(1).await;
    let options = PublisherOptions::default().with_linger(Duration::from_secs(3600));
    let publisher = bench.publisher().with_options(options);
    let sends = count_sends(&bench);
    let messages = interleaved(20, 1);
    let mut receipts = Vec::new();
    for message in &messages {
        receipts.push(
            publisher
                .enqueue(std::slice::from_ref(message))
                .await
                .expect("accepted"),
        );
    }
    assert_eq!(sends(), 0, "they linger");
    publisher.flush().await.expect("flushed");
    assert_eq!(sends(), 1);
    for receipt in receipts {
        receipt.acknowledged().await.expect("acknowledged");
    }
    assert_eq!(read(&bench, messages.len()).await.0.len(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_full_does_not_linger() {
    let bench = Bench::start(1).await;
    let messages = interleaved(1, 8);
    let options = PublisherOptions::default()
        .with_linger(Duration::from_secs(3600))
        .with_batch_bytes(messages[..4].iter().map(Message::size).sum());
    let sends = count_sends(&bench);
    let publisher = bench.publisher().with_options(options);
    publisher.publish(&messages).await.expect("published");
    assert!((2..=3).contains(&sends()), "{} sends", sends());
    assert_eq!(read(&bench, messages.len()).await.0, messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_was_accepted_and_refuses_the_rest() {
    let bench = Bench::start(4).await;
    let options = PublisherOptions::default().with_linger(Duration::from_secs(3600));
    let publisher = bench.publisher().with_options(options);
    let messages = interleaved(10, 3);
    // Nobody waits for these.
    drop(publisher.enqueue(&messages).await.expect("accepted"));
    publisher.close().await.expect("closed");
    let refused = publisher.publish(&messages).await.expect_err("it is closed");
    assert_eq!((refused.accepted, refused.error.kind()), (0, ErrorKind::Cancelled));
    publisher.close().await.expect("closing again is no error");
    let (seen, _) = read(&bench, messages.len()).await;
    assert_in_order(&seen);
    assert_eq!(seen.len(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_dropped_still_sends_what_it_accepted() {
    let bench = Bench::start(2).await;
    let messages = interleaved(10, 3);
    let publisher = bench.publisher();
    drop(publisher.enqueue(&messages).await.expect("accepted"));
    drop(publisher);
    assert_eq!(read(&bench, messages.len()).await.0.len(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_makes_callers_wait_and_loses_nothing() {
    let bench = Bench::start(2).await;
    let publisher = bench
        .publisher()
        .with_options(PublisherOptions::default().with_buffer_bytes(1));
    let messages = interleaved(5, 4);
    publisher.publish(&messages).await.expect("published");
    let (seen, _) = read(&bench, messages.len()).await;
    assert_in_order(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_the_partition_that_was_chosen_whatever_their_key() {
    let bench = Bench::start(4).await;
    let options = |id: &str| PublisherOptions::default().with_placement(Placement::Partition(id.to_owned()));
    let messages = interleaved(10, 2);
    let publisher = bench.publisher().with_options(options("2"));
    publisher.publish(&messages).await.expect("published");
    let (seen, partitions) = read(&bench, messages.len()).await;
    assert_eq!(
        partitions.iter().map(|(_, events)| *events).collect::<Vec<_>>(),
        [0, 0, 20, 0]
    );
    assert_in_order(&seen);

    let publisher = bench.publisher().with_options(options("4"));
    let refused = publisher.publish(&messages).await.expect_err("there are 0 to 3");
    assert_eq!((refused.accepted, refused.error.kind()), (0, ErrorKind::NotFound));
    assert!(refused.error.to_string().contains("0, 1, 2, 3"), "{}", refused.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_spreads_events_evenly_and_they_keep_their_key() {
    let bench = Bench::start(4).await;
    let options = PublisherOptions::default().with_placement(Placement::RoundRobin);
    let messages = interleaved(1, 20);
    let publisher = bench.publisher().with_options(options);
    for pair in messages.chunks(2) {
        publisher.publish(pair).await.expect("published");
    }
    let (seen, partitions) = read(&bench, messages.len()).await;
    assert_eq!(
        partitions.iter().map(|(_, events)| *events).collect::<Vec<_>>(),
        [6, 6, 4, 4]
    );
    assert!(seen.iter().all(|message| message.key == "order-0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_a_key_take_turns_and_get_none() {
    let bench = Bench::start(2).await;
    let mut messages = interleaved(2, 10);
    for message in messages.iter_mut().step_by(2) {
        message.key.clear();
    }
    bench.publisher().publish(&messages).await.expect("published");
    let (seen, _) = read(&bench, messages.len()).await;
    assert_eq!(seen.iter().filter(|message| message.key.is_empty()).count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_keys_fills_few_batches_and_a_large_one_several_partitions() {
    let bench = Bench::start(8).await;
    let sends = count_sends(&bench);
    let publisher = bench.publisher();
    let mut messages = interleaved(1, 300);
    for message in &mut messages {
        message.key.clear();
    }
    publisher.publish(&messages).await.expect("published");
    assert!(
        sends() <= 2,
        "one batch, and perhaps one that was begun before it was full: {}",
        sends()
    );
    for message in &mut messages {
        message.id.insert(0, 'b');
        message.body = vec![b'x'; 4_000].into();
    }
    publisher.publish(&messages).await.expect("published");
    let (_, partitions) = read(&bench, 600).await;
    let used = partitions.iter().filter(|(_, events)| *events > 0).count();
    assert_eq!(used, 6, "1.2 MB are five runs, and one before: {partitions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_can_be_left_to_place_keys() {
    let bench = Bench::start(4).await;
    let sends = count_sends(&bench);
    let options = PublisherOptions::default().with_placement(Placement::ServiceKey);
    let messages = interleaved(10, 10);
    bench
        .publisher()
        .with_options(options)
        .publish(&messages)
        .await
        .expect("published");
    assert!(sends() >= 10, "a batch holds one key");
    let (seen, _) = read(&bench, messages.len()).await;
    assert_in_order(&seen);
    assert_eq!(seen.len(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_failed_send_does_not_overtake_it() {
    let bench = Bench::start(1).await;
    let messages = interleaved(3, 20);
    let options = PublisherOptions::default()
        .with_batch_bytes(messages[0].size() * 4)
        .with_retry(RetryPolicy::none())
        .with_send_timeout(Duration::from_secs(2));
    let publisher = bench.publisher().with_options(options);
    publisher.publish(&messages[..6]).await.expect("published");
    bench
        .emulator
        .faults()
        .set_plan(FaultPlan::new(3).with(FaultKind::DropConnection, 0.3, 6));
    let mut failures = 0;
    let mut rest = &messages[6..];
    while let Err(failed) = publisher.publish(rest).await {
        assert!(failed.error.is_transient(), "{}", failed.error);
        failures += 1;
        rest = &rest[failed.accepted..];
    }
    assert!(failures > 0, "there were faults");
    bench.emulator.faults().clear();
    let (seen, _) = read(&bench, messages.len()).await;
    assert_in_order(&seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_too_large_event_fails_alone_among_the_callers_of_its_batch() {
    let bench = Bench::start(1).await;
    let options = PublisherOptions::default().with_linger(Duration::from_secs(3600));
    let publisher = bench.publisher().with_options(options);
    let mut messages = interleaved(3, 1);
    messages[1].body = vec![b'x'; 3 << 20].into();
    let mut receipts = Vec::new();
    for message in &messages {
        receipts.push(
            publisher
                .enqueue(std::slice::from_ref(message))
                .await
                .expect("accepted"),
        );
    }
    let flushed = publisher.flush().await.expect_err("one is too large");
    assert!(flushed.to_string().contains("1 of 3"), "{flushed}");
    for (place, receipt) in receipts.into_iter().enumerate() {
        let result = receipt.acknowledged().await;
        match result {
            Ok(()) => assert_ne!(place, 1),
            Err(refused) => assert_eq!((place, refused.error.kind()), (1, ErrorKind::TooLarge)),
        }
    }
    assert_eq!(read(&bench, 2).await.0.len(), 2);
}
