//! Time to live: items that are gone once their time is over, whoever looks first.
//!
//! "Time to Live (TTL) in Azure Cosmos DB": a container says whether items expire at all, and after
//! how many seconds unless they say otherwise themselves; -1 is never. What has expired is not seen
//! by any read from then on. The service deletes it later; here that happens before the next
//! request of the container, which nobody can tell apart.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use serde::Deserialize;

use super::changes::ItemKey;
use crate::clock::Timestamp;

/// A container's `defaultTtl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DefaultTtl {
    /// Nothing expires, whatever items say.
    #[default]
    Off,
    /// Items expire if they say so.
    Never,
    /// Items expire after so long, unless they say otherwise.
    After(Duration),
}

impl DefaultTtl {
    /// From a container's definition.
    pub(super) fn of_container(definition: &serde_json::Value) -> Self {
        match definition.get("defaultTtl").and_then(serde_json::Value::as_i64) {
            Some(seconds @ 1..) => Self::After(Duration::from_secs(seconds.unsigned_abs())),
            Some(-1) => Self::Never,
            _ => Self::Off,
        }
    }

    /// How long an item lives from its last write. `None` for ever.
    fn of_item(self, item: &[u8]) -> Option<Duration> {
        #[derive(Deserialize)]
        struct HasTtl {
            #[serde(default)]
            ttl: serde_json::Value,
        }
        let own = || {
            let item: HasTtl = serde_json::from_slice(item).ok()?;
            item.ttl.as_i64()
        };
        let default = match self {
            Self::Off => return None,
            Self::Never => None,
            Self::After(default) => Some(default),
        };
        match own() {
            None => default,
            Some(seconds @ 1..) => Some(Duration::from_secs(seconds.unsigned_abs())),
            Some(_) => None,
        }
    }
}

/// When which item of a container expires. Those that never do are not in it.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    pub(super) default: DefaultTtl,
    by_time: BTreeSet<(Timestamp, ItemKey)>,
    by_item: HashMap<ItemKey, Timestamp>,
}

impl Expiry {
    pub(super) fn new(default: DefaultTtl) -> Self {
        Self {
            default,
            ..Self::default()
        }
    }

    /// Notes that an item was written.
    pub(super) fn written(&mut self, item: &ItemKey, text: &[u8], at: Timestamp) {
        self.deleted(item);
        if let Some(lives) = self.default.of_item(text) {
            let end = at + lives;
            self.by_time.insert((end, item.clone()));
            self.by_item.insert(item.clone(), end);
        }
    }

    /// Notes that an item is gone.
    pub(super) fn deleted(&mut self, item: &ItemKey) {
        if let Some(end) = self.by_item.remove(item) {
            self.by_time.remove(&(end, item.clone()));
        }
    }

    /// An item whose time is over.
    pub(super) fn due(&self, now: Timestamp) -> Option<ItemKey> {
        self.by_time
            .first()
            .filter(|(end, _)| *end <= now)
            .map(|(_, item)| item.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lives(default_ttl: i64, item: &str) -> Option<u64> {
        let definition = json!({ "defaultTtl": default_ttl });
        DefaultTtl::of_container(&definition)
            .of_item(item.as_bytes())
            .map(|lives| lives.as_secs())
    }

    #[test]
    fn the_container_decides_unless_the_item_does() {
        let cases = [
            (0, "{}", None),
            (0, r#"{"ttl":5}"#, None),
            (-1, "{}", None),
            (-1, r#"{"ttl":5}"#, Some(5)),
            (60, "{}", Some(60)),
            (60, r#"{"ttl":5}"#, Some(5)),
            (60, r#"{"ttl":-1}"#, None),
            (60, r#"{"ttl":null}"#, Some(60)),
            (60, r#"{"ttl":"5"}"#, Some(60)),
        ];
        for (default, item, expected) in cases {
            assert_eq!(lives(default, item), expected, "{default} {item}");
        }
        assert_eq!(DefaultTtl::of_container(&json!({})), DefaultTtl::Off);
    }

    #[test]
    fn a_write_starts_the_time_anew_and_a_delete_ends_it() {
        let mut expiry = Expiry::new(DefaultTtl::After(Duration::from_secs(10)));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let item = ItemKey::new(r#"["s"]"#, "a").unwrap();
        expiry.written(&item, b"{}", at(0));
        assert_eq!(expiry.due(at(9)), None);
        expiry.written(&item, b"{}", at(5));
        assert_eq!(expiry.due(at(10)), None);
        assert_eq!(expiry.due(at(15)), Some(item.clone()));
        expiry.deleted(&item);
        assert_eq!(expiry.due(at(99)), None);
    }
}
