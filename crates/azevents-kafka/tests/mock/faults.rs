//! Brokers that come and go: nothing lost, nothing out of order.

use std::time::Duration;

use azevents_core::{ErrorKind, Publisher};
use azevents_kafka::PublisherOptions;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::support::{Bench, Recorder, Running, assert_in_order, interleaved, quick};

#[tokio::test(flavor = "multi_thread")]
async fn publishing_while_requests_fail_and_brokers_restart_keeps_order() {
    let bench = Bench::start(4);
    let publisher = bench.publisher();
    let messages = interleaved(20, 30);
    for (round, part) in messages.chunks(50).enumerate() {
        match round % 4 {
            1 => bench.cluster.request_errors(
                RDKafkaApiKey::Produce,
                &[
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                    RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                ],
            ),
            2 => {
                bench.cluster.broker_down(2).expect("down");
                let publishing = publisher.publish(part);
                let up = async {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    bench.cluster.broker_up(2).expect("up");
                };
                let (published, ()) = tokio::join!(publishing, up);
                published.expect("published");
                continue;
            }
            _ => {}
        }
        publisher.publish(part).await.expect("published");
    }
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waited_too_long_fails_and_its_repetition_keeps_order() {
    let bench = Bench::start(1);
    let messages = interleaved(3, 20);
    let options = PublisherOptions::default().with_delivery_timeout(Duration::from_secs(3));
    let publisher = bench.publisher().with_options(options);
    publisher.publish(&messages[..6]).await.expect("published");

    bench.cluster.broker_down(-1).expect("down");
    let failed = publisher.publish(&messages[6..]).await.expect_err("nobody answers");
    assert!(failed.error.is_transient(), "{}", failed.error);
    assert_eq!((failed.accepted, failed.error.kind()), (0, ErrorKind::OutcomeUnknown));
    bench.cluster.broker_up(-1).expect("up");
    while let Err(failed) = publisher.publish(&messages[6..]).await {
        assert!(failed.error.is_transient(), "{}", failed.error);
    }
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_failed_for_good_is_replaced() {
    let bench = Bench::start(1);
    let publisher = bench.publisher();
    let messages = interleaved(3, 10);
    publisher.publish(&messages[..3]).await.expect("published");
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[fatal]);
    let mut rest = &messages[3..];
    while let Err(failed) = publisher.publish(rest).await {
        assert!(failed.error.is_transient(), "{}", failed.error);
        rest = &rest[failed.accepted..];
    }
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_innocent_message_is_not_blamed_when_a_broker_refuses_its_batch() {
    let bench = Bench::start(1);
    let publisher = bench.publisher();
    let messages = interleaved(3, 1);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    bench.cluster.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let failed = publisher.publish(&messages).await.expect_err("the batch is refused");
    assert_eq!(failed.accepted, 1, "alone the first one goes through");
    assert!(failed.error.is_transient(), "{}", failed.error);
    publisher.publish(&messages[1..]).await.expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn consuming_while_fetches_fail_and_brokers_restart_loses_nothing() {
    let bench = Bench::start(4);
    let publisher = bench.publisher();
    let messages = interleaved(40, 10);
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    publisher.publish(&messages[..100]).await.expect("published");
    recorder.until("it reads", |seen| seen.distinct() == 100).await;
    bench.cluster.request_errors(
        RDKafkaApiKey::Fetch,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        ],
    );
    bench.cluster.request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
    );
    publisher.publish(&messages[100..200]).await.expect("published");
    bench.cluster.broker_down(1).expect("down");
    let publishing = publisher.publish(&messages[200..]);
    let up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.cluster.broker_up(1).expect("up");
    };
    let (published, ()) = tokio::join!(publishing, up);
    published.expect("published");
    recorder
        .until("all arrive", |seen| seen.distinct() == messages.len())
        .await;
    running.stop().await;
    assert_in_order(&recorder.messages());
    assert_eq!(bench.committed(4), messages.len() as i64);
}
