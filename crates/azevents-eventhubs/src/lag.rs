//! How far a consumer group is behind.

use std::time::Duration;

use azevents_core::{Error, ErrorKind, LeaseStore, Result};
use azure_messaging_eventhubs::models::EventHubPartitionProperties;
use azure_messaging_eventhubs::{ConsumerClient, OpenReceiverOptions, StartLocation, StartPosition};
use futures::StreamExt;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::namespace::{EventHubs, within};

const OPERATION: &str = "measure lag";
/// How long the service may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Everybody's consumer group, in which the oldest unfinished event is looked at.
const DEFAULT_GROUP: &str = "$Default";

/// How far a group is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionLag {
    /// The partition's id.
    pub partition: String,
    /// Events that are kept and not yet behind a checkpoint.
    pub events: u64,
    /// How long ago the service took in the oldest of them: zero where there is none, `None` where it could not be
    /// looked at.
    pub age: Option<Duration>,
}

/// The part of a checkpoint that counts here.
#[derive(Deserialize)]
struct Place {
    #[serde(rename = "sequenceNumber")]
    sequence_number: i64,
}

impl EventHubs {
    /// How far the consumers of `group` are behind in `hub`, by the checkpoints in `leases`: a few requests and, for
    /// each partition that is behind, one event read through the group `$Default` (without disturbing its readers).
    ///
    /// # Errors
    /// When the hub or the lease store cannot be asked.
    pub async fn lag(&self, hub: &str, group: &str, leases: &dyn LeaseStore) -> Result<Vec<PartitionLag>> {
        let reader = format!("eventhub/{hub}/{group}");
        let mut places = std::collections::HashMap::new();
        for lease in leases.list(&reader).await? {
            let Some(checkpoint) = lease.checkpoint else { continue };
            let place: Place = serde_json::from_str(&checkpoint.continuation.0)
                .map_err(|e| Error::new(ErrorKind::Corrupt, OPERATION, &lease.range).with_source(e))?;
            places.insert(lease.range.0, place.sequence_number);
        }
        let (this, hub) = (self.clone(), hub.to_owned());
        let measuring = self.runtime().spawn(async move {
            let client = this.open_consumer(&hub, DEFAULT_GROUP).await?;
            let properties = within(OPERATION, &hub, ANSWER, client.get_eventhub_properties()).await?;
            let mut lags = Vec::new();
            for partition in properties.partition_ids {
                let asking = client.get_partition_properties(&partition);
                let properties = within(OPERATION, &hub, ANSWER, asking).await?;
                let first = places.get(&partition).map_or(i64::MIN, |done| done + 1);
                lags.push(lag(&client, &hub, &properties, first).await);
            }
            Ok(lags)
        });
        measuring
            .await
            .unwrap_or_else(|panic| Err(Error::new(ErrorKind::Other, OPERATION, reader).with_source(panic)))
    }
}

/// The lag of one partition of which everything before the sequence number `first` is finished.
async fn lag(client: &ConsumerClient, hub: &str, partition: &EventHubPartitionProperties, first: i64) -> PartitionLag {
    let first = first.max(partition.beginning_sequence_number);
    let events = if partition.is_empty {
        0
    } else {
        (partition.last_enqueued_sequence_number + 1 - first).max(0) as u64
    };
    let age = match events {
        0 => Some(Duration::ZERO),
        _ => age_of(client, hub, &partition.id, first).await,
    };
    PartitionLag {
        partition: partition.id.clone(),
        events,
        age,
    }
}

async fn age_of(client: &ConsumerClient, hub: &str, partition: &str, sequence_number: i64) -> Option<Duration> {
    let options = OpenReceiverOptions {
        prefetch: Some(1),
        start_position: Some(StartPosition {
            location: StartLocation::SequenceNumber(sequence_number),
            inclusive: true,
        }),
        ..OpenReceiverOptions::default()
    };
    let opening = client.open_receiver_on_partition(partition.to_owned(), Some(options));
    let receiver = within(OPERATION, hub, ANSWER, opening).await.ok()?;
    let mut events = receiver.stream_events();
    let event = tokio::time::timeout(ANSWER, events.next()).await.ok()??.ok()?;
    let taken_in = OffsetDateTime::from(event.enqueued_time()?);
    Some((OffsetDateTime::now_utc() - taken_in).try_into().unwrap_or_default())
}
