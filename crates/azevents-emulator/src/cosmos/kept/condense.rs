//! Leaves out of a log what was written over or deleted since.
//!
//! Numbers stay: each item is written again under its own, and between them there may be gaps. The last write
//! of a partition stays too, whatever has become of it, because the next number follows from it.
//!
//! The log is read twice, first to see which writes are needed, and then for these: of what is in it, only the
//! keys are held in memory.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};

use super::records::{Change, Entry};
use crate::{
    cosmos::target::Target,
    state::{DataError, Record, Sink, Written},
};

/// A log shorter than this stays as it is.
pub(super) const SMALL: u64 = 4 * 1024 * 1024;

type Container = (String, String);

/// Writes what is needed of a log. `false`, and nothing, where that is hardly less.
pub(super) fn condense(log: &Written, sink: &mut Sink) -> Result<bool, DataError> {
    let mut survey = Survey::default();
    log.read(|record| survey.add(record))?;
    let needed = survey.needed();
    if needed.is_hardly_less() {
        return Ok(false);
    }
    needed.write(log, sink).map(|()| true)
}

/// Which writes of a log can't be left out, by their positions among all of them.
#[derive(Default)]
pub(super) struct Needed {
    /// `None` for all.
    positions: Option<HashSet<usize>>,
    /// About what they have in bytes, with everything else that stays.
    size: usize,
    size_of_all: usize,
}

impl Needed {
    pub(super) fn is_hardly_less(&self) -> bool {
        self.size > self.size_of_all / 4 * 3
    }

    /// Writes what is needed of the log.
    pub(super) fn write(&self, log: &Written, sink: &mut Sink) -> Result<(), DataError> {
        self.read(log, |change, text| {
            sink.record(&change, &[&text[..]]);
            Ok(())
        })
    }

    /// Reads what is needed of the log.
    pub(super) fn read(
        &self,
        log: &Written,
        mut each: impl FnMut(Change, Bytes) -> Result<(), String>,
    ) -> Result<(), DataError> {
        let mut position = 0;
        log.read(|record| match self.of_record(record, &mut position)? {
            Some((change, text)) => each(change, text),
            None => Ok(()),
        })
    }

    fn of_record(&self, record: Record<'_>, position: &mut usize) -> Result<Option<(Change, Bytes)>, String> {
        let change = record.read::<Change>()?;
        let Change::Items {
            database,
            container,
            entries,
        } = change
        else {
            return Ok(Some((change, Bytes::copy_from_slice(record.bytes))));
        };
        let mut rest = record.bytes;
        let (mut chosen, mut texts) = (Vec::new(), BytesMut::new());
        for entry in entries {
            let Some((text, others)) = rest.split_at_checked(entry.length()) else {
                return Err("an item is cut short".to_owned());
            };
            rest = others;
            if self.positions.as_ref().is_none_or(|needed| needed.contains(position)) {
                chosen.push(entry);
                texts.extend_from_slice(text);
            }
            *position += 1;
        }
        let entries = chosen;
        Ok((!entries.is_empty()).then(|| {
            let change = Change::Items {
                database,
                container,
                entries,
            };
            (change, texts.freeze())
        }))
    }
}

/// What is known of a log so far.
#[derive(Default)]
pub(super) struct Survey {
    containers: HashMap<Container, Entries>,
    /// Of each entry, about what it has in bytes.
    sizes: Vec<usize>,
    /// Of what stays in any case.
    others: usize,
}

impl Survey {
    pub(super) fn add(&mut self, record: Record<'_>) -> Result<(), String> {
        match record.read()? {
            // What comes to be under the same name afterwards is another container.
            Change::Metadata(raw) => {
                self.others += 100 + record.bytes.len();
                match raw.target() {
                    Some(Target::DeleteDatabase(database)) => {
                        self.containers.retain(|(known, _), _| *known != database);
                    }
                    Some(Target::DeleteContainer(name)) => {
                        self.containers.remove(&(name.database, name.container));
                    }
                    _ => {}
                }
            }
            Change::Partitions {
                database, container, ..
            } => {
                self.others += 100;
                // Where a partition is split depends on what is in it.
                self.containers.entry((database, container)).or_default().all = true;
            }
            Change::Items {
                database,
                container,
                entries,
            } => {
                let known = self.containers.entry((database, container)).or_default();
                for entry in entries {
                    let size = 100 + entry.length();
                    known.add(self.sizes.len(), entry);
                    self.sizes.push(size);
                }
            }
        }
        Ok(())
    }

    pub(super) fn needed(self) -> Needed {
        let positions: HashSet<usize> = self.containers.into_values().flat_map(Entries::needed).collect();
        Needed {
            size: self.others + positions.iter().map(|position| self.sizes[*position]).sum::<usize>(),
            size_of_all: self.others + self.sizes.iter().sum::<usize>(),
            positions: Some(positions),
        }
    }
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
    fn add(&mut self, position: usize, entry: Entry) {
        self.seen.push(position);
        match entry {
            Entry::Put { pk, id, partition, .. } => {
                self.items.insert((pk, id), position);
                self.last.insert(partition, (position, None));
            }
            Entry::Delete { pk, id, partition, .. } => {
                let written = self.items.remove(&(pk, id));
                self.last.insert(partition, (position, written));
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
