//! What the poller, the rebalance callbacks and the workers of one run share.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use azevents_core::leasing::{Redelivery, Ticket};
use azevents_core::{DeadLetterSink, Pipeline};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::completion::Completion;
use super::options::ConsumerOptions;
use super::worker::{Received, Worker};
use crate::client::Context;

/// What the poller is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Receive and commit.
    Running,
    /// Take nothing new; stay in the group until what runs is finished.
    Draining,
    /// Commit and leave.
    Finished,
    /// Leave without a commit: the run was dropped.
    Crashed,
}

pub(super) struct Session {
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) options: ConsumerOptions,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) parking: Arc<dyn DeadLetterSink>,
    /// Cancelled when no further record is to be begun; running ones are finished.
    pub(super) halt: CancellationToken,
    pub(super) context: Context,
    pub(super) workers: TaskTracker,
    /// The caller's runtime, where handlers run.
    pub(super) runtime: Handle,
    pub(super) phase: AtomicU8,
    pub(super) partitions: Mutex<HashMap<i32, Partition>>,
}

/// A partition that is assigned to this consumer.
pub(super) struct Partition {
    lanes: Vec<mpsc::UnboundedSender<(Ticket, Received)>>,
    hasher: RandomState,
    pub(super) completion: Arc<Completion>,
    lost: CancellationToken,
    pub(super) paused: bool,
}

impl Partition {
    fn start(session: &Arc<Session>, partition: i32) -> Self {
        let completion = Arc::new(Completion::default());
        let lost = CancellationToken::new();
        let lanes = (0..session.options.concurrency)
            .map(|_| {
                // Bounded by pausing the partition, which polling must not wait for.
                let (lane, end) = mpsc::unbounded_channel();
                let worker = Worker {
                    session: session.clone(),
                    partition,
                    completion: completion.clone(),
                    redelivery: Redelivery {
                        pipeline: session.pipeline.clone(),
                        parking: session.parking.clone(),
                        delays: session.options.redelivery,
                        halt: session.halt.clone(),
                        lost: lost.clone(),
                    },
                };
                session.workers.spawn_on(worker.run(end), &session.runtime);
                lane
            })
            .collect();
        Self {
            lanes,
            hasher: RandomState::new(),
            completion,
            lost,
            paused: false,
        }
    }

    /// Queues a record behind all earlier ones of its key.
    fn hand_on(&self, ticket: Ticket, received: Received) {
        let lane = self.hasher.hash_one(&received.message.key) as usize % self.lanes.len();
        // A lane ends before its partition does only when no further record is to be begun.
        let _ = self.lanes[lane].send((ticket, received));
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.lost.cancel();
    }
}

impl Session {
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Draining,
            2 => Phase::Finished,
            _ => Phase::Crashed,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub(super) fn partitions(&self) -> MutexGuard<'_, HashMap<i32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a record to its partition's workers. Says whether the partition now has as many in hand as it
    /// may.
    pub(super) fn hand_on(self: &Arc<Self>, partition: i32, received: Received) -> bool {
        let mut partitions = self.partitions();
        let assigned = partitions
            .entry(partition)
            .or_insert_with(|| Partition::start(self, partition));
        let Some(ticket) = assigned.completion.received(received.offset) else {
            return false;
        };
        assigned.hand_on(ticket, received);
        let full = assigned.completion.in_hand() >= self.options.max_in_hand && !assigned.paused;
        assigned.paused |= full;
        full
    }

    /// What can be committed: of all partitions, or only of those with at least `least` finished records.
    pub(super) fn due(&self, least: usize) -> Option<TopicPartitionList> {
        let mut due = TopicPartitionList::new();
        for (partition, assigned) in self.partitions().iter() {
            if let Some(next) = assigned.completion.take(least) {
                // Only an invalid offset is refused here.
                let _ = due.add_partition_offset(&self.topic, *partition, Offset::Offset(next));
            }
        }
        (due.count() > 0).then_some(due)
    }

    /// A commit failed: its offsets are due again.
    pub(super) fn put_back(&self, offsets: &TopicPartitionList) {
        let partitions = self.partitions();
        for element in offsets.elements() {
            if let Some(assigned) = partitions.get(&element.partition()) {
                assigned.completion.put_back();
            }
        }
    }

    /// Ends the work on partitions at once, and says what of it can be committed.
    pub(super) fn give_up(&self, revoked: &TopicPartitionList) -> TopicPartitionList {
        let mut due = TopicPartitionList::new();
        for element in revoked.elements() {
            let Some(assigned) = self.partitions().remove(&element.partition()) else {
                continue;
            };
            assigned.lost.cancel();
            if let Some(next) = assigned.completion.take(0) {
                let _ = due.add_partition_offset(&self.topic, element.partition(), Offset::Offset(next));
            }
        }
        due
    }
}
