//! Writes again what was written.
//!
//! Partitions count each for itself, so their writes go beside each other, in [lanes](Lane). What is about more
//! than one partition waits for all that came before it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use azure_core::http::StatusCode;
use bytes::Bytes;
use tokio::{
    sync::mpsc::{self, Sender},
    task::{JoinSet, spawn_blocking},
};

use super::{
    Folder,
    condense::{self, Needed, Survey},
    lane::{Lane, Write},
    records::Change,
};
use crate::{
    cosmos::{
        account::Account,
        changes::ItemKey,
        engine::Answer,
        partitions::Partitions,
        target::{ContainerName, Target},
    },
    state::DataError,
};

/// Records that are read ahead, and writes that a lane may be behind.
const AHEAD: usize = 64;

/// Gives an empty account what is kept in the folder, and keeps there what it gets from then on.
pub(in crate::cosmos) async fn restore(account: &Arc<Account>, folder: &Folder) -> Result<(), DataError> {
    restore_condensed(account, folder, condense::SMALL).await
}

/// A log of `small` bytes or more is condensed, now and whenever it is twice as long.
pub(super) async fn restore_condensed(account: &Arc<Account>, folder: &Folder, small: u64) -> Result<(), DataError> {
    let mut survey = Survey::default();
    let mut recovered = folder.recover("cosmos", |record| survey.add(record))?;
    let mut needed = survey.needed();
    if recovered.written().length() >= small && !needed.is_hardly_less() {
        recovered = recovered.condensed(|log, sink| needed.write(log, sink))?;
        needed = Needed::default();
    }
    let log = recovered.written();
    let (sender, mut changes) = mpsc::channel(AHEAD);
    let reading = spawn_blocking(move || {
        // An error of a write is told by who reads the other end.
        let gone = |_| "the replay has ended".to_owned();
        needed.read(&log, |change, text| sender.blocking_send((change, text)).map_err(gone))
    });
    account.keeper.replaying.store(true, Ordering::Relaxed);
    let mut replay = Replay::new(account);
    let damaged = |what| DataError::Damaged {
        path: recovered.path().to_owned(),
        at: 0,
        what,
    };
    while let Some((change, text)) = changes.recv().await {
        replay.change(change, text).await.map_err(damaged)?;
    }
    replay.finish_lanes().await.map_err(damaged)?;
    if let Ok(read) = reading.await {
        read?;
    }
    account.keeper.keeps.store(true, Ordering::Relaxed);
    for container in account.containers.all() {
        container.write().await.pending = account.keeper.pending();
    }
    account.keeper.replaying.store(false, Ordering::Relaxed);
    recovered.start_condensing(&account.keeper.journal, small, Arc::new(condense::condense))
}

struct Replay<'a> {
    account: &'a Arc<Account>,
    lanes: HashMap<(ContainerName, u32), Sender<(Write, Bytes)>>,
    running: JoinSet<Result<(), String>>,
}

impl<'a> Replay<'a> {
    fn new(account: &'a Arc<Account>) -> Self {
        Self {
            account,
            lanes: HashMap::new(),
            running: JoinSet::new(),
        }
    }

    async fn change(&mut self, change: Change, mut text: Bytes) -> Result<(), String> {
        match change {
            Change::Metadata(raw) => {
                self.finish_lanes().await?;
                let request = raw.request(self.account.endpoint(), text)?;
                let target = Target::of(&request);
                // A deletion that came between may have made it pointless.
                self.account.execute(request, target).await;
                Ok(())
            }
            Change::Items {
                database,
                container,
                entries,
            } => {
                let name = ContainerName { database, container };
                for entry in entries {
                    let text = text.split_to(entry.length());
                    match entry.into_write() {
                        Ok((partition, write)) => self.write(&name, partition, (write, text)).await?,
                        Err(raw) => {
                            self.finish_lanes().await?;
                            let request = raw.request(self.account.endpoint(), text)?;
                            let target = Target::of(&request);
                            check(&self.account.execute(request, target).await, "of a batch")?;
                        }
                    }
                }
                Ok(())
            }
            Change::Partitions {
                database,
                container,
                partitions,
                order,
            } => {
                self.finish_lanes().await?;
                let all = Partitions::new(Arc::clone(self.account));
                match partitions[..] {
                    [one] => all.split(&database, &container, one).await.map(drop),
                    [first, second] => {
                        let order: Option<Vec<_>> = order.iter().map(|(pk, id)| ItemKey::new(pk, id)).collect();
                        let order = order.ok_or("a partition key is not JSON")?;
                        let merged = all.merge_in_order(&database, &container, [first, second], &order).await;
                        merged.map(drop)
                    }
                    _ => Err("a split has one partition, a merge two".to_owned()),
                }
            }
        }
    }

    /// Gives a write to the lane of its partition.
    async fn write(&mut self, name: &ContainerName, partition: u32, write: (Write, Bytes)) -> Result<(), String> {
        let key = (name.clone(), partition);
        let lane = match self.lanes.get(&key) {
            Some(lane) => lane,
            None => match Lane::new(self.account, name, partition).await {
                // Deleted later.
                None => return Ok(()),
                Some(lane) => {
                    let (sender, writes) = mpsc::channel(AHEAD);
                    self.running.spawn(lane.run(writes));
                    self.lanes.entry(key).or_insert(sender)
                }
            },
        };
        if lane.send(write).await.is_err() {
            // It has failed, and says why.
            self.finish_lanes().await?;
        }
        Ok(())
    }

    /// Waits until all writes are done.
    async fn finish_lanes(&mut self) -> Result<(), String> {
        self.lanes.clear();
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

pub(super) fn check(answer: &Answer, what: &str) -> Result<(), String> {
    if answer.status.is_success() || answer.status == StatusCode::NotFound {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.body);
    Err(format!("item {what} can't be written again: {said}"))
}
