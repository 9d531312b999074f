//! One feed range: a reader, the lanes that publish, and a keeper of the lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::progress::Progress;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::event::Commit;
use crate::feed::{FeedPage, Lease};
use crate::lanes::Lanes;
use crate::message::Message;
use crate::publisher::PublishError;
use crate::retry::RetryPolicy;

pub(super) struct RangeRelay {
    shared: Arc<Shared>,
    lease: Lease,
    progress: Arc<Progress>,
}

/// A message and the page that waits for it.
struct Item {
    message: Message,
    page: u64,
}

impl RangeRelay {
    pub(super) fn new(shared: Arc<Shared>, lease: Lease) -> Self {
        let events = lease.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.events);
        Self {
            shared,
            lease,
            progress: Arc::new(Progress::after(events)),
        }
    }

    /// Relays until `stop`, or until the lease is lost.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let shared = self.shared.clone();
        let options = &shared.options;
        let (lanes, ends) = Lanes::new(options.lanes, options.lane_capacity);
        // The set aborts reader and lanes when this future is dropped or returns early.
        let mut tasks = JoinSet::new();
        for end in ends {
            tasks.spawn(publish_lane(shared.clone(), self.progress.clone(), end, stop.clone()));
        }
        tasks.spawn(read(
            shared.clone(),
            self.progress.clone(),
            self.lease.clone(),
            lanes,
            stop,
        ));

        let mut record = tokio::time::interval(options.checkpoint_interval);
        record.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(result)) => result?,
                    Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                    // Reader stopped, lanes drained: a graceful end.
                    None => break,
                },
                _ = record.tick() => self.keep(&mut renewed).await?,
            }
        }
        if let Some(checkpoint) = self.progress.advance() {
            self.lease = self
                .shared
                .leases
                .renew(&self.lease, Some(&checkpoint), options.lease_duration)
                .await?;
        }
        self.shared.leases.release(&self.lease).await
    }

    /// Records progress, and renews the lease in time where there is none.
    async fn keep(&mut self, renewed: &mut tokio::time::Instant) -> Result<()> {
        let duration = self.shared.options.lease_duration;
        let checkpoint = self.progress.advance();
        if checkpoint.is_none() && renewed.elapsed() < duration / 3 {
            return Ok(());
        }
        // A checkpoint that could not be written must not be forgotten, so this is repeated until it is,
        // or until somebody else has the lease.
        let mut delays = RetryPolicy::forever().with_cap(duration / 6).delays();
        loop {
            match self
                .shared
                .leases
                .renew(&self.lease, checkpoint.as_ref(), duration)
                .await
            {
                Ok(lease) => {
                    self.lease = lease;
                    *renewed = tokio::time::Instant::now();
                    return Ok(());
                }
                Err(error) => self.shared.tolerate(error)?,
            }
            tokio::time::sleep(delays.next().unwrap_or(duration)).await;
        }
    }
}

/// Reads pages and queues their messages; ends when told to stop, which closes the lanes.
async fn read(
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    lease: Lease,
    lanes: Lanes<Item>,
    stop: CancellationToken,
) -> Result<()> {
    let mut listener = shared.nudge.listen();
    let mut after = lease.checkpoint.map(|checkpoint| checkpoint.continuation);
    let mut failures = shared.options.retry.delays();
    let shortest = shared.options.poll_interval / 100;
    let mut pause = shortest;
    loop {
        let page = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            page = shared.feed.next(&lease.range, after.as_ref()) => page,
        };
        let FeedPage { commits, continuation } = match page {
            Ok(page) => page,
            Err(error) => {
                let wait = error
                    .retry_after()
                    .or_else(|| failures.next())
                    .unwrap_or(shared.options.poll_interval);
                shared.tolerate(error)?;
                tokio::time::sleep(wait).await;
                continue;
            }
        };
        failures = shared.options.retry.delays();
        let idle = commits.is_empty();
        if let Some(continuation) = continuation {
            let events: usize = commits.iter().map(Commit::message_count).sum();
            if after.as_ref() != Some(&continuation) {
                let page = progress.open(continuation.clone(), events as u64);
                for message in commits.iter().flat_map(Commit::messages) {
                    let key = message.key.clone();
                    let item = Item { message, page };
                    // Refused only when the lanes are gone: their own error ends the range.
                    tokio::select! {
                        // Stopping does not wait for a broker that is away.
                        () = stop.cancelled() => return Ok(()),
                        sent = lanes.send(&key, item) => if sent.is_err() { return Ok(()) },
                    }
                }
                after = Some(continuation);
            }
        }
        if !idle {
            pause = shortest;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = listener.rung() => pause = shortest,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(shared.options.poll_interval),
        }
    }
}

/// Publishes what comes down one lane, as many messages at a time as wait there.
///
/// After `stop` it still publishes what is queued, but no longer waits for a broker that is away.
async fn publish_lane(
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    mut lane: mpsc::Receiver<Item>,
    stop: CancellationToken,
) -> Result<()> {
    let mut items = Vec::new();
    while lane.recv_many(&mut items, shared.options.batch).await > 0 {
        let (messages, pages): (Vec<_>, Vec<_>) = items.drain(..).map(|item| (item.message, item.page)).unzip();
        let mut done = 0;
        let mut delays = shared.options.retry.delays();
        while done < messages.len() {
            let accepted = match shared.publisher.publish(&messages[done..]).await {
                Ok(()) => messages.len() - done,
                Err(PublishError { accepted, error }) => {
                    let accepted = accepted.min(messages.len() - done);
                    if accepted > 0 {
                        delays = shared.options.retry.delays();
                    }
                    if error.is_transient() {
                        let wait = error
                            .retry_after()
                            .or_else(|| delays.next())
                            .unwrap_or(Duration::from_secs(1));
                        tracing::warn!(
                            relay = shared.name,
                            ?wait,
                            error = chain(&error),
                            "publish failed, trying again"
                        );
                        tokio::select! {
                            () = stop.cancelled() => return Ok(()),
                            () = tokio::time::sleep(wait) => {}
                        }
                        accepted
                    } else {
                        park(&shared, messages.get(done + accepted), error).await?;
                        accepted + 1
                    }
                }
            };
            shared.published.fetch_add(accepted as u64, Ordering::Relaxed);
            for page in &pages[done..(done + accepted).min(pages.len())] {
                progress.finish(*page);
            }
            done += accepted;
        }
    }
    Ok(())
}

/// Sets aside the message that cannot be published. Ends the relay where there is no place for it, or
/// where the message is not to blame: a topic that doesn't exist would have every event set aside.
async fn park(shared: &Shared, message: Option<&Message>, error: Error) -> Result<()> {
    let its_fault = matches!(
        error.kind(),
        ErrorKind::TooLarge | ErrorKind::InvalidInput | ErrorKind::Corrupt
    );
    let (true, Some(message), Some(parking)) = (its_fault, message, &shared.parking) else {
        return Err(error);
    };
    let why = DeadLetter {
        reason: "Unpublishable".into(),
        description: chain(&error),
    };
    let mut delays = shared.options.retry.delays();
    while let Err(error) = parking.set_aside(message, &why).await {
        shared.tolerate(error)?;
        tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
    }
    tracing::error!(relay = shared.name, id = message.id, key = message.key, %why, "event set aside");
    Ok(())
}
