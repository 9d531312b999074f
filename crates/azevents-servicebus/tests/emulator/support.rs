//! An emulator with the entities the tests use, and small helpers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Consumer, Message, Pipeline, RetryPolicy};
use azevents_emulator::{Emulator, Queue, Subscription, Topic};
use azevents_servicebus::{
    ClientOptions, ConnectionString, ReceivedMessage, RetryOptions, ServiceBusClient, ServiceBusMessage,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Longer than anything here takes, shorter than a patient developer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Queue `q` (lock 5 s, 3 deliveries), queue `dedupe`, session queue `qs`, topic `t` with subscriptions `a`
/// and session subscription `s`.
pub(crate) async fn emulator() -> Emulator {
    // Shows what happens with RUST_LOG set; the first test of a process installs it for all.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    let lock = Duration::from_secs(5);
    Emulator::builder()
        .queue(Queue::new("q").with_lock_duration(lock).with_max_delivery_count(3))
        .queue(Queue::new("dedupe").with_duplicate_detection(Duration::from_secs(60)))
        .queue(Queue::new("qs").with_lock_duration(lock).with_sessions())
        .topic(
            Topic::new("t")
                .with_subscription(Subscription::new("a").with_lock_duration(lock))
                .with_subscription(Subscription::new("s").with_lock_duration(lock).with_sessions()),
        )
        .start()
        .await
        .expect("the emulator starts")
}

pub(crate) fn connection_string(emulator: &Emulator) -> &str {
    &emulator.ready().servicebus.connection_string
}

pub(crate) fn port(emulator: &Emulator) -> u16 {
    ConnectionString::parse(connection_string(emulator)).unwrap().port()
}

/// Retries soon, since the emulator recovers at once.
pub(crate) fn options() -> ClientOptions {
    let policy = RetryPolicy::default()
        .with_base(Duration::from_millis(10))
        .with_cap(Duration::from_millis(100));
    let retry = RetryOptions::default()
        .with_policy(policy.with_retries(20))
        .with_try_timeout(PATIENCE)
        .with_busy_pause(Duration::from_millis(10));
    ClientOptions::default().with_retry(retry)
}

pub(crate) fn client(emulator: &Emulator) -> ServiceBusClient {
    ServiceBusClient::from_connection_string_with(connection_string(emulator), options()).expect("a valid string")
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a number reads better than a reference to it"
)]
pub(crate) fn message(id: impl ToString) -> ServiceBusMessage {
    ServiceBusMessage::new(format!("body of {}", id.to_string())).with_message_id(id.to_string())
}

/// The `n`th event of a stream, as the engine publishes it.
pub(crate) fn line(key: &str, n: usize) -> Message {
    Message {
        id: format!("{key}-{n}"),
        key: key.to_owned(),
        event_type: "LineAdded".to_owned(),
        content_type: "application/json".to_owned(),
        body: format!("{{\"n\":{n}}}").into(),
        headers: BTreeMap::from([("n".to_owned(), n.to_string())]),
    }
}

/// Which of its stream's events a [`line`] is.
pub(crate) fn number(message: &Message) -> usize {
    message.headers["n"].parse().unwrap()
}

pub(crate) fn id(message: &ReceivedMessage) -> &str {
    message.message_id().expect("the tests set ids")
}

/// Fails the test instead of hanging it.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}

/// Runs a consumer until `until` is done, then stops it.
pub(crate) async fn run_until(
    consumer: impl Consumer + 'static,
    pipeline: Arc<Pipeline>,
    until: impl Future<Output = ()>,
) {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { consumer.run(pipeline, stop).await }
    });
    soon(until).await;
    stop.cancel();
    soon(running).await.unwrap().unwrap();
}
