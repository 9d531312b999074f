//! What a worker knows of its partition's documents: their content and etags as last seen. Etags make
//! it safe to be wrong: a write over something newer fails, and the document is read again.

use std::collections::{HashMap, HashSet};

use azure_core::http::Etag;
use serde_json::Value;

/// Most documents kept from one batch to the next.
const MAX_DOCUMENTS: usize = 1000;
/// Most bytes kept from one batch to the next, counted as JSON text.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A document that exists.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) content: Value,
    pub(super) etag: Etag,
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    /// By stored id; `None` is a document that is known not to exist.
    documents: HashMap<String, Option<Known>>,
    bytes: usize,
}

impl Cache {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.documents.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Known> {
        self.documents.get(id)?.as_ref()
    }

    pub(super) fn insert(&mut self, id: String, known: Option<Known>) {
        self.bytes += size(known.as_ref());
        let before = self.documents.insert(id, known);
        self.bytes -= before.as_ref().map_or(0, |before| size(before.as_ref()));
    }

    pub(super) fn forget(&mut self, id: &str) {
        let before = self.documents.remove(id);
        self.bytes -= before.as_ref().map_or(0, |before| size(before.as_ref()));
    }

    /// Keeps what the last batch used, and the rest only while there is room for all of it.
    pub(super) fn shrink(&mut self, used: &HashSet<&str>) {
        if self.documents.len() > MAX_DOCUMENTS || self.bytes > MAX_BYTES {
            self.documents.retain(|id, _| used.contains(id.as_str()));
            self.bytes = self.documents.values().map(|known| size(known.as_ref())).sum();
        }
    }
}

fn size(known: Option<&Known>) -> usize {
    known.map_or(0, |known| known.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: usize) -> Known {
        Known {
            content: Value::Null,
            etag: Etag::from("1"),
            bytes,
        }
    }

    #[test]
    fn the_cache_stays_within_its_bounds_and_keeps_what_was_just_used() {
        let mut cache = Cache::default();
        for n in 0..=MAX_DOCUMENTS {
            cache.insert(n.to_string(), Some(known(10)));
        }
        cache.shrink(&HashSet::from(["7"]));
        assert!(cache.contains("7") && !cache.contains("8"));
        assert_eq!(cache.bytes, 10);

        cache.insert("large".into(), Some(known(MAX_BYTES)));
        cache.insert("large".into(), Some(known(MAX_BYTES)));
        cache.shrink(&HashSet::from(["7"]));
        assert!(!cache.contains("large"));
        cache.forget("7");
        assert_eq!(cache.bytes, 0);
    }
}
