//! Which values of an item are indexed, because each of them is paid for when it is written.

use serde::Deserialize;
use serde_json::Value;

/// A container's indexing policy, as far as it decides what is indexed.
///
/// "Indexing policies in Azure Cosmos DB": a path ends in `/?` for one value or `/*` for all below
/// it, `[]` stands for any element of an array, and of two paths the more precise one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cosmos) struct IndexingPolicy {
    paths: Vec<Path>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    segments: Vec<String>,
    /// Whether it covers what is below it, too.
    below: bool,
    included: bool,
}

/// What a container has unless it says otherwise: everything is indexed.
impl Default for IndexingPolicy {
    fn default() -> Self {
        Self {
            paths: vec![Path::new("/*", true)],
        }
    }
}

impl IndexingPolicy {
    /// From a container's definition.
    pub(in crate::cosmos) fn of_container(definition: &Value) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Policy {
            indexing_mode: String,
            included_paths: Option<Vec<PathEntry>>,
            excluded_paths: Vec<PathEntry>,
        }
        #[derive(Deserialize)]
        struct PathEntry {
            path: String,
        }
        impl Default for Policy {
            fn default() -> Self {
                Self {
                    indexing_mode: "consistent".to_owned(),
                    included_paths: None,
                    excluded_paths: Vec::new(),
                }
            }
        }
        let Some(policy) = definition
            .get("indexingPolicy")
            .and_then(|p| Policy::deserialize(p).ok())
        else {
            return Self::default();
        };
        if policy.indexing_mode.eq_ignore_ascii_case("none") {
            return Self { paths: Vec::new() };
        }
        let mut paths = match policy.included_paths {
            None => Self::default().paths,
            Some(included) => included.iter().map(|entry| Path::new(&entry.path, true)).collect(),
        };
        paths.extend(policy.excluded_paths.iter().map(|entry| Path::new(&entry.path, false)));
        Self { paths }
    }

    /// How many of an item's values are indexed. `id` and what begins with `_` are always indexed
    /// or never, and in the price of the write itself.
    pub(in crate::cosmos) fn indexed_values(&self, item: &Value) -> usize {
        if self.paths.is_empty() {
            return 0;
        }
        let Value::Object(properties) = item else { return 0 };
        let mut path = Vec::new();
        let mut count = 0;
        for (name, value) in properties {
            if name != "id" && !name.starts_with('_') {
                path.push(name.as_str());
                self.count(value, &mut path, &mut count);
                path.pop();
            }
        }
        count
    }

    fn count<'a>(&self, value: &'a Value, path: &mut Vec<&'a str>, count: &mut usize) {
        match value {
            Value::Object(properties) => {
                for (name, value) in properties {
                    path.push(name);
                    self.count(value, path, count);
                    path.pop();
                }
            }
            Value::Array(elements) => {
                path.push("[]");
                for element in elements {
                    self.count(element, path, count);
                }
                path.pop();
            }
            _ => *count += usize::from(self.covers(path)),
        }
    }

    fn covers(&self, path: &[&str]) -> bool {
        self.paths
            .iter()
            .filter(|candidate| candidate.matches(path))
            // The longest; of two as long the exact one; of two alike the exclusion.
            .max_by_key(|candidate| (candidate.segments.len(), !candidate.below, !candidate.included))
            .is_some_and(|most_precise| most_precise.included)
    }
}

impl Path {
    fn new(text: &str, included: bool) -> Self {
        let mut segments: Vec<String> = text
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| segment.trim_matches('"').to_owned())
            .collect();
        let below = segments.last().is_some_and(|last| last == "*");
        if segments.last().is_some_and(|last| last == "*" || last == "?") {
            segments.pop();
        }
        Self {
            segments,
            below,
            included,
        }
    }

    fn matches(&self, path: &[&str]) -> bool {
        let long_enough = if self.below {
            path.len() >= self.segments.len()
        } else {
            path.len() == self.segments.len()
        };
        long_enough && self.segments.iter().zip(path).all(|(mine, its)| mine == its)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn indexed(policy: &Value) -> usize {
        let item = json!({
            "id": "c1", "_ts": 1, "stream": "s", "type": "commit",
            "events": [{ "name": "a", "data": { "x": 1 } }, { "name": "b", "data": { "x": 2 } }],
            "at": { "day": 1, "hour": 2 },
        });
        IndexingPolicy::of_container(policy).indexed_values(&item)
    }

    #[test]
    fn every_value_is_indexed_unless_the_policy_says_otherwise() {
        assert_eq!(indexed(&json!({})), 8);
        assert_eq!(indexed(&json!({ "indexingPolicy": { "indexingMode": "none" } })), 0);
        let explicit = json!({ "indexingPolicy": { "includedPaths": [{ "path": "/*" }] } });
        assert_eq!(indexed(&explicit), 8);
    }

    #[test]
    fn the_more_precise_path_wins() {
        let policy = |included: &[&str], excluded: &[&str]| {
            let paths = |paths: &[&str]| paths.iter().map(|path| json!({ "path": path })).collect::<Vec<_>>();
            json!({ "indexingPolicy": { "includedPaths": paths(included), "excludedPaths": paths(excluded) } })
        };
        let cases = [
            (policy(&["/*"], &["/events/*"]), 4),
            (policy(&["/*", "/events/[]/name/?"], &["/events/*"]), 6),
            (policy(&["/type/?"], &["/*"]), 1),
            (policy(&["/type/?", "/at/*"], &["/*", "/at/hour/?"]), 2),
            (policy(&["/\"stream\"/?"], &["/*"]), 1),
            (policy(&[], &["/*"]), 0),
        ];
        for (policy, expected) in cases {
            assert_eq!(indexed(&policy), expected, "{policy}");
        }
    }
}
