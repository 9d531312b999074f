//! Consuming an event hub: which partitions are ours, and one reader for each.
//!
//! | module | what it does |
//! | --- | --- |
//! | `options` | what can be set |
//! | `partition` | one owned partition, from taking it to giving it back |
//! | `receiver` | its events in order, across lost connections |
//! | `intake` | from there into lanes |
//! | `worker` | events until they are handled or parked |
//! | `position` | what a checkpoint says |

mod intake;
mod options;
mod partition;
mod position;
mod receiver;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::error::chain;
use azevents_core::leasing::{Held, Members};
use azevents_core::{Consumer, DeadLetterSink, ErrorKind, FeedRange, LeaseStore, Pipeline, Result, RetryPolicy};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::namespace::{EventHubs, within};
pub use options::{ConsumerOptions, StartFrom};
use partition::Partition;

/// How long a consumer that stops waits for the answer about a lease that it has asked for.
const LAST_LEASE: Duration = Duration::from_secs(5);

/// What all partitions of one consumer share.
pub(crate) struct Shared {
    pub(crate) hubs: EventHubs,
    pub(crate) hub: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) leases: Arc<dyn LeaseStore>,
    pub(crate) parking: Arc<dyn DeadLetterSink>,
    pub(crate) options: ConsumerOptions,
    /// Our name in the leases.
    pub(crate) owner: String,
}

impl Shared {
    /// Whose progress the leases record.
    fn reader(&self) -> String {
        format!("eventhub/{}/{}", self.hub, self.group)
    }
}

/// A [`Consumer`] of one event hub for one consumer group.
///
/// - Every partition is read by one consumer at a time, the one that holds its lease. Consumers of the
///   same group divide the partitions evenly: each has a seat in the lease store, works out its share from
///   the seats taken, and gives back what it has above that once its handlers are done and its checkpoint
///   is written. The partitions of one that died are free when its leases expire.
/// - Events of a partition with the same key are handled in order, others side by side, at most
///   [`concurrency`](ConsumerOptions::concurrency) at once.
/// - A checkpoint says that everything up to it was handled or parked. After a crash, events since the
///   last checkpoint come again.
/// - A message given back by the pipeline is tried again in its place, after a backoff, with the next
///   delivery count; later events of its key (and of keys that share its lane) wait.
/// - A pipeline [in batches](azevents_core::Pipeline::in_batches) is given what waits in a lane at once, up to its limits;
///   twice as much may then be in hand per lane. Each lane has batches of its own: few lanes make large ones.
/// - A dead letter is handed to the parking lot, with where it came from in its headers, and passed only
///   when that has acknowledged it.
/// - When another consumer takes over a partition, [`lock_lost`](azevents_core::Delivery::lock_lost) of its
///   running deliveries is cancelled.
pub struct EventHubConsumer {
    shared: Arc<Shared>,
}

