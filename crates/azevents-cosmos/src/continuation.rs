//! How many requests ask everywhere that a position in a feed stands.
//!
//! A range that was read while it lay in several physical partitions has a place in each, and the SDK keeps
//! those apart after the partitions merge: one partition, several places, each with a request of its own.
//! Whoever goes on from such a position begins with the first place every time, so counting partitions alone
//! would never come to the others.

use std::collections::BTreeSet;

use azevents_core::Continuation;
use azure_data_cosmos::feed::FeedRange as KeyRange;
use azure_data_cosmos::models::EffectivePartitionKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// What the SDK puts before its continuations, in version 1.0.
const VERSION: &str = "c1.";

/// As many as a range is likely to have been cut into, for continuations of a form we don't know.
const LIKELY: usize = 8;

/// The most requests it takes to have asked for every key of `parts`, which are a range by physical partition.
pub(crate) fn requests(parts: &[KeyRange], after: Option<&Continuation>) -> usize {
    let Some(places) = after.map_or(Some(Vec::new()), places) else {
        return parts.len().max(LIKELY);
    };
    // The SDK asks for each stretch between two neighbouring bounds by itself, whether it has a place or not.
    let stretches = parts.iter().map(|part| {
        let within = |key: &&EffectivePartitionKey| *key > part.min_inclusive() && *key < part.max_exclusive();
        let bounds = places.iter().flat_map(|place| [&place.min_epk, &place.max_epk]);
        1 + bounds.filter(within).collect::<BTreeSet<_>>().len()
    });
    stretches.sum::<usize>().max(1)
}

#[derive(Deserialize)]
struct State {
    root: Root,
}

#[derive(Deserialize)]
struct Root {
    active_tokens: Vec<Place>,
}

/// A stretch of keys with a place of its own.
#[derive(Deserialize)]
struct Place {
    min_epk: EffectivePartitionKey,
    max_epk: EffectivePartitionKey,
}

/// `None` for a continuation of a form we don't know.
fn places(continuation: &Continuation) -> Option<Vec<Place>> {
    let state = URL_SAFE_NO_PAD.decode(continuation.0.strip_prefix(VERSION)?).ok()?;
    let state: State = serde_json::from_slice(&state).ok()?;
    Some(state.root.active_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: &str, max: &str) -> KeyRange {
        let key = |hex: &str| EffectivePartitionKey::try_from(hex).unwrap();
        KeyRange::new(key(min), key(max)).unwrap()
    }

    fn continuation(places: &[(&str, &str)]) -> Continuation {
        let places: Vec<_> = places
            .iter()
            .map(|(min, max)| serde_json::json!({"min_epk": min, "max_epk": max, "server_continuation": "7"}))
            .collect();
        let state = serde_json::json!({"root": {"kind": "unordered_merge", "active_tokens": places}});
        Continuation(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(state.to_string())))
    }

    #[test]
    fn every_stretch_with_a_place_or_a_partition_of_its_own_takes_a_request() {
        let (whole, halves) = ([range("", "FF")], [range("", "20"), range("20", "FF")]);
        assert_eq!(requests(&whole, None), 1);
        assert_eq!(requests(&halves, None), 2);
        let one = continuation(&[("", "FF")]);
        assert_eq!(requests(&whole, Some(&one)), 1);
        assert_eq!(requests(&halves, Some(&one)), 2, "split since");
        let two = continuation(&[("", "20"), ("20", "FF")]);
        assert_eq!(requests(&halves, Some(&two)), 2);
        assert_eq!(requests(&whole, Some(&two)), 2, "merged since");
        assert_eq!(
            requests(&whole, Some(&continuation(&[("", "20")]))),
            2,
            "half never asked"
        );
        assert_eq!(requests(&[range("20", "FF")], Some(&two)), 1, "handed to a half");
        assert_eq!(requests(&whole, Some(&Continuation("c9.new".to_owned()))), LIKELY);
    }
}
