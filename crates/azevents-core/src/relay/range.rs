//! One range that is ours, from taking its lease to giving it back.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lag::Page;
use super::lane::Lane;
use super::parked::ParkedStreams;
use super::reader::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::FeedRange;
use crate::lanes::Lanes;
use crate::leasing::{Completion, Keeper};

/// How the work on a range ended, where nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its lease is free, for us or another.
    GivenBack,
    /// It was split, and its parts have leases of their own.
    HandedOver,
    /// Another had taken its lease.
    Missed,
}

/// Takes a range's lease and relays it until `give_back`, or until the lease is lost.
pub(super) async fn run(shared: Arc<Shared>, range: FeedRange, give_back: CancellationToken) -> Result<Ended> {
    let options = &shared.options;
    let asked = Instant::now();
    let taken = shared
        .leases
        .acquire(&shared.name, &range, &options.owner, options.lease_duration);
    let Some(lease) = taken.await? else {
        return Ok(Ended::Missed);
    };
    tracing::info!(relay = shared.name, %range, "feed range taken");
    // Whatever was in flight when a range was split belonged to an earlier holder of this lease: it has
    // ended, so the parts can begin.
    let parts = shared.feed.parts(&lease.range).await?;
    if parts.len() > 1 {
        shared.leases.retire(&lease, &parts).await?;
        for part in &parts {
            shared.succeed(&lease, part).await?;
        }
        return Ok(Ended::HandedOver);
    }

    let events = lease.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.events);
    let completion: Arc<Completion<Page>> = Arc::new(Completion::after(events, options.checkpoint_events));
    let parked = Arc::new(ParkedStreams::from(lease.checkpoint.as_ref()));
    let watched = shared.watched.watch(&lease.range, completion.clone());
    let (lost, done) = (CancellationToken::new(), CancellationToken::new());

    // These sets abort their tasks when this future is dropped or returns early.
    let mut keeping = JoinSet::new();
    let keeper = Keeper::new(
        shared.leases.clone(),
        completion.clone(),
        lease.clone(),
        asked,
        (options.lease_duration, options.checkpoint_interval),
    );
    keeping.spawn(keeper.run(lost.clone(), done.clone()));

    let mut working = JoinSet::new();
    let (lanes, ends) = Lanes::new(options.lanes, options.lane_capacity);
    for end in ends {
        let lane = Lane::new(shared.clone(), completion.clone(), parked.clone(), give_back.clone());
        working.spawn(lane.run(end));
    }
    let reader = Reader {
        shared: shared.clone(),
        range: lease.range.clone(),
        completion,
        parked,
        behind: watched.behind(),
        room: Arc::new(Semaphore::new(options.bytes_in_flight as usize)),
        give_back,
    };
    let after = lease.checkpoint.map(|checkpoint| checkpoint.continuation);
    working.spawn(reader.run(after, lanes));

    // Reader stopped and lanes drained: a graceful end.
    let worked = loop {
        tokio::select! {
            () = lost.cancelled() => {
                return Err(Error::new(ErrorKind::Conflict, "relay", &lease.range).with_message("the lease was lost"));
            }
            ended = working.join_next() => match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => break Err(error),
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => break Ok(()),
            },
        }
    };
    drop(working);
    done.cancel();
    let kept = keeping.join_next().await.transpose();
    let kept = kept.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    if let Some(lease) = kept.flatten() {
        let released = shared.leases.release(&lease).await;
        worked.and(released)?;
    } else {
        worked?;
    }
    Ok(Ended::GivenBack)
}
