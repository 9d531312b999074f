//! One owned partition, from taking it to giving it back.

use std::sync::Arc;

use azevents_core::error::chain;
use azevents_core::lanes::Lanes;
use azevents_core::leasing::{Completion, Keeper, Redelivery};
use azevents_core::{Lease, Pipeline, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::intake::Intake;
use super::position::Position;
use super::receiver::Receiver;
use super::worker::Worker;

pub(super) struct Partition {
    shared: Arc<Shared>,
    id: Arc<str>,
    lease: Lease,
    asked: Instant,
    pipeline: Arc<Pipeline>,
}

impl Partition {
    /// A partition whose lease was asked for at `asked`.
    pub(super) fn new(shared: Arc<Shared>, id: String, lease: Lease, asked: Instant, pipeline: Arc<Pipeline>) -> Self {
        Self {
            shared,
            id: id.into(),
            lease,
            asked,
            pipeline,
        }
    }

    /// Reads until `stop` is cancelled or the lease is lost, both `Ok`, or until something an operator
    /// must mend. Dropping it is a crash: nothing is checkpointed, the lease runs out.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<()> {
        let Self {
            shared,
            id,
            lease,
            asked,
            pipeline,
        } = self;
        let position = lease
            .checkpoint
            .as_ref()
            .map(|c| Position::parse(&c.continuation, &id))
            .transpose()?;
        let events = lease.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.events);
        let options = &shared.options;
        let progress: Arc<Completion<Position>> = Arc::new(Completion::after(events, options.checkpoint_events as u64));
        let leases = shared.leases.clone();
        let (halt, lost, done) = (stop.child_token(), CancellationToken::new(), CancellationToken::new());

        // These sets abort their tasks when dropped.
        let mut keeping = JoinSet::new();
        let keeper = Keeper::new(
            shared.leases.clone(),
            progress.clone(),
            lease,
            asked,
            (options.lease_duration, options.checkpoint_interval),
        );
        keeping.spawn(keeper.run(lost.clone(), done.clone()));

        let batch = pipeline.batch_limits().map_or(0, |limits| limits.messages);
        let mut working = JoinSet::new();
        let worker = Worker {
            shared: shared.clone(),
            partition: id.clone(),
            progress: progress.clone(),
            redelivery: Redelivery {
                pipeline,
                parking: shared.parking.clone(),
                delays: shared.options.redelivery,
                halt: halt.clone(),
                lost: lost.clone(),
            },
        };
        let (lanes, ends) = Lanes::new(shared.options.concurrency, shared.options.queued.max(batch));
        for end in ends {
            working.spawn(worker.clone().run(end));
        }
        let (chunks, arriving) = mpsc::channel(1);
        let (using, used) = mpsc::unbounded_channel();
        let intake = Intake {
            subject: format!("{}/{id}", shared.hub),
            progress: progress.clone(),
            halt: halt.clone(),
            lanes,
            used: using,
        };
        working.spawn(intake.run(arriving));

        let runtime = shared.hubs.runtime().clone();
        let receiver = Receiver {
            shared,
            partition: id,
            position,
            progress,
            used,
            halt: halt.clone(),
        };
        let mut receiving = JoinSet::new();
        receiving.spawn_on(receiver.run(chunks), &runtime);
        let received = tokio::select! {
            () = lost.cancelled() => Ok(()),
            Some(received) = receiving.join_next() => received.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
        };
        // The next owner's link must not meet one of ours that is still being opened.
        receiving.shutdown().await;

        // The lease is kept while the running handlers end.
        halt.cancel();
        while let Some(worked) = working.join_next().await {
            if let Err(panic) = worked {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        done.cancel();
        if let Some(Ok(Some(lease))) = keeping.join_next().await
            && let Err(error) = leases.release(&lease).await
        {
            tracing::warn!(partition = %lease.range, error = chain(&error), "lease not given back, it will expire");
        }
        received
    }
}
