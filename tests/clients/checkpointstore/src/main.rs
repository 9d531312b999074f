//! Microsoft's event processor and checkpoint store for Rust on the emulator.
//!
//! Usage: checkpointstore-client EVENTHUBS_ENDPOINT CONTAINER_URL, the first as `amqp://127.0.0.1:PORT`, the second with a
//! shared access signature. Needs: hub `order-events` with 4 empty partitions and the consumer group `analytics`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use azure_messaging_eventhubs::{
    ConsumerClient, EventProcessor, ProcessorStrategy, ProducerClient, SendEventOptions, StartLocation, StartPosition,
    models::StartPositions,
};
use azure_messaging_eventhubs_checkpointstore_blob::BlobCheckpointStore;
use azure_storage_blob::BlobContainerClient;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt;

const HUB: &str = "order-events";
const GROUP: &str = "analytics";
const PARTITIONS: usize = 4;
/// Events of a partition; the first processor takes so many of them, and the second the others.
const EACH: usize = 10;
const FIRST: usize = 6;

type Kept = Result<(), Box<dyn Error>>;

/// A token that is well-formed and signed by nobody.
#[derive(Debug)]
struct Unsigned;

#[async_trait::async_trait]
impl TokenCredential for Unsigned {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let expires_on = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let claims = encode(&format!("{{\"exp\":{}}}", expires_on.unix_timestamp()));
        let token = format!("{}.{claims}.", encode("{\"alg\":\"none\"}"));
        Ok(AccessToken::new(token, expires_on))
    }
}

async fn publish(endpoint: &str) -> Kept {
    let producer = ProducerClient::builder()
        .with_custom_endpoint(endpoint.to_owned())
        .open("localhost", HUB, Arc::new(Unsigned))
        .await?;
    for partition in 0..PARTITIONS {
        for number in 0..EACH {
            let options = SendEventOptions {
                partition_id: Some(partition.to_string()),
            };
            producer.send_event(number.to_string(), Some(options)).await?;
        }
    }
    producer.close().await?;
    Ok(())
}

/// A processor that takes the events from one number up to another of each partition, and checkpoints the last.
async fn process(endpoint: &str, container: &str, from: usize, to: usize) -> Kept {
    let consumer = ConsumerClient::builder()
        .with_custom_endpoint(endpoint.to_owned())
        .with_consumer_group(GROUP.to_owned())
        .open("localhost", HUB.to_owned(), Arc::new(Unsigned))
        .await?;
    let container = BlobContainerClient::new(container.parse()?, None, None)?;
    let start = StartPosition {
        location: StartLocation::Earliest,
        ..StartPosition::default()
    };
    let processor = EventProcessor::builder()
        .with_load_balancing_strategy(ProcessorStrategy::Greedy)
        .with_update_interval(azure_core::time::Duration::seconds(1))
        .with_partition_expiration_duration(azure_core::time::Duration::seconds(3))
        .with_start_positions(StartPositions {
            default: start,
            ..StartPositions::default()
        })
        .build(consumer, BlobCheckpointStore::new(container))
        .await?;
    let running = tokio::spawn({
        let processor = processor.clone();
        async move { processor.run().await }
    });
    let mut clients = Vec::new();
    for _ in 0..PARTITIONS {
        let partition = processor.next_partition_client().await?;
        let mut events = partition.stream_events().take(to - from);
        let mut expected = from;
        while let Some(event) = events.next().await {
            let event = event?;
            let body = String::from_utf8(event.event_data().body().unwrap_or_default().to_vec())?;
            if body != expected.to_string() {
                return Err(format!(
                    "{body} came of partition {}, not {expected}",
                    partition.get_partition_id()
                )
                .into());
            }
            expected += 1;
            if expected == to {
                partition.update_checkpoint(&event).await?;
            }
        }
        drop(events);
        clients.push(partition);
    }
    processor.shutdown().await?;
    running.await??;
    Ok(())
}

// On several threads this client can miss the answer to what it has sent, where that comes at once.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Kept {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(container)) = (arguments.next(), arguments.next()) else {
        return Err("usage: checkpointstore-client EVENTHUBS_ENDPOINT CONTAINER_URL".into());
    };
    publish(&endpoint).await?;
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, process(&endpoint, &container, 0, FIRST)).await??;
    println!("ok      a processor takes all partitions from their beginning");
    tokio::time::timeout(limit, process(&endpoint, &container, FIRST, EACH)).await??;
    println!("ok      another one goes on behind the checkpoints of the first");
    println!("2 checks, 0 failed");
    Ok(())
}