impl EventHubConsumer {
    pub(crate) fn new(
        hubs: EventHubs,
        hub: Arc<str>,
        group: Arc<str>,
        leases: Arc<dyn LeaseStore>,
        parking: Arc<dyn DeadLetterSink>,
    ) -> Self {
        let options = ConsumerOptions::default();
        Self {
            shared: Arc::new(Shared {
                hubs,
                hub,
                group,
                leases,
                parking,
                owner: owner(&options),
                options,
            }),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(self, options: ConsumerOptions) -> Self {
        let Shared {
            hubs,
            hub,
            group,
            leases,
            parking,
            ..
        } = &*self.shared;
        let shared = Shared {
            hubs: hubs.clone(),
            hub: hub.clone(),
            group: group.clone(),
            leases: leases.clone(),
            parking: parking.clone(),
            owner: owner(&options),
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The hub's partitions, asked until the service answers. `None` when stopped first.
    async fn partitions(&self, stop: &CancellationToken) -> Result<Option<Vec<String>>> {
        let hub = &self.shared.hub;
        let mut delays = RetryPolicy::forever().delays();
        loop {
            let mut asking = JoinSet::new();
            asking.spawn_on(partition_ids(self.shared.clone()), self.shared.hubs.runtime());
            let error = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                Some(answer) = asking.join_next() => match answer {
                    Ok(Ok(ids)) => return Ok(Some(ids)),
                    Ok(Err(error)) if !error.is_transient() => return Err(error),
                    Ok(Err(error)) => error,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                }
            };
            let delay = delays.next().unwrap_or_default();
            tracing::warn!(%hub, ?delay, error = chain(&error), "event hub not reached, trying again");
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One look around: gives back what is more than our share, takes what nobody has. An error is one that
    /// an operator must mend: the leases' container is missing, its credential is refused.
    async fn round(
        &self,
        partitions: &[String],
        members: &mut Members,
        held: &mut Held<Result<()>>,
        pipeline: &Arc<Pipeline>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let share = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            share = members.share() => share,
        };
        // The lease store being away is no reason to give up what we have; the next round asks again.
        tolerate(share.map(drop), "members")?;
        let quota = members.last_share().quota(partitions.len());
        held.give_back_beyond(quota);
        for partition in partitions {
            if stop.is_cancelled() || held.len() >= quota {
                return Ok(());
            }
            let range = FeedRange(partition.clone());
            if !held.contains(&range) {
                tolerate(self.take(range, held, pipeline, stop).await, partition)?;
            }
        }
        Ok(())
    }

    /// Takes a partition's lease, if nobody has it, and begins to read.
    async fn take(
        &self,
        range: FeedRange,
        held: &mut Held<Result<()>>,
        pipeline: &Arc<Pipeline>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let shared = &self.shared;
        let (asked, reader) = (Instant::now(), shared.reader());
        let asking = shared
            .leases
            .acquire(&reader, &range, &shared.owner, shared.options.lease_duration);
        // A lease that was asked for is given back too, if the store answers.
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_LEASE).await;
        };
        let lease = tokio::select! {
            () = stopped => return Ok(()),
            lease = asking => lease?,
        };
        if let Some(lease) = lease {
            tracing::info!(hub = %shared.hub, group = %shared.group, partition = %range, owner = shared.owner, "partition taken");
            let partition = Partition::new(shared.clone(), range.0.clone(), lease, asked, pipeline.clone());
            held.begin(range, stop, |give_back| partition.run(give_back));
        }
        Ok(())
    }
}

/// How the work on a partition ended: given back or lost (`Ok`), or for good.
fn outcome(ended: std::result::Result<(FeedRange, Result<()>), JoinError>) -> Result<()> {
    match ended {
        Ok((_, result)) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Logs a failure of the lease store that passes; returns one that doesn't.
fn tolerate(result: Result<()>, asked_for: &str) -> Result<()> {
    match result {
        Err(error) if error.is_transient() || error.kind() == ErrorKind::Conflict => {
            tracing::warn!(
                asked_for,
                error = chain(&error),
                "lease store not reached, trying again"
            );
            Ok(())
        }
        result => result,
    }
}

async fn partition_ids(shared: Arc<Shared>) -> Result<Vec<String>> {
    let Shared {
        hubs,
        hub,
        group,
        options,
        ..
    } = &*shared;
    let client = hubs.open_consumer(hub, group).await?;
    let asked = within(
        "read properties",
        hub,
        options.operation_timeout,
        client.get_eventhub_properties(),
    );
    Ok(asked.await?.partition_ids)
}

fn owner(options: &ConsumerOptions) -> String {
    options.owner.clone().unwrap_or_else(|| Uuid::new_v4().to_string())
}

#[async_trait]
impl Consumer for EventHubConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
        let Some(partitions) = self.partitions(&stop).await? else {
            return Ok(());
        };
        let stop = stop.child_token();
        let mut held = Held::default();
        let options = &self.shared.options;
        let mut members = Members::new(
            self.shared.leases.clone(),
            &self.shared.reader(),
            &self.shared.owner,
            options.lease_duration,
        );
        let pause = options.acquire_interval.min(options.lease_duration / 3);
        let mut result = loop {
            let round = self.round(&partitions, &mut members, &mut held, &pipeline, &stop);
            if let Err(error) = round.await {
                break Err(error);
            }
            let ended = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                () = tokio::time::sleep(pause) => continue,
                Some(ended) = held.next_ended() => outcome(ended),
            };
            if let Err(error) = ended {
                break Err(error);
            }
        };
        stop.cancel();
        while let Some(ended) = held.next_ended().await {
            result = result.and(outcome(ended));
        }
        members.leave_or_expire().await;
        result
    }
}

impl fmt::Debug for EventHubConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            hubs,
            hub,
            group,
            options,
            ..
        } = &*self.shared;
        f.debug_struct("EventHubConsumer")
            .field("hubs", hubs)
            .field("hub", hub)
            .field("group", group)
            .field("options", options)
            .finish_non_exhaustive()
    }
}
