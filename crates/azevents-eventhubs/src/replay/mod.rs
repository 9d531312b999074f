//! Reading a part of an event hub once more, without touching anybody's checkpoints.

mod options;
mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;

use azevents_core::{Error, ErrorKind, Pipeline, Result};
use futures::stream::{FuturesUnordered, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::namespace::{EventHubs, within};
use partition::Partition;

pub use options::{ReplayFrom, ReplayOptions, ReplayUntil};

const OPERATION: &str = "replay";

/// Hands events that were handled before to a [`Pipeline`] again: to rebuild a read model, to try a new handler
/// on last week's events.
///
/// It takes no lease and writes no checkpoint. Order per key is kept, keys run side by side. What it ends with is
/// fixed when it begins: events that come meanwhile are not waited for. A partition and group may have five readers,
/// and none beside a consumer's own (which reads exclusively), so give it a consumer group that nobody consumes in.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use azevents_core::Pipeline;
/// # use azevents_eventhubs::{EventHubs, ReplayFrom, ReplayOptions};
/// # use tokio_util::sync::CancellationToken;
/// # async fn run(hubs: EventHubs, pipeline: Arc<Pipeline>, monday: time::OffsetDateTime) -> azevents_core::Result<()> {
/// let options = ReplayOptions::default().with_from(ReplayFrom::Time(monday));
/// let replay = hubs.replay("order-events", "replays").with_options(options);
/// let replayed = replay.run(pipeline, CancellationToken::new()).await?;
/// println!("{} events", replayed.values().sum::<u64>());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Replay {
    hubs: EventHubs,
    hub: Arc<str>,
    group: Arc<str>,
    options: ReplayOptions,
}

impl Replay {
    pub(crate) fn new(hubs: EventHubs, hub: Arc<str>, group: Arc<str>) -> Self {
        Self {
            hubs,
            hub,
            group,
            options: ReplayOptions::default(),
        }
    }

    /// Sets which part, and how many keys at once.
    #[must_use]
    pub fn with_options(mut self, options: ReplayOptions) -> Self {
        self.options = options;
        self
    }

    /// Reads to the end, or until `stop` is cancelled, and says how many events of each partition were handled.
    /// Running handlers are waited for. Dropping the future ends it where it stands.
    ///
    /// # Errors
    /// When a partition cannot be read, or the pipeline gives an event back or wants to set it aside: the error
    /// names that event; those of its key behind it were not handed over.
    pub async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<BTreeMap<String, u64>> {
        let known = self.partitions().await?;
        let chosen = self.options.partitions.clone().unwrap_or_else(|| known.clone());
        if let Some(unknown) = chosen.iter().find(|id| !known.contains(id)) {
            return Err(Error::new(ErrorKind::NotFound, OPERATION, &self.hub)
                .with_message(format!("there is no partition {unknown}, only {}", known.join(", "))));
        }
        let stop = stop.child_token();
        let reading: FuturesUnordered<_> = chosen
            .into_iter()
            .map(|id| {
                let partition = Partition {
                    replay: self.clone(),
                    id: id.as_str().into(),
                    stop: stop.clone(),
                };
                let pipeline = pipeline.clone();
                async move { Ok((id, partition.run(pipeline).await?)) }
            })
            .collect();
        let replayed = reading.try_collect().await;
        // The others need not go on after one that failed.
        stop.cancel();
        replayed
    }

    async fn partitions(&self) -> Result<Vec<String>> {
        let this = self.clone();
        let asking = self.hubs.runtime().spawn(async move {
            let client = this.hubs.open_consumer(&this.hub, &this.group).await?;
            let asking = client.get_eventhub_properties();
            let properties = within(OPERATION, &this.hub, this.options.operation_timeout, asking).await?;
            Ok(properties.partition_ids)
        });
        asking
            .await
            .unwrap_or_else(|panic| Err(Error::new(ErrorKind::Other, OPERATION, &self.hub).with_source(panic)))
    }
}
