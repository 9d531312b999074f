//! What of the account outlives the process, where there is a data folder for it.
//!
//! Microsoft's emulator can't be given a state, but it is deterministic: the same writes in the same
//! order give the same items under the same log sequence numbers. So what was written is written down,
//! in that order, and written again at the next start. Conditions of requests have been met then and
//! are left out; a batch is one record, with the writes it consisted of. Partitions count each for itself, so
//! their writes are made beside each other, each partition's in a [lane] of its own.
//!
//! The change feed goes on: positions that clients have are numbers, and [`replay`] sees to it that every item
//! gets the number it had, also where the log has been [condensed](condense) meanwhile. To nobody
//! is shown what isn't written yet: a reader that had seen an item which a kill takes back would skip
//! the one that gets its number afterwards.
//!
//! What is not the same after a restart is what Microsoft's emulator makes up by itself: `_etag`, `_ts` and
//! the `_rid` of items. A conditional write with an etag from before fails with 412, as if somebody
//! else had written, and never succeeds wrongly.

mod condense;
mod lane;
mod records;
mod replay;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use azure_core::http::{Method, Request};
use bytes::Bytes;

pub(super) use self::records::Entry;
use self::records::{Change, Raw};
use super::{
    changes::{ItemKey, Place},
    containers::Write,
    engine::Answer,
    target::ContainerName,
};
use crate::state::{Folder, Journal, NotWritten};

/// The account's journal.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    journal: Journal,
    /// Whether there is a folder.
    keeps: AtomicBool,
    /// Nothing may happen by itself while what was kept is written again.
    replaying: AtomicBool,
}

impl Keeper {
    /// Whether what was kept is being written again: whatever expired has been written down as well.
    pub(super) fn is_replaying(&self) -> bool {
        self.replaying.load(Ordering::Relaxed)
    }

    /// What a new container starts with.
    pub(super) fn pending(&self) -> Pending {
        Pending {
            on: self.keeps.load(Ordering::Relaxed),
            entries: Vec::new(),
        }
    }

    /// Writes down what was done to a container's items. The caller holds the container's lock alone.
    pub(super) fn items(&self, name: &ContainerName, pending: &mut Pending) {
        let pending = std::mem::take(&mut pending.entries);
        if pending.is_empty() || !self.journal.keeps() {
            return;
        }
        let (entries, texts): (Vec<_>, Vec<_>) = pending.into_iter().unzip();
        let change = Change::Items {
            database: name.database.clone(),
            container: name.container.clone(),
            entries,
        };
        self.append(&change, &texts);
    }

    /// Writes down a request that has changed databases, containers or throughput.
    pub(super) fn metadata(&self, request: &Request, answer: &Answer) {
        let reads = matches!(request.method(), Method::Get | Method::Head) || super::target::is_query(request);
        if self.journal.keeps() && answer.status.is_success() && !reads {
            let (raw, body) = Raw::of(request);
            self.append(&Change::Metadata(raw), &[body]);
        }
    }

    /// Writes down that a partition was split.
    pub(super) fn split(&self, database: &str, container: &str, partition: u32) {
        self.partitions(database, container, vec![partition], Vec::new());
    }

    /// Writes down that two partitions were merged, and the order in which their items are numbered now.
    pub(super) fn merged(&self, database: &str, container: &str, partitions: [u32; 2], after: &[Place]) {
        let items = after.iter().map(|place| &place.item);
        let order = items.map(|item| (item.partition_key.to_string(), item.id.to_string()));
        self.partitions(database, container, partitions.to_vec(), order.collect());
    }

    fn partitions(&self, database: &str, container: &str, partitions: Vec<u32>, order: Vec<(String, String)>) {
        let change = Change::Partitions {
            database: database.to_owned(),
            container: container.to_owned(),
            partitions,
            order,
        };
        self.append(&change, &[]);
    }

    fn append(&self, change: &Change, bytes: &[Bytes]) {
        let parts: Vec<&[u8]> = bytes.iter().map(|bytes| &bytes[..]).collect();
        self.journal.append(change, &parts, |_| {});
    }

    /// Waits until everything that was done so far is written.
    pub(super) async fn written(&self) -> Result<(), NotWritten> {
        self.journal.written().await
    }

    /// Lets go of the folder.
    pub(super) async fn close(&self) {
        self.journal.close().await;
    }
}

pub(super) use replay::restore;

/// What was done to a container's items and is not written down yet: entries with the items' texts.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Else nothing is noted.
    on: bool,
    entries: Vec<(Entry, Bytes)>,
}

impl Pending {
    /// Adds a successful write of one item.
    pub(super) fn write(&mut self, write: &Write<'_>, answer: &Answer) {
        if !self.on {
            return;
        }
        let (Some(item), Some((partition, lsn))) = (&write.item, place(answer)) else {
            // Whoever can't say what was written adds the request.
            return;
        };
        let (pk, id) = (item.partition_key.to_string(), item.id.to_string());
        let (entry, text) = if write.method == Method::Delete {
            (Entry::Delete { pk, id, partition, lsn }, Bytes::new())
        } else {
            let text = Bytes::copy_from_slice(write.text);
            let (at, length) = (write.at.as_millis(), text.len());
            let entry = Entry::Put {
                pk,
                id,
                partition,
                lsn,
                at,
                length,
            };
            (entry, text)
        };
        self.entries.push((entry, text));
    }

    /// Adds a request that can't be told as writes of items.
    pub(super) fn request(&mut self, request: &Request) {
        if self.on {
            let (raw, body) = Raw::of(request);
            self.entries.push((Entry::Request(raw), body));
        }
    }

    /// Adds that an item has expired.
    pub(super) fn expired(&mut self, item: &ItemKey, answer: &Answer) {
        if let Some((partition, lsn)) = place(answer).filter(|_| self.on) {
            let (pk, id) = (item.partition_key.to_string(), item.id.to_string());
            self.entries
                .push((Entry::Delete { pk, id, partition, lsn }, Bytes::new()));
        }
    }
}

/// The partition that a write went to, and its number there.
fn place(answer: &Answer) -> Option<(u32, u64)> {
    let number = |name| answer.header(name);
    let partition = number("x-ms-documentdb-partitionkeyrangeid")?.parse().ok()?;
    let lsn = number("x-ms-item-lsn").or(number("lsn"))?.parse().ok()?;
    Some((partition, lsn))
}
