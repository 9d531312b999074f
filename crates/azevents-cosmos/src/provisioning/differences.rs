//! Where a container that exists is not what its specification asks for.

use azure_data_cosmos::models::{ContainerProperties, IndexingMode, ThroughputProperties, TimeToLive};

use super::spec::{ContainerSpec, Throughput};

/// Each in words: the property, what it is, what it has to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// With these, operations fail or do the wrong thing.
    pub(super) wrong: Vec<String>,
    /// With these, they only cost more.
    pub(super) dearer: Vec<String>,
}

pub(super) fn of_properties(spec: &ContainerSpec, found: &ContainerProperties) -> Differences {
    let mut differences = Differences::default();
    let wrong = &mut differences.wrong;
    let needed = spec.partition_key();
    // The order of the levels counts, and so does how their hash is made: see `CosmosTenantFeed`.
    if found.partition_key != needed {
        let describe = |key: &azure_data_cosmos::models::PartitionKeyDefinition| {
            format!("{} ({:?}, {:?})", key.paths().join(", "), key.kind(), key.version())
        };
        wrong.push(format!(
            "partition key is {}, has to be {} (which only a new container can have)",
            describe(&found.partition_key),
            describe(&needed)
        ));
    }
    match found.default_ttl {
        TimeToLive::NoDefault => {}
        TimeToLive::Seconds(seconds) => {
            wrong.push(format!(
                "default time to live is {seconds} s, has to be -1 (on, without a default)"
            ));
        }
        _ => wrong.push("time to live is off, has to be -1 (on, without a default)".to_owned()),
    }
    let unique = found.unique_key_policy.as_ref().map(|policy| &policy.unique_keys);
    if let Some(keys) = unique.filter(|keys| !keys.is_empty()) {
        let keys: Vec<_> = keys.iter().map(|key| key.paths.join(" + ")).collect();
        wrong.push(format!(
            "there are unique keys ({}), there must be none",
            keys.join("; ")
        ));
    }
    // A container without a policy of its own indexes everything.
    let everything = || vec!["/*".to_owned()];
    let (mode, included, excluded) = match &found.indexing_policy {
        None => (Some(IndexingMode::Consistent), everything(), Vec::new()),
        Some(policy) => {
            let paths = |paths: &[azure_data_cosmos::models::PropertyPath]| {
                paths.iter().map(|path| path.path.clone()).collect::<Vec<_>>()
            };
            (
                policy.indexing_mode.clone(),
                paths(&policy.included_paths),
                paths(&policy.excluded_paths),
            )
        }
    };
    if mode.is_some_and(|mode| mode != IndexingMode::Consistent) && !spec.indexed().is_empty() {
        wrong.push("indexing mode is none, has to be consistent".to_owned());
    }
    let is_in = |paths: &[String], path: &str| paths.iter().any(|found| found == path);
    for path in spec.indexed() {
        let all = is_in(&included, "/*") && !is_in(&excluded, path);
        if !is_in(&included, path) && !all {
            wrong.push(format!("{path} is not indexed, and queries filter by it"));
        }
    }
    let more: Vec<_> = included
        .iter()
        .filter(|path| !spec.indexed().contains(&path.as_str()))
        .cloned()
        .collect();
    if !more.is_empty() {
        differences.dearer.push(format!(
            "more is indexed than is queried here, and each write pays for it: {}",
            more.join(", ")
        ));
    }
    differences
}

pub(super) fn of_throughput(spec: &ContainerSpec, found: Option<&ThroughputProperties>) -> Option<String> {
    let describe = |throughput: Throughput| match throughput {
        Throughput::Manual(units) => format!("{units} RU/s"),
        Throughput::Autoscale(most) => format!("autoscale up to {most} RU/s"),
    };
    let needed = spec.throughput()?;
    let found = found.and_then(|found| {
        let autoscale = found.autoscale_maximum().map(Throughput::Autoscale);
        autoscale.or_else(|| found.throughput().map(Throughput::Manual))
    });
    (found != Some(needed)).then(|| {
        let found = found.map_or_else(|| "none of its own".to_owned(), describe);
        format!("throughput is {found}, has to be {}", describe(needed))
    })
}
