//! The Rust SDK the plain way, as its examples use it.
//!
//! On a runtime with one thread, for on several its sends may never end (docs/adr/0011).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_messaging_eventhubs::models::EventData;
use azure_messaging_eventhubs::{
    ConsumerClient, EventDataBatchOptions, OpenReceiverOptions, ProducerClient, StartLocation, StartPosition,
};
use futures::StreamExt;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::{PATIENCE, Scene, rate};

/// Every event by itself, with its key.
pub(super) async fn publish_each(scene: &Scene) -> Result<Option<f64>> {
    let (at, hub, messages) = (endpoint(scene), scene.hub.clone(), scene.messages());
    alone(async move {
        let producer = producer(at, &hub).await?;
        let began = Instant::now();
        for message in &messages {
            let options = EventDataBatchOptions {
                partition_key: Some(message.key.clone()),
                ..Default::default()
            };
            let batch = producer.create_batch(Some(options)).await?;
            batch.try_add_event_data(event(message), None)?;
            producer.send_batch(batch, None).await?;
        }
        Ok(rate(messages.len(), began))
    })
    .await
}

/// Full batches, which the service spreads: no key, and no order.
pub(super) async fn publish_batches(scene: &Scene) -> Result<Option<f64>> {
    let (at, hub, messages) = (endpoint(scene), scene.hub.clone(), scene.messages());
    alone(async move {
        let producer = producer(at, &hub).await?;
        let began = Instant::now();
        let mut rest = &messages[..];
        while !rest.is_empty() {
            let batch = producer.create_batch(None).await?;
            let mut count = 0;
            while let Some(message) = rest.get(count)
                && batch.try_add_event_data(event(message), None)?
            {
                count += 1;
            }
            producer.send_batch(batch, None).await?;
            rest = &rest[count..];
        }
        Ok(rate(messages.len(), began))
    })
    .await
}

/// A receiver per partition, nothing but counting.
pub(super) async fn consume(scene: &Scene) -> Result<Option<f64>> {
    let (at, hub, partitions, events) = (endpoint(scene), scene.hub.clone(), scene.partitions, scene.events);
    alone(async move {
        let consumer = ConsumerClient::builder()
            .with_custom_endpoint(at)
            .open("127.0.0.1", hub, Arc::new(Anyone))
            .await?;
        let mut receivers = Vec::new();
        for partition in 0..partitions {
            let options = OpenReceiverOptions {
                start_position: Some(StartPosition {
                    location: StartLocation::Earliest,
                    inclusive: true,
                }),
                prefetch: Some(300),
                ..Default::default()
            };
            receivers.push(
                consumer
                    .open_receiver_on_partition(partition.to_string(), Some(options))
                    .await?,
            );
        }
        let mut all = futures::stream::select_all(receivers.iter().map(|receiver| receiver.stream_events().boxed()));
        let (mut seen, mut began) = (0, None);
        while seen < events {
            all.next().await.ok_or_else(|| anyhow!("the stream ended"))??;
            began.get_or_insert_with(Instant::now);
            seen += 1;
        }
        Ok(began.map_or(0.0, |began| rate(events, began)))
    })
    .await
}

async fn producer(endpoint: String, hub: &str) -> Result<ProducerClient> {
    let builder = ProducerClient::builder().with_custom_endpoint(endpoint);
    Ok(builder.open("127.0.0.1", hub, Arc::new(Anyone)).await?)
}

fn event(message: &azevents_core::Message) -> EventData {
    EventData::builder().with_body(message.body.to_vec()).build()
}

/// `amqp://host:port` of the emulator.
fn endpoint(scene: &Scene) -> String {
    let text = scene.connection_string();
    let rest = text.split_once("sb://").map_or(text, |(_, rest)| rest);
    let address = rest.split([';', '/']).next().unwrap_or_default();
    format!("amqp://{address}")
}

/// Runs something on a thread and a runtime of its own.
async fn alone(work: impl Future<Output = Result<f64>> + Send + 'static) -> Result<Option<f64>> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let figure = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await? }));
        let _ = done.send(figure);
    });
    result.await?.map(Some)
}

/// The emulator asks for a token and reads nothing in it.
#[derive(Debug)]
struct Anyone;

#[async_trait]
impl TokenCredential for Anyone {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let expires_on = OffsetDateTime::now_utc() + Duration::from_secs(24 * 60 * 60);
        Ok(AccessToken::new("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.", expires_on))
    }
}
