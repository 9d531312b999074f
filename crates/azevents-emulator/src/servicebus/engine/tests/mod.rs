//! One promise each, on the paused clock, through the queue that receivers use.

mod dead_letters;
mod delivery;
mod entities;
mod faults;
mod partitions;
mod sessions;
mod time;

use std::{sync::Arc, time::Duration};

use tokio::time::{advance, timeout};

use super::{LockToken, MessageCounts, ReceiveMode, Received, Settlement};
use crate::{
    faults::{FaultKind, FaultPlan, Faults},
    servicebus::{
        BrokerError, Namespace, NamespaceConfig,
        clock::{Clock, Timestamp},
        config::{QueueConfig, SubscriptionConfig, TopicConfig},
        filter::{CorrelationFilter, Filter, Rule},
        message::{
            PropertyChanges,
            testing::{Sample, body, decode},
        },
        queue::Queue,
        sql::Value,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const PEEK_LOCK: ReceiveMode = ReceiveMode::PeekLock;

fn namespace() -> Namespace {
    Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none())
}

fn queue_with(change: impl FnOnce(&mut QueueConfig)) -> Arc<Queue> {
    let mut config = QueueConfig::new("q1");
    config.lock_duration = 5 * SECOND;
    config.max_delivery_count = 3;
    change(&mut config);
    namespace().create_queue(&config).unwrap()
}

fn queue() -> Arc<Queue> {
    queue_with(|_| {})
}

fn send(queue: &Queue, samples: impl IntoIterator<Item = Sample>) -> Vec<i64> {
    queue
        .send(samples.into_iter().map(|sample| sample.message()).collect())
        .unwrap()
}

fn text(received: &Received) -> String {
    let message = decode(&received.message.encode_whole(&received.stamp));
    String::from_utf8(body(&message)).unwrap()
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(text).collect()
}

fn take(queue: &Queue, max: usize) -> Vec<Received> {
    queue.try_receive(max, PEEK_LOCK)
}

fn abandon() -> Settlement {
    Settlement::Abandon(PropertyChanges::default())
}

fn property(received: &Received, name: &str) -> Option<String> {
    let message = decode(&received.message.encode_whole(&received.stamp));
    match message.application_properties?.0.get(name)? {
        fe2o3_amqp_types::primitives::SimpleValue::String(text) => Some(text.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The dead letter, its reason and its description.
fn dead_letter(queue: &Queue) -> (Received, String, String) {
    let mut dead = take(queue.dead_letters().unwrap(), 10);
    assert_eq!(dead.len(), 1, "one dead letter");
    let dead = dead.remove(0);
    let reason = property(&dead, "DeadLetterReason").unwrap_or_default();
    let description = property(&dead, "DeadLetterErrorDescription").unwrap_or_default();
    (dead, reason, description)
}

fn timestamp_in(after: Duration) -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (now + after).as_millis() as i64
}
