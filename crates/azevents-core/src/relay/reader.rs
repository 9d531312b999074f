//! A range's pages, message by message into the lanes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lag::{Page, UNKNOWN};
use super::parked::ParkedStreams;
use crate::error::Result;
use crate::event::Commit;
use crate::feed::{Continuation, FeedPage, FeedRange};
use crate::lanes::Lanes;
use crate::leasing::{Completion, Ticket};
use crate::message::Message;

/// A message on its way, the page that waits for it, and its share of the memory.
pub(super) struct Item {
    pub(super) message: Message,
    pub(super) ticket: Ticket,
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) range: FeedRange,
    pub(super) completion: Arc<Completion<Page>>,
    pub(super) parked: Arc<ParkedStreams>,
    /// Commits behind the last page.
    pub(super) behind: Arc<AtomicU64>,
    /// Bytes of messages that may yet be in flight.
    pub(super) room: Arc<Semaphore>,
    pub(super) give_back: CancellationToken,
}

impl Reader {
    /// Reads on after `after` until told to give the range back. Ending closes the lanes.
    pub(super) async fn run(self, mut after: Option<Continuation>, lanes: Lanes<Item>) -> Result<()> {
        let options = &self.shared.options;
        let mut listener = self.shared.nudge.listen();
        let mut failures = options.retry.delays();
        let shortest = options.poll_interval / 100;
        let mut pause = shortest;
        loop {
            let page = tokio::select! {
                () = self.give_back.cancelled() => return Ok(()),
                page = self.shared.feed.next(&self.range, after.as_ref()) => page,
            };
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    let wait = error
                        .retry_after()
                        .or_else(|| failures.next())
                        .unwrap_or(options.poll_interval);
                    self.shared.tolerate(error)?;
                    tokio::select! {
                        () = self.give_back.cancelled() => return Ok(()),
                        () = tokio::time::sleep(wait) => {}
                    }
                    continue;
                }
            };
            failures = options.retry.delays();
            self.behind.store(page.behind.unwrap_or(UNKNOWN), Ordering::Relaxed);
            let idle = page.commits.is_empty();
            let next = page.continuation.clone();
            if next.is_some() && next != after {
                if !self.hand_on(page, &lanes).await {
                    return Ok(());
                }
                after = next;
            }
            if !idle {
                pause = shortest;
                continue;
            }
            tokio::select! {
                () = self.give_back.cancelled() => return Ok(()),
                () = listener.rung() => pause = shortest,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(options.poll_interval),
            }
        }
    }

    /// Queues a page's messages. `false` if there is nobody to queue them for.
    async fn hand_on(&self, page: FeedPage, lanes: &Lanes<Item>) -> bool {
        let FeedPage {
            commits, continuation, ..
        } = page;
        let Some(continuation) = continuation else { return true };
        let oldest = commits.iter().map(|commit| commit.committed_at).min();
        let selection = &self.shared.options.selection;
        let messages: Vec<_> = commits
            .iter()
            .filter(|commit| selection.takes_stream(&commit.stream))
            .flat_map(Commit::messages)
            .filter(|message| selection.takes_type(&message.event_type))
            .collect();
        drop(commits);
        let position = Page::new(continuation, oldest, self.parked.clone());
        let ticket = self.completion.begin(position, messages.len() as u64);
        for message in messages {
            // Stopping does not wait for a broker that is away.
            let queued = tokio::select! {
                () = self.give_back.cancelled() => false,
                queued = self.queue(message, ticket, lanes) => queued,
            };
            if !queued {
                return false;
            }
        }
        true
    }

    /// Queues one message as soon as there is room. `false` when the lanes are gone: their own error ends
    /// the range.
    async fn queue(&self, message: Message, ticket: Ticket, lanes: &Lanes<Item>) -> bool {
        // One that is larger than all the room goes alone.
        let size = (message.size().max(1) as u64).min(u64::from(self.shared.options.bytes_in_flight)) as u32;
        let Ok(room) = self.room.clone().acquire_many_owned(size).await else {
            return false;
        };
        let key = message.key.clone();
        let item = Item { message, ticket, room };
        lanes.send(&key, item).await.is_ok()
    }
}
