//! What consumers say of themselves: counters that no read model holds, written down now and then so
//! that a report in another process can show them.
//!
//! They are honest but not exact: a process that is killed takes the last quarter of a second with it.

use std::sync::Arc;
use std::time::Duration;

use azevents::{Error, ErrorKind, Pipeline, Result};
use azure_data_cosmos::{FeedScope, Query};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::consumers::Name;
use crate::services::Services;

const PARTITION: &str = "status";
const INTERVAL: Duration = Duration::from_millis(250);

/// The counters of one consumer in one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    id: String,
    partition: String,
    consumer: String,
    /// Copies recognised.
    pub duplicates: u64,
    /// Messages set aside.
    pub dead_lettered: u64,
}

impl Status {
    /// Whose counters these are; `None` for a consumer that this release doesn't have.
    pub fn consumer(&self) -> Option<Name> {
        Name::ALL.into_iter().find(|name| name.as_str() == self.consumer)
    }
}

/// Writes a pipeline's counters down until `stop`, and then once more.
///
/// # Errors
/// Only the last write's: earlier ones are repeated by the next.
pub async fn keep(services: Services, name: Name, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
    let id = format!("{}-{}", name.as_str(), Uuid::new_v4());
    let mut written = None;
    loop {
        let stopped = tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_ok();
        let stats = pipeline.stats();
        let status = Status {
            id: id.clone(),
            partition: PARTITION.into(),
            consumer: name.as_str().into(),
            duplicates: stats.duplicates,
            dead_lettered: stats.dead_lettered,
        };
        if written.as_ref() != Some(&status) {
            match services.status.upsert_item(PARTITION, &id, &status, None).await {
                Ok(_) => written = Some(status),
                Err(error) if stopped => return Err(failed("write status", error)),
                Err(error) => tracing::debug!(%error, "status not written"),
            }
        }
        if stopped {
            return Ok(());
        }
    }
}

/// The counters of all consumers, in all processes so far.
///
/// # Errors
/// What the store reports.
pub async fn list(services: &Services) -> Result<Vec<Status>> {
    let scope = FeedScope::partition(PARTITION);
    let query = Query::from("SELECT * FROM c");
    let items = services
        .status
        .query_items(query, scope, None)
        .await
        .map_err(|error| failed("read status", error))?;
    items.try_collect().await.map_err(|error| failed("read status", error))
}

fn failed(operation: &'static str, error: azure_data_cosmos::CosmosError) -> Error {
    Error::new(ErrorKind::Unavailable, operation, PARTITION).with_source(error)
}
