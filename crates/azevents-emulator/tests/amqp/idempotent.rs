//! Publishers that number their events, across a restart of an emulator with a data folder.

use std::path::PathBuf;

use azevents_emulator::{DataFolder, Emulator, EventHub};
use fe2o3_amqp_types::{
    definitions::{Error, Fields},
    messaging::{DeliveryState, MessageAnnotations, annotations::OwnedKey},
    performatives::Attach,
};
use serde_amqp::{
    Value,
    primitives::{Array, Symbol},
};

use super::peer::{HUB, Peer, READ, message, sender};

const PARTITION: &str = "hub/Partitions/0";

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    async fn emulator(&self) -> Emulator {
        Emulator::builder()
            .event_hub(
                EventHub::new(HUB)
                    .with_partition_count(1)
                    .with_max_partition_bytes(256 * 1024),
            )
            .data(DataFolder::new(&self.0))
            .start()
            .await
            .expect("the emulator starts")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An attach of producer 7.
fn producer(epoch: i16, after: i32) -> Attach {
    let mut properties = Fields::new();
    properties.insert("com.microsoft:producer-id".into(), Value::Long(7));
    properties.insert("com.microsoft:producer-epoch".into(), Value::Short(epoch));
    properties.insert("com.microsoft:producer-sequence-number".into(), Value::Int(after));
    Attach {
        desired_capabilities: Some(Array::from(vec![Symbol::from("com.microsoft:idempotent-producer")])),
        properties: Some(properties),
        ..sender(0, PARTITION)
    }
}

/// An event of producer 7, with its number as the body.
fn event(epoch: i16, number: i32) -> Vec<u8> {
    event_of(epoch, number, number.to_string().as_bytes())
}

fn event_of(epoch: i16, number: i32, body: &[u8]) -> Vec<u8> {
    let mut annotations = MessageAnnotations::default();
    for (name, value) in [
        ("com.microsoft:producer-id", Value::Long(7)),
        ("com.microsoft:producer-epoch", Value::Short(epoch)),
        ("com.microsoft:producer-sequence-number", Value::Int(number)),
    ] {
        annotations.0.insert(OwnedKey::from(Symbol::from(name)), value);
    }
    let mut event = serde_amqp::to_vec(&annotations).expect("it encodes");
    event.extend(message(body));
    event
}

/// Sends them one after the other; the conditions of those that are refused.
async fn send(emulator: &Emulator, attach: Attach, events: &[Vec<u8>]) -> Vec<String> {
    let mut peer = Peer::logged_in(emulator).await;
    let offered = peer.attach(attach).await.offered_capabilities;
    assert_eq!(
        offered.expect("it is offered").0,
        [Symbol::from("com.microsoft:idempotent-producer")]
    );
    peer.flow().await;
    let mut refused = Vec::new();
    for (id, event) in (0..).zip(events) {
        peer.transfer(id, event).await;
        match peer.settled(id).await.state {
            Some(DeliveryState::Accepted(_)) => {}
            Some(DeliveryState::Rejected(rejected)) => refused.push(condition(&rejected.error.expect("why"))),
            other => panic!("{other:?}"),
        }
    }
    refused
}

fn condition(error: &Error) -> String {
    match &error.condition {
        fe2o3_amqp_types::definitions::ErrorCondition::Custom(condition) => condition.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

/// The bodies of what is stored.
async fn stored(emulator: &Emulator, count: usize) -> Vec<String> {
    let mut peer = Peer::logged_in(emulator).await;
    peer.receiver(READ).await;
    peer.credit(0, 100, false).await;
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let (_, event) = peer.received().await;
        bodies.push(String::from_utf8_lossy(&event[event.len() - 1..]).into_owned());
    }
    bodies
}

#[tokio::test]
async fn what_was_stored_before_a_restart_is_recognized_after_it() {
    let folder = Scratch::new("idempotent");
    let emulator = folder.emulator().await;
    let refused = send(&emulator, producer(0, 0), &[event(0, 1), event(0, 2)]).await;
    assert!(refused.is_empty(), "{refused:?}");
    emulator.shutdown().await;

    let emulator = folder.emulator().await;
    // It never heard of the second one.
    let refused = send(&emulator, producer(0, 1), &[event(0, 2), event(0, 3), event(0, 5)]).await;
    assert_eq!(refused, ["com.microsoft:out-of-order-sequence"]);
    assert_eq!(stored(&emulator, 3).await, ["1", "2", "3"]);
    // A takeover that has published nothing yet.
    assert!(send(&emulator, producer(1, 3), &[]).await.is_empty());
    emulator.shutdown().await;

    let emulator = folder.emulator().await;
    let refused = send(&emulator, producer(0, 3), &[event(0, 4)]).await;
    assert_eq!(refused, ["com.microsoft:producer-epoch-stolen"]);
    assert!(send(&emulator, producer(1, 3), &[event(1, 4)]).await.is_empty());
    assert_eq!(stored(&emulator, 4).await, ["1", "2", "3", "4"]);
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_log_written_anew_knows_the_publishers_of_events_that_are_gone() {
    const LAST: i32 = 320;
    let folder = Scratch::new("anew");
    let emulator = folder.emulator().await;
    // More than a log has to have before it is written anew, of which the hub keeps little.
    let body = vec![b'x'; 60_000];
    let events: Vec<_> = (1..=LAST).map(|number| event_of(0, number, &body)).collect();
    assert!(send(&emulator, producer(0, 0), &events).await.is_empty());
    emulator.shutdown().await;
    let size = folder.0.join("eventhubs.log").metadata().expect("a log").len();
    assert!(size < 10_000_000, "{size}");

    let emulator = folder.emulator().await;
    let refused = send(&emulator, producer(0, LAST - 100), &[event(0, LAST - 99)]).await;
    assert_eq!(refused, ["com.microsoft:out-of-order-sequence"]);
    let again = event_of(0, LAST, &body);
    assert!(
        send(&emulator, producer(0, LAST - 1), &[again, event(0, LAST + 1)])
            .await
            .is_empty()
    );
    emulator.shutdown().await;
}

#[tokio::test]
async fn an_event_of_somebody_else_is_refused() {
    let folder = Scratch::new("foreign");
    let emulator = folder.emulator().await;
    let refused = send(&emulator, producer(0, 0), &[message(b"0"), event(1, 1), event(0, 1)]).await;
    assert_eq!(refused, ["com.microsoft:argument-error"; 2]);
    emulator.shutdown().await;
}
