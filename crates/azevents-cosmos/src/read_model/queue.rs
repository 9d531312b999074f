//! Updates waiting per partition, in the order in which they were started, and a worker for each
//! partition that has any.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azevents_core::{Error, Handled, Result, Update};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::marks::mark_id;
use super::worker::Worker;
use super::{Items, Options};

/// How long a worker without updates keeps what it knows of its partition.
const IDLE: Duration = Duration::from_secs(5);

/// An update, and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) update: Update,
    pub(super) mark: String,
    pub(super) nonce: Uuid,
    waiting: oneshot::Sender<Result<Handled>>,
}

impl Job {
    /// Tells whoever waits. Nobody may: then the outcome stands all the same.
    pub(super) fn finish(self, outcome: Result<Handled>) {
        let _ = self.waiting.send(outcome);
    }

    /// Fails with an error that several updates share.
    pub(super) fn fail(self, error: &Error) {
        let mut own = Error::new(error.kind(), "apply update", self.update.key())
            .with_message(azevents_core::error::chain(error));
        if let Some(delay) = error.retry_after() {
            own = own.with_retry_after(delay);
        }
        self.finish(Err(own));
    }

    /// Whether nobody waits any more, so that it need not be done.
    pub(super) fn is_abandoned(&self) -> bool {
        self.waiting.is_closed()
    }
}

/// All waiting updates.
pub(super) struct Queue {
    items: Items,
    options: Options,
    /// A partition is in the map exactly while it has a worker.
    partitions: Mutex<HashMap<String, Waiting>>,
}

struct Waiting {
    jobs: VecDeque<Job>,
    more: Arc<Notify>,
}

impl Queue {
    pub(super) fn new(items: Items, options: Options) -> Self {
        Self {
            items,
            options,
            partitions: Mutex::default(),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Puts an update last in its partition's queue.
    pub(super) fn push(queue: &Arc<Self>, update: Update) -> Result<oneshot::Receiver<Result<Handled>>> {
        let mark = mark_id(update.key())?;
        let (waiting, outcome) = oneshot::channel();
        let partition = update.partition().to_owned();
        let job = Job {
            update,
            mark,
            nonce: Uuid::new_v4(),
            waiting,
        };
        let mut partitions = queue.lock();
        if let Some(waiting) = partitions.get_mut(&partition) {
            waiting.jobs.push_back(job);
            waiting.more.notify_one();
        } else {
            let more = Arc::new(Notify::new());
            partitions.insert(
                partition.clone(),
                Waiting {
                    jobs: VecDeque::from([job]),
                    more: more.clone(),
                },
            );
            let worker = Worker::new(queue.items.clone(), queue.options.clone(), partition);
            tokio::spawn(Self::serve(queue.clone(), worker, more));
        }
        Ok(outcome)
    }

    async fn serve(queue: Arc<Self>, mut worker: Worker, more: Arc<Notify>) {
        // Should the worker panic, those who wait are told, and the next update starts another.
        let _guard = Vacate {
            queue: &queue,
            partition: worker.partition().to_owned(),
        };
        loop {
            // Whoever is about to push as well gets the chance to come along.
            tokio::task::yield_now().await;
            let jobs = queue.take(worker.partition());
            if !jobs.is_empty() {
                worker.apply(jobs).await;
            } else if tokio::time::timeout(IDLE, more.notified()).await.is_err()
                && queue.close_if_empty(worker.partition())
            {
                return;
            }
        }
    }

    fn take(&self, partition: &str) -> VecDeque<Job> {
        self.lock()
            .get_mut(partition)
            .map(|waiting| std::mem::take(&mut waiting.jobs))
            .unwrap_or_default()
    }

    /// Ends a worker's service, unless something came in at the last moment.
    fn close_if_empty(&self, partition: &str) -> bool {
        let mut partitions = self.lock();
        let empty = partitions.get(partition).is_none_or(|waiting| waiting.jobs.is_empty());
        if empty {
            partitions.remove(partition);
        }
        empty
    }

    // Nothing that holds the lock can panic halfway through a change.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the partition when its worker ends in whatever way.
struct Vacate<'a> {
    queue: &'a Queue,
    partition: String,
}

impl Drop for Vacate<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queue.lock().remove(&self.partition);
        }
    }
}
