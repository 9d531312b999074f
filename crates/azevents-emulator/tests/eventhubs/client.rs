//! An emulator with one hub, and the official Rust client on it.

use std::sync::Arc;

use azevents_emulator::{Emulator, EventHub};
use azure_core::{
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::{Duration, OffsetDateTime},
};
use azure_messaging_eventhubs::{
    ConsumerClient, OpenReceiverOptions, ProducerClient, StartLocation, StartPosition, models::ReceivedEventData,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt;

pub(crate) const HUB: &str = "order-events";

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

pub(crate) async fn emulator() -> Emulator {
    let hub = EventHub::new(HUB).with_partition_count(4).with_consumer_group("audit");
    Emulator::builder().event_hub(hub).start().await.expect("it starts")
}

pub(crate) fn endpoint(emulator: &Emulator) -> String {
    endpoint_in(&emulator.ready().eventhubs.connection_string)
}

/// What the client takes, out of a connection string.
pub(crate) fn endpoint_in(text: &str) -> String {
    let host = text.split("sb://").nth(1).and_then(|rest| rest.split(';').next());
    format!("amqp://{}", host.expect("an endpoint").trim_end_matches('/'))
}

pub(crate) async fn producer(emulator: &Emulator) -> ProducerClient {
    producer_at(endpoint(emulator)).await
}

pub(crate) async fn producer_at(endpoint: String) -> ProducerClient {
    ProducerClient::builder()
        .with_custom_endpoint(endpoint)
        .open("localhost", HUB, Arc::new(Unsigned))
        .await
        .expect("a producer")
}

pub(crate) async fn consumer(emulator: &Emulator, group: &str) -> ConsumerClient {
    consumer_at(endpoint(emulator), group).await
}

pub(crate) async fn consumer_at(endpoint: String, group: &str) -> ConsumerClient {
    ConsumerClient::builder()
        .with_custom_endpoint(endpoint)
        .with_consumer_group(group.to_owned())
        .open("localhost", HUB.to_owned(), Arc::new(Unsigned))
        .await
        .expect("a consumer")
}

pub(crate) fn from(location: StartLocation) -> OpenReceiverOptions {
    OpenReceiverOptions {
        start_position: Some(StartPosition {
            location,
            inclusive: true,
        }),
        ..OpenReceiverOptions::default()
    }
}

pub(crate) async fn read(
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

pub(crate) fn body(event: &ReceivedEventData) -> String {
    let body = event.event_data().body().expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}
