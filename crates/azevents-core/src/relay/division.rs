//! Which ranges are ours: the first division of the feed, what follows from splits, and fair shares.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::range::{self, Ended};
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Checkpoint, FeedRange, Lease};
use crate::leasing::{Held, Members};

pub(super) struct Division {
    shared: Arc<Shared>,
    stop: CancellationToken,
    members: Members,
    held: Held<Result<Ended>>,
}

impl Division {
    pub(super) fn new(shared: Arc<Shared>, stop: &CancellationToken) -> Self {
        let options = &shared.options;
        let members = Members::new(
            shared.leases.clone(),
            &shared.name,
            &options.owner,
            options.lease_duration,
        );
        Self {
            shared,
            // Ours alone: it also stops the other ranges when one fails for good.
            stop: stop.child_token(),
            members,
            held: Held::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let stop = self.stop.clone();
        let mut rounds = tokio::time::interval(self.shared.options.lease_duration / 3);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut result = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                _ = rounds.tick() => {
                    let round = tokio::select! {
                        () = stop.cancelled() => break Ok(()),
                        round = self.round() => round,
                    };
                    if let Err(error) = round.or_else(|error| self.shared.tolerate(error)) {
                        break Err(error);
                    }
                }
                Some(ended) = self.held.next_ended() => match self.ended(ended) {
                    // Its parts are free now, or it is: no need to wait for the next round.
                    Ok(Ended::HandedOver) => rounds.reset_immediately(),
                    Ok(Ended::GivenBack | Ended::Missed) => {}
                    Err(error) => break Err(error),
                },
            }
        };
        stop.cancel();
        while let Some(ended) = self.held.next_ended().await {
            result = result.and(self.ended(ended).map(drop));
        }
        self.members.leave_or_expire().await;
        result
    }

    /// One look around: gives back what is too much or was split, takes what is free.
    async fn round(&mut self) -> Result<()> {
        if let Err(error) = self.members.share().await {
            self.shared.tolerate(error)?;
        }
        let leases = self.leases().await?;
        for (range, give_back) in self.held.kept() {
            if self.shared.feed.parts(range).await?.len() > 1 {
                tracing::info!(relay = self.shared.name, %range, "feed range was split");
                give_back.cancel();
            }
        }
        let quota = self.members.last_share().quota(leases.len());
        self.held.give_back_beyond(quota);
        for lease in leases {
            if self.held.len() >= quota {
                break;
            }
            let free = lease.owner.is_empty() || lease.owner == self.shared.options.owner;
            if free && !self.held.contains(&lease.range) {
                self.take(lease.range);
            }
        }
        Ok(())
    }

    /// The leases in use. Divides the feed where this reader is new, and completes what a relay that died
    /// has begun to hand over.
    async fn leases(&self) -> Result<Vec<Lease>> {
        let Shared { name, leases, .. } = &*self.shared;
        let mut all = leases.list(name).await?;
        if !is_divided(&all) {
            self.begin().await?;
            all = leases.list(name).await?;
            // Another relay is at it.
            if !is_divided(&all) {
                return Ok(Vec::new());
            }
        }
        let mut completed = false;
        for retired in &all {
            for missing in retired
                .successors
                .iter()
                .filter(|range| all.iter().all(|lease| lease.range != **range))
            {
                self.shared.succeed(retired, missing).await?;
                completed = true;
            }
        }
        if completed {
            all = leases.list(name).await?;
        }
        all.retain(|lease| lease.successors.is_empty() && lease.range != FeedRange::whole());
        Ok(all)
    }

    /// Divides the feed for the first time. Only one relay does: the others find the lease of the whole
    /// taken or retired, and come back.
    async fn begin(&self) -> Result<()> {
        let Shared {
            name,
            leases,
            feed,
            options,
            ..
        } = &*self.shared;
        let whole = FeedRange::whole();
        leases.create(name, &whole, None).await?;
        let held = leases
            .acquire(name, &whole, &options.owner, options.lease_duration)
            .await?;
        let Some(mut held) = held else { return Ok(()) };
        let ranges = if let Some(other) = &options.start_beside {
            self.begin_beside(other).await?
        } else {
            if let Some(start) = feed.position(&whole, options.start).await? {
                let checkpoint = Checkpoint::new(start, 0);
                held = leases.renew(&held, Some(&checkpoint), options.lease_duration).await?;
            }
            feed.ranges().await?
        };
        match leases.retire(&held, &ranges).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            result => result,
        }
    }

    /// Makes leases where another reader has its own, and returns their ranges. Whoever is interrupted here
    /// or follows does it again: nobody reads before the feed is divided.
    async fn begin_beside(&self, other: &str) -> Result<Vec<FeedRange>> {
        let Shared { name, leases, .. } = &*self.shared;
        let mut ranges = Vec::new();
        for lease in leases.list(other).await? {
            if lease.successors.is_empty() && lease.range != FeedRange::whole() {
                // Streams that wait there wait here too: what was set aside of them lies before the checkpoint.
                let checkpoint = lease.checkpoint.map(|checkpoint| Checkpoint {
                    events: 0,
                    ..checkpoint
                });
                leases.create(name, &lease.range, checkpoint.as_ref()).await?;
                ranges.push(lease.range);
            }
        }
        if ranges.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "begin beside", other)
                .with_message("there is no reader of this name in the lease store, or it has not begun"));
        }
        Ok(ranges)
    }

    /// Takes a range, in a task that a stop lets finish: a lease that was asked for is also given back.
    fn take(&mut self, range: FeedRange) {
        let shared = self.shared.clone();
        let begin = range.clone();
        self.held
            .begin(range, &self.stop, |give_back| range::run(shared, begin, give_back));
    }

    /// A range whose lease was lost may be taken again later, and so may one that met a failure that
    /// passes; any other failure ends the relay.
    fn ended(&self, ended: std::result::Result<(FeedRange, Result<Ended>), JoinError>) -> Result<Ended> {
        let (range, result) = ended.map_err(|panic| {
            Error::new(ErrorKind::Other, "relay", &self.shared.name)
                .with_message("a task panicked")
                .with_source(panic)
        })?;
        match result {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tracing::warn!(relay = self.shared.name, %range, "feed range was taken over by another relay");
                Ok(Ended::GivenBack)
            }
            Err(error) => self.shared.tolerate(error).map(|()| Ended::GivenBack),
            Ok(ended) => Ok(ended),
        }
    }
}

/// Whether the feed has been divided for a reader with these leases.
fn is_divided(leases: &[Lease]) -> bool {
    let whole = leases.iter().find(|lease| lease.range == FeedRange::whole());
    whole.is_some_and(|whole| !whole.successors.is_empty())
}

impl Shared {
    /// Makes the lease of a part of a retired range, where that isn't done yet.
    pub(super) async fn succeed(&self, retired: &Lease, part: &FeedRange) -> Result<()> {
        let checkpoint = retired.checkpoint.as_ref().map(|checkpoint| Checkpoint {
            // Counted with the retired lease, which stays.
            events: 0,
            ..checkpoint.clone()
        });
        self.leases.create(&self.name, part, checkpoint.as_ref()).await
    }
}
