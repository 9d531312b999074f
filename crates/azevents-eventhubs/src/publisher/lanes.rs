//! All lanes of a publisher: which of them a message takes, and how they come to an end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use azevents_core::{Error, ErrorKind, Message, Result};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::Target;
use super::connection::Connection;
use super::entry::Entry;
use super::lane::Lane;
use super::options::Placement;
use super::partition_hash::partition_of;
use super::sender::Sender;
use crate::namespace::within;

/// So many bytes of one call go to a partition before the next one's turn, where no key says where to. Fewer make small
/// batches, and what a batch costs is mostly the same for any size; more leave the other lanes idle.
const RUN_BYTES: usize = 256 << 10;

/// Where events go that no key places: to one partition, until a run is full.
#[derive(Debug, Default)]
pub(super) struct Run {
    place: usize,
    left: usize,
}

/// The lanes, running.
#[derive(Debug)]
pub(super) struct Lanes {
    placement: Placement,
    /// Gone when the publisher is closed.
    queues: RwLock<Option<Vec<mpsc::UnboundedSender<Entry>>>>,
    hurry: Vec<Arc<Notify>>,
    turn: AtomicUsize,
    connections: Vec<Arc<Connection>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Lanes {
    /// Asks for the hub's partitions where the placement needs them, and starts a lane for each. To be
    /// called on the SDK's runtime.
    pub(super) async fn start(target: Arc<Target>) -> Result<Self> {
        let options = &target.options;
        let connections: Vec<_> = (0..options.connections.max(1))
            .map(|_| Connection::new(target.clone()))
            .collect();
        let links = match &options.placement {
            Placement::ServiceKey => vec![None; connections.len()],
            placement => {
                let partitions = partitions(&target, &connections[0]).await?;
                let chosen = match placement {
                    Placement::Partition(id) if partitions.contains(id) => vec![id.clone()],
                    Placement::Partition(id) => {
                        return Err(Error::new(ErrorKind::NotFound, "publish", &target.hub)
                            .with_message(format!("there is no partition {id}, only {}", partitions.join(", "))));
                    }
                    _ => partitions,
                };
                chosen.into_iter().map(Some).collect()
            }
        };
        let mut lanes = Self {
            placement: options.placement.clone(),
            queues: RwLock::new(None),
            hurry: links.iter().map(|_| Arc::default()).collect(),
            turn: AtomicUsize::new(0),
            connections,
            tasks: Mutex::default(),
        };
        let (queues, tasks) = links
            .into_iter()
            .enumerate()
            .map(|(place, link)| lanes.lane(&target, place, link))
            .unzip();
        lanes.queues = RwLock::new(Some(queues));
        lanes.tasks = Mutex::new(tasks);
        Ok(lanes)
    }

    fn lane(
        &self,
        target: &Arc<Target>,
        place: usize,
        partition: Option<String>,
    ) -> (mpsc::UnboundedSender<Entry>, JoinHandle<()>) {
        let (sender, queue) = mpsc::unbounded_channel();
        let lane = Lane {
            target: target.clone(),
            queue,
            hurry: self.hurry[place].clone(),
            sender: Sender {
                target: target.clone(),
                connection: self.connections[place % self.connections.len()].clone(),
                one_key: partition.is_none(),
                partition,
            },
            waiting: Default::default(),
        };
        (sender, target.hubs.runtime().spawn(lane.run()))
    }

    /// Hands a message to its lane, or gives it back when the publisher is closed. `run` is that of its call.
    pub(super) fn push(&self, entry: Entry, run: &mut Run) -> Option<Entry> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        match &*queues {
            Some(queues) => queues[self.place_of(&entry.message, queues.len(), run)]
                .send(entry)
                .err()
                .map(|refused| refused.0),
            None => Some(entry),
        }
    }

    fn place_of(&self, message: &Message, count: usize, run: &mut Run) -> usize {
        match self.placement {
            Placement::Key | Placement::ServiceKey if !message.key.is_empty() => partition_of(&message.key, count),
            _ => {
                let bytes = message.size();
                if run.left < bytes {
                    run.place = self.turn.fetch_add(1, Ordering::Relaxed) % count;
                    run.left = RUN_BYTES;
                }
                run.left = run.left.saturating_sub(bytes);
                run.place
            }
        }
    }

    /// Ends all lingering.
    pub(super) fn hurry(&self) {
        for lane in &self.hurry {
            lane.notify_one();
        }
    }

    /// Takes no more, sends what was accepted, closes the connections.
    pub(super) async fn close(&self) {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).take();
        self.hurry();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A lane that panicked has dropped its messages, of which their calls have heard.
            let _ = task.await;
        }
        for connection in &self.connections {
            connection.close().await;
        }
    }
}

/// The ids of the hub's partitions, in the service's order, which the placement counts by.
async fn partitions(target: &Target, connection: &Connection) -> Result<Vec<String>> {
    let mut delays = target.options.retry.delays();
    loop {
        let error = match connection.client().await {
            Err(error) => error,
            Ok(client) => {
                let asking = client.get_eventhub_properties();
                match within("publish", &target.hub, target.options.send_timeout, asking).await {
                    Ok(properties) => return Ok(properties.partition_ids),
                    Err(error) => {
                        connection.broken(&client).await;
                        error
                    }
                }
            }
        };
        match delays.next() {
            Some(delay) if error.is_transient() => {
                tokio::time::sleep(error.retry_after().map_or(delay, |asked| asked.max(delay))).await;
            }
            _ => return Err(error),
        }
    }
}
