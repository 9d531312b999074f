//! Which items changed, in what order: the latest change of each.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// An item of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cosmos) struct ItemKey {
    /// The partition key as the header `x-ms-documentdb-partitionkey` has it, in compact JSON.
    pub(in crate::cosmos) partition_key: Arc<str>,
    pub(in crate::cosmos) id: Arc<str>,
}

impl ItemKey {
    /// `None` if the partition key is not JSON.
    pub(in crate::cosmos) fn new(partition_key: &str, id: &str) -> Option<Self> {
        // Clients differ in the white space they write.
        let value: serde_json::Value = serde_json::from_str(partition_key).ok()?;
        Some(Self {
            partition_key: value.to_string().into(),
            id: id.into(),
        })
    }
}

/// The changes of one container.
#[derive(Debug, Default)]
pub(in crate::cosmos) struct ChangeLog {
    partitions: HashMap<String, Partition>,
}

/// The changes of one physical partition, which is what log sequence numbers count in.
#[derive(Debug, Default)]
pub(in crate::cosmos) struct Partition {
    by_lsn: BTreeSet<(u64, ItemKey)>,
    by_item: HashMap<ItemKey, u64>,
    last_lsn: u64,
    session_token: String,
}

/// What comes after a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) items: Vec<ItemKey>,
    /// The position behind these items.
    pub(super) lsn: u64,
    /// The session token of the partition's last write; empty before the first.
    pub(super) session_token: String,
}

impl ChangeLog {
    /// Notes that an item was written. Numbers rise with each call for a partition.
    pub(in crate::cosmos) fn written(&mut self, partition: &str, lsn: u64, item: ItemKey, session_token: &str) {
        let Some(partition) = self.reached(partition, lsn, session_token) else {
            return;
        };
        if let Some(earlier) = partition.by_item.insert(item.clone(), lsn) {
            partition.by_lsn.remove(&(earlier, item.clone()));
        }
        partition.by_lsn.insert((lsn, item));
    }

    /// Notes how far a partition has counted.
    pub(in crate::cosmos) fn reached(
        &mut self,
        partition: &str,
        lsn: u64,
        session_token: &str,
    ) -> Option<&mut Partition> {
        if !self.partitions.contains_key(partition) {
            self.partitions.insert(partition.to_owned(), Partition::default());
        }
        let partition = self.partitions.get_mut(partition)?;
        partition.last_lsn = lsn;
        session_token.clone_into(&mut partition.session_token);
        Some(partition)
    }

    /// Every item that is there.
    pub(in crate::cosmos) fn items(&self) -> impl Iterator<Item = &ItemKey> {
        self.partitions.values().flat_map(|partition| partition.by_item.keys())
    }

    /// Notes that an item is gone; the latest-version feed doesn't show that.
    pub(in crate::cosmos) fn deleted(&mut self, item: &ItemKey) {
        for partition in self.partitions.values_mut() {
            if let Some(lsn) = partition.by_item.remove(item) {
                partition.by_lsn.remove(&(lsn, item.clone()));
            }
        }
    }

    /// At least one and, unless more were written in one transaction, at most `limit` items that
    /// were written after `lsn`.
    pub(super) fn after(&self, partition: &str, lsn: u64, limit: usize) -> Changes {
        let Some(partition) = self.partitions.get(partition) else {
            return Changes {
                items: Vec::new(),
                lsn,
                session_token: String::new(),
            };
        };
        let mut changes = Changes {
            items: Vec::new(),
            lsn,
            session_token: partition.session_token.clone(),
        };
        let first = ItemKey {
            partition_key: "".into(),
            id: "".into(),
        };
        for (number, item) in partition.by_lsn.range((lsn + 1, first)..) {
            // A position can't stand between items of one transaction.
            if changes.items.len() >= limit && *number != changes.lsn {
                break;
            }
            changes.items.push(item.clone());
            changes.lsn = *number;
        }
        changes
    }

    /// The position behind everything written so far.
    pub(super) fn end(&self, partition: &str) -> u64 {
        self.partitions.get(partition).map_or(0, |partition| partition.last_lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> ItemKey {
        ItemKey::new(r#"["s"]"#, id).unwrap()
    }

    fn ids(changes: &Changes) -> Vec<&str> {
        changes.items.iter().map(|item| &*item.id).collect()
    }

    #[test]
    fn every_item_comes_once_at_its_latest_change() {
        let mut log = ChangeLog::default();
        for (lsn, id) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            log.written("0", lsn, key(id), "0:4");
        }
        let all = log.after("0", 0, 10);
        assert_eq!((ids(&all), all.lsn), (vec!["b", "a", "c"], 4));
        assert_eq!(ids(&log.after("0", 3, 10)), ["c"]);
        assert!(log.after("0", 4, 10).items.is_empty());
        assert!(log.after("1", 0, 10).items.is_empty(), "partitions have a feed each");
    }

    #[test]
    fn a_page_ends_between_transactions() {
        let mut log = ChangeLog::default();
        for (lsn, id) in [(1, "a"), (2, "b"), (2, "c"), (3, "d")] {
            log.written("0", lsn, key(id), "");
        }
        let page = log.after("0", 0, 2);
        assert_eq!((ids(&page), page.lsn), (vec!["a", "b", "c"], 2));
        assert_eq!(ids(&log.after("0", page.lsn, 2)), ["d"]);
    }

    #[test]
    fn deleted_items_are_not_in_the_latest_version_feed() {
        let mut log = ChangeLog::default();
        log.written("0", 1, key("a"), "");
        log.deleted(&key("a"));
        assert!(log.after("0", 0, 10).items.is_empty());
        assert_eq!(log.end("0"), 1);
    }

    #[test]
    fn white_space_in_a_partition_key_makes_no_difference() {
        assert_eq!(ItemKey::new(r#"[ "s" ]"#, "a"), ItemKey::new(r#"["s"]"#, "a"));
        assert_eq!(ItemKey::new("[", "a"), None);
    }
}
