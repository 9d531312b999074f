//! Publishing: order per key, sizes, closing.

use azevents_core::{DeadLetter, DeadLetterSink, ErrorKind, Publisher};
use azevents_kafka::{DEAD_LETTER_REASON, PublisherOptions};

use crate::support::{Bench, Recorder, Running, assert_in_order, interleaved, message, quick};

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_arrive_in_order_with_every_field() {
    let bench = Bench::start(4);
    let publisher = bench.publisher();
    let messages = interleaved(40, 25);
    for part in messages.chunks(130) {
        publisher.publish(part).await.expect("published");
    }
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all events arrive", |seen| seen.count() == messages.len())
        .await;
    running.stop().await;

    let mut seen = recorder.messages();
    assert_in_order(&seen);
    let mut expected = messages.clone();
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    seen.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(seen, expected);
    assert_eq!(bench.committed(4), messages.len() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_too_large_message_is_blamed_with_its_size_and_its_key_waits() {
    let bench = Bench::start(1);
    let publisher = bench.publisher();
    let mut messages = interleaved(2, 2);
    messages[0].body = vec![b'x'; 2 << 20].into();
    let refused = publisher.publish(&messages).await.expect_err("2 MiB are too much");
    assert_eq!((refused.accepted, refused.error.kind()), (0, ErrorKind::TooLarge));
    let text = refused.error.to_string();
    assert!(
        text.contains("order-0/0") && text.contains(&messages[0].size().to_string()),
        "{text}"
    );

    messages[0].body = "{}".into();
    publisher.publish(&messages).await.expect("published");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder.until("all arrive", |seen| seen.distinct() == 4).await;
    running.stop().await;
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_makes_calls_wait_and_loses_nothing() {
    let bench = Bench::start(2);
    let options = PublisherOptions::default().with_buffer_bytes(4 << 10);
    let publisher = bench.publisher().with_options(options);
    let mut messages = interleaved(5, 10);
    for message in &mut messages {
        message.body = vec![b'x'; 1 << 10].into();
    }
    let (one, other) = messages.split_at(25);
    let (first, second) = tokio::join!(publisher.publish(one), publisher.publish(other));
    first.and(second).expect("published");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_dropped_calls_have_left() {
    let bench = Bench::start(2);
    let publisher = bench.publisher();
    let messages = interleaved(4, 5);
    publisher.publish(&messages[..4]).await.expect("published");
    // Polled once, then dropped: its messages are on their way.
    let _ = futures::poll!(Box::pin(publisher.publish(&messages[4..])));
    publisher.close().await.expect("closed");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_lies_in_its_topic_with_the_reason() {
    let bench = Bench::start(1);
    let letters = bench.kafka().dead_letters(crate::support::TOPIC);
    let why = DeadLetter::new("Undecodable", "no JSON");
    letters
        .set_aside(&message("order-1", 0), &why)
        .await
        .expect("set aside");
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder.until("it arrives", |seen| seen.count() == 1).await;
    running.stop().await;
    let letter = &recorder.messages()[0];
    assert_eq!((letter.id.as_str(), letter.key.as_str()), ("order-1/0", "order-1"));
    assert_eq!(letter.headers[DEAD_LETTER_REASON], "Undecodable");
}
