//! Event Hubs, checked with the official Rust client.
//!
//! On one thread: with more, that client may see the outcome of a send before it has noted that it
//! waits for one, and then waits for ever.

use std::{collections::BTreeMap, sync::Arc};

use azevents_emulator::{Emulator, EventHub, FaultKind, FaultPlan};
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::{Duration, OffsetDateTime},
};
use azure_messaging_eventhubs::{
    ConsumerClient, EventDataBatchOptions, OpenReceiverOptions, ProducerClient, SendEventOptions, StartLocation,
    StartPosition, models::ReceivedEventData,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt;

const HUB: &str = "order-events";

/// A token that is well-formed and signed by nobody.
#[derive(Debug)]
struct Unsigned;

#[async_trait::async_trait]
impl TokenCredential for Unsigned {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let expires_on = OffsetDateTime::now_utc() + Duration::hours(1);
        let claims = format!("{{\"exp\":{}}}", expires_on.unix_timestamp());
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let token = format!("{}.{}.", encode("{\"alg\":\"none\"}"), encode(&claims));
        Ok(AccessToken::new(token, expires_on))
    }
}

async fn emulator() -> Emulator {
    let hub = EventHub::new(HUB).with_partition_count(4).with_consumer_group("audit");
    Emulator::builder().event_hub(hub).start().await.expect("it starts")
}

fn endpoint(emulator: &Emulator) -> String {
    let text = &emulator.ready().eventhubs.connection_string;
    let host = text.split("sb://").nth(1).and_then(|rest| rest.split(';').next());
    format!("amqp://{}", host.expect("an endpoint").trim_end_matches('/'))
}

async fn producer(emulator: &Emulator) -> ProducerClient {
    ProducerClient::builder()
        .with_custom_endpoint(endpoint(emulator))
        .open("localhost", HUB, Arc::new(Unsigned))
        .await
        .expect("a producer")
}

async fn consumer(emulator: &Emulator, group: &str) -> ConsumerClient {
    ConsumerClient::builder()
        .with_custom_endpoint(endpoint(emulator))
        .with_consumer_group(group.to_owned())
        .open("localhost", HUB.to_owned(), Arc::new(Unsigned))
        .await
        .expect("a consumer")
}

fn from(location: StartLocation) -> OpenReceiverOptions {
    OpenReceiverOptions {
        start_position: Some(StartPosition {
            location,
            inclusive: true,
        }),
        ..OpenReceiverOptions::default()
    }
}

async fn read(
    client: &ConsumerClient,
    partition: &str,
    options: OpenReceiverOptions,
    n: usize,
) -> Vec<ReceivedEventData> {
    let receiver = client
        .open_receiver_on_partition(partition.to_owned(), Some(options))
        .await
        .expect("a receiver");
    let events = receiver.stream_events().take(n).map(|event| event.expect("an event"));
    events.collect().await
}

fn body(event: &ReceivedEventData) -> String {
    let body = event.event_data().body().expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn events_of_one_key_stay_in_order_in_one_partition_for_every_group() {
    let emulator = emulator().await;
    let producer = producer(&emulator).await;
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..60 {
        let key = format!("order-{}", n % 5);
        let batch = producer
            .create_batch(Some(EventDataBatchOptions {
                partition_key: Some(key.clone()),
                ..EventDataBatchOptions::default()
            }))
            .await
            .expect("a batch");
        assert!(batch.try_add_event_data(n.to_string(), None).expect("it fits"));
        producer.send_batch(batch, None).await.expect("sent");
        sent.entry(key).or_default().push(n.to_string());
    }
    for group in ["$Default", "audit"] {
        let client = consumer(&emulator, group).await;
        let mut received: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for partition in 0..4 {
            let id = partition.to_string();
            let properties = client.get_partition_properties(&id).await.expect("properties");
            let count = usize::try_from(properties.last_enqueued_sequence_number + 1).expect("a count");
            for (n, event) in read(&client, &id, from(StartLocation::Earliest), count)
                .await
                .iter()
                .enumerate()
            {
                assert_eq!(event.sequence_number(), Some(n as i64));
                assert!(event.offset().is_some() && event.enqueued_time().is_some());
                let key = event.partition_key().clone().expect("a key");
                received.entry(key).or_default().push(body(event));
            }
        }
        assert_eq!(received, sent, "group {group}");
    }
}

#[tokio::test]
async fn properties_tell_the_partitions_and_what_is_in_them() {
    let emulator = emulator().await;
    let producer = producer(&emulator).await;
    let hub = producer.get_eventhub_properties().await.expect("properties");
    assert_eq!(hub.name, HUB);
    assert_eq!(hub.partition_ids, ["0", "1", "2", "3"]);
    let empty = producer.get_partition_properties("2").await.expect("properties");
    assert!(empty.is_empty);
    assert_eq!(empty.last_enqueued_sequence_number, -1);
    let to = SendEventOptions {
        partition_id: Some("2".to_owned()),
    };
    producer.send_event("x", Some(to)).await.expect("sent");
    let one = producer.get_partition_properties("2").await.expect("properties");
    assert!(!one.is_empty);
    assert_eq!(
        (one.beginning_sequence_number, one.last_enqueued_sequence_number),
        (0, 0)
    );
}

#[tokio::test]
async fn a_reader_starts_at_the_sequence_number_or_offset_it_names() {
    let emulator = emulator().await;
    let producer = producer(&emulator).await;
    for n in 0..5 {
        let to = SendEventOptions {
            partition_id: Some("0".to_owned()),
        };
        producer.send_event(n.to_string(), Some(to)).await.expect("sent");
    }
    let client = consumer(&emulator, "$Default").await;
    let by_number = read(&client, "0", from(StartLocation::SequenceNumber(3)), 2).await;
    assert_eq!(by_number.iter().map(body).collect::<Vec<_>>(), ["3", "4"]);
    let offset = by_number[0].offset().clone().expect("an offset");
    // A client keeps one receiver for each partition, wherever a second one wants to start.
    let client = consumer(&emulator, "$Default").await;
    let by_offset = read(&client, "0", from(StartLocation::Offset(offset)), 2).await;
    assert_eq!(by_offset.iter().map(body).collect::<Vec<_>>(), ["3", "4"]);
}

#[tokio::test]
async fn a_repeated_delivery_is_the_same_event_once_more() {
    let emulator = emulator().await;
    let producer = producer(&emulator).await;
    for n in 0..3 {
        let to = SendEventOptions {
            partition_id: Some("0".to_owned()),
        };
        producer.send_event(n.to_string(), Some(to)).await.expect("sent");
    }
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::RepeatDelivery, 1.0, 1));
    let client = consumer(&emulator, "$Default").await;
    let events = read(&client, "0", from(StartLocation::Earliest), 4).await;
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event.sequence_number().unwrap_or(-1))
        .collect();
    assert_eq!(numbers, [0, 0, 1, 2]);
}
