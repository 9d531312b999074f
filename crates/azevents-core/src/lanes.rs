//! Concurrency that keeps order: items with the same key take the same lane, lanes run side by side.

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::sync::mpsc;

/// Hands items to a fixed number of lanes by key. Two keys may share a lane, one key never takes two.
///
/// Each lane is a bounded queue: a full lane makes [`send`](Self::send) wait.
#[derive(Debug)]
pub struct Lanes<T> {
    queues: Vec<mpsc::Sender<T>>,
    hasher: RandomState,
}

impl<T> Lanes<T> {
    /// `count` lanes of `capacity` items, and the ends to read them from. Both at least 1.
    pub fn new(count: usize, capacity: usize) -> (Self, Vec<mpsc::Receiver<T>>) {
        let (queues, ends) = (0..count.max(1)).map(|_| mpsc::channel(capacity.max(1))).unzip();
        (
            Self {
                queues,
                hasher: RandomState::new(),
            },
            ends,
        )
    }

    /// Queues an item behind all earlier ones of its key. `Err` gives it back when the lane's reader is
    /// gone. Cancel-safe: a dropped call has not queued the item.
    pub async fn send(&self, key: &str, item: T) -> Result<(), T> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        let lane = (hasher.finish() % self.queues.len() as u64) as usize;
        self.queues[lane].send(item).await.map_err(|refused| refused.0)
    }
}
