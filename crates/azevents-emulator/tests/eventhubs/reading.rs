//! What readers get: order, positions, properties.

use std::collections::BTreeMap;

use azevents_emulator::{FaultKind, FaultPlan};
use azure_messaging_eventhubs::{EventDataBatchOptions, SendEventOptions, StartLocation};

use crate::client::{HUB, body, consumer, emulator, from, producer, read};

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
