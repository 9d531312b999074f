//! From a queue to batches: what is there, within bounds.

use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::pipeline::BatchLimits;

/// Takes items off a queue several at a time, in their order.
///
/// ```
/// # use azevents_core::BatchLimits;
/// # use azevents_core::gather::Gather;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let queue = futures::stream::iter(["a", "bc", "def", "g"]);
/// let mut gather = Gather::new(queue, BatchLimits::default().with_messages(2).with_bytes(4), |item: &&str| item.len());
/// assert_eq!(gather.next().await, Some(vec!["a", "bc"]));
/// assert_eq!(gather.next().await, Some(vec!["def", "g"]));
/// assert_eq!(gather.next().await, None);
/// # }
/// ```
#[derive(Debug)]
pub struct Gather<S: Stream> {
    queue: S,
    limits: BatchLimits,
    size: fn(&S::Item) -> usize,
    /// Taken off the queue, too much for the last batch.
    ahead: Option<S::Item>,
}

impl<S: Stream + Unpin> Gather<S> {
    /// Batches of `queue` within `limits`, of items that are counted with `size`.
    pub fn new(queue: S, limits: BatchLimits, size: fn(&S::Item) -> usize) -> Self {
        Self {
            queue,
            limits,
            size,
            ahead: None,
        }
    }

    /// The next batch, at least one item; `None` at the queue's end. Dropping it loses what it had taken: for queues
    /// whose items come again when they are not finished.
    pub async fn next(&mut self) -> Option<Vec<S::Item>> {
        let first = match self.ahead.take() {
            Some(item) => item,
            None => self.queue.next().await?,
        };
        let until = Instant::now() + self.limits.linger;
        let mut bytes = (self.size)(&first);
        let mut batch = vec![first];
        while batch.len() < self.limits.messages && bytes < self.limits.bytes {
            let Some(item) = self.more(until).await else { break };
            bytes += (self.size)(&item);
            if bytes > self.limits.bytes {
                self.ahead = Some(item);
                break;
            }
            batch.push(item);
        }
        Some(batch)
    }

    /// The next item, if it comes in time.
    async fn more(&mut self, until: Instant) -> Option<S::Item> {
        if let Some(ready) = self.queue.next().now_or_never() {
            return ready;
        }
        if self.limits.linger.is_zero() {
            return None;
        }
        timeout_at(until, self.queue.next()).await.ok().flatten()
    }
}
