//! Leaves out of a log what was written over or deleted since.
//!
//! Numbers stay: those of writes that are left out are made up for when the next item of their
//! partition is written again, which is written until it has its own.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};

use super::records::{Change, Entry};
use crate::cosmos::target::Target;

/// A log shorter than this stays as it is.
pub(super) const SMALL: usize = 4 * 1024 * 1024;

type Container = (String, String);

/// Condenses a log that has about `small` bytes or more. Returns whether it is half as long now.
pub(super) fn condense(small: usize, log: &mut Vec<(Change, Bytes)>) -> bool {
    let before = size(log);
    if before < small {
        return false;
    }
    let needed = needed(log);
    let mut position = 0;
    let mut kept = Vec::with_capacity(log.len());
    for (change, bytes) in log.iter() {
        let Change::Items {
            database,
            container,
            entries,
        } = change
        else {
            continue;
        };
        let mut rest = bytes.clone();
        let (mut chosen, mut texts) = (Vec::new(), BytesMut::new());
        for entry in entries {
            let text = rest.split_to(entry.length().min(rest.len()));
            if needed.contains(&position) {
                chosen.push(entry.clone());
                texts.extend_from_slice(&text);
            }
            position += 1;
        }
        let change = Change::Items {
            database: database.clone(),
            container: container.clone(),
            entries: chosen,
        };
        kept.push((change, texts.freeze()));
    }
    let mut items = kept.into_iter();
    let mut shorter: Vec<(Change, Bytes)> = Vec::with_capacity(log.len());
    for (change, bytes) in std::mem::take(log) {
        match change {
            Change::Items { .. } => shorter.extend(items.next()),
            other => shorter.push((other, bytes)),
        }
    }
    shorter.retain(|(change, _)| !matches!(change, Change::Items { entries, .. } if entries.is_empty()));
    let condensed = size(&shorter) <= before / 2;
    *log = shorter;
    condensed
}

/// About what it has in bytes.
fn size(log: &[(Change, Bytes)]) -> usize {
    let entries = |change: &Change| match change {
        Change::Items { entries, .. } => entries.len(),
        Change::Metadata(_) | Change::Partitions { .. } => 1,
    };
    log.iter()
        .map(|(change, bytes)| bytes.len() + 100 * entries(change))
        .sum()
}

/// Positions, among all entries, of those that can't be left out.
fn needed(log: &[(Change, Bytes)]) -> HashSet<usize> {
    let mut all: HashMap<Container, Entries> = HashMap::new();
    let mut position = 0;
    for (change, _) in log {
        match change {
            // What comes to be under the same name afterwards is another container.
            Change::Metadata(raw) => match raw.target() {
                Some(Target::DeleteDatabase(database)) => all.retain(|(known, _), _| *known != database),
                Some(Target::DeleteContainer(name)) => {
                    all.remove(&(name.database, name.container));
                }
                _ => {}
            },
            Change::Partitions {
                database, container, ..
            } => {
                // Where a partition is split depends on what is in it.
                let entries = all.entry((database.clone(), container.clone())).or_default();
                entries.all = true;
            }
            Change::Items {
                database,
                container,
                entries,
            } => {
                let known = all.entry((database.clone(), container.clone())).or_default();
                for entry in entries {
                    known.add(position, entry);
                    position += 1;
                }
            }
        }
    }
    all.into_values().flat_map(Entries::needed).collect()
}

/// The entries of one container.
#[derive(Default)]
struct Entries {
    /// The last write of each item that is there.
    items: HashMap<(String, String), usize>,
    /// The last write of each partition: where it is, and the write of the item that it deletes.
    last: HashMap<u32, (usize, Option<usize>)>,
    seen: Vec<usize>,
    /// None can be left out.
    all: bool,
}

impl Entries {
    fn add(&mut self, position: usize, entry: &Entry) {
        self.seen.push(position);
        match entry {
            Entry::Put { pk, id, partition, .. } => {
                self.items.insert((pk.clone(), id.clone()), position);
                self.last.insert(*partition, (position, None));
            }
            Entry::Delete { pk, id, partition, .. } => {
                let written = self.items.remove(&(pk.clone(), id.clone()));
                self.last.insert(*partition, (position, written));
            }
            // What it was about is not known.
            Entry::Request(_) => self.all = true,
        }
    }

    fn needed(self) -> Vec<usize> {
        if self.all {
            return self.seen;
        }
        let last = self.last.into_values();
        let last = last.flat_map(|(position, written)| written.into_iter().chain([position]));
        self.items.into_values().chain(last).collect()
    }
}
