//! Which blob holds what, and which metadata.
//!
//! Beside the official stores' values (names are case-insensitive and must be C# identifiers): on an ownership
//! `azeventsepoch` (which taking of the lease it is of) and `azeventsduration` (milliseconds for which it
//! holds); on a checkpoint `azeventsevents` (how many events came before) and, where the place is no event
//! hub's, `azeventscontinuation` (percent-encoded) instead of sequence number and offset.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use azevents_core::{Checkpoint, Continuation, Error, ErrorKind, FeedRange, Lease, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::container::{Listed, Metadata};

const OWNER: &str = "ownerid";
const EPOCH: &str = "azeventsepoch";
const DURATION: &str = "azeventsduration";
const SEQUENCE_NUMBER: &str = "sequencenumber";
const OFFSET: &str = "offset";
const EVENTS: &str = "azeventsevents";
const CONTINUATION: &str = "azeventscontinuation";

/// The service tells times in whole seconds, cut off: what seems to be this much older may be no older.
const RESOLUTION: Duration = Duration::from_secs(1);

/// What stands in names and values as it is; everything else is escaped.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'$');

/// The names of a reader's blobs.
pub(super) struct Names(String);

impl Names {
    /// For the consumers of an event hub (`eventhub/<hub>/<group>`) those of the official stores, in lower case
    /// as theirs are.
    pub(super) fn of(namespace: &str, reader: &str) -> Self {
        let mut parts = reader.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("eventhub"), Some(hub), Some(group), None) => {
                Self(format!("{namespace}/{hub}/{group}").to_lowercase())
            }
            _ => Self(format!("azevents/{}", utf8_percent_encode(reader, PLAIN))),
        }
    }

    /// What all their names begin with.
    pub(super) fn prefix(&self) -> String {
        format!("{}/", self.0)
    }

    pub(super) fn ownership(&self, range: &FeedRange) -> String {
        format!("{}/ownership/{}", self.0, utf8_percent_encode(&range.0, PLAIN))
    }

    pub(super) fn checkpoint(&self, range: &FeedRange) -> String {
        format!("{}/checkpoint/{}", self.0, utf8_percent_encode(&range.0, PLAIN))
    }

    /// Puts a listing's blobs together, by range.
    pub(super) fn leases(&self, reader: &str, blobs: Vec<Listed>, now: OffsetDateTime) -> Result<Vec<Lease>> {
        let mut leases: BTreeMap<String, Lease> = BTreeMap::new();
        for blob in blobs {
            let rest = blob.name.strip_prefix(&self.prefix()).unwrap_or_default();
            let Some((what @ ("ownership" | "checkpoint"), range)) = rest.split_once('/') else {
                continue;
            };
            let lease = leases.entry(range.to_owned()).or_insert_with(|| Lease {
                reader: reader.to_owned(),
                range: FeedRange(percent_decode_str(range).decode_utf8_lossy().into_owned()),
                owner: String::new(),
                token: String::new(),
                checkpoint: None,
                successors: Vec::new(),
            });
            if what == "checkpoint" {
                lease.checkpoint = Some(checkpoint_of(&blob.metadata, &blob.name)?);
            } else {
                let ownership = Ownership::of(&blob.metadata);
                let age = (now - blob.last_modified).try_into().unwrap_or_default();
                // A stranger's duration is not known: its lease counts as held until it is tried.
                if !ownership.duration.is_some_and(|duration| is_over(age, duration)) {
                    lease.owner = ownership.owner;
                }
                lease.token = format!("{}|{}|", ownership.epoch, blob.etag);
            }
        }
        Ok(leases.into_values().collect())
    }
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ownership {
    /// Empty when nobody does.
    pub(super) owner: String,
    /// Empty for owners that are not ours.
    pub(super) epoch: String,
    /// How long it holds; owners that are not ours don't say.
    pub(super) duration: Option<Duration>,
}

impl Ownership {
    pub(super) fn released() -> Self {
        Self::default()
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        let text = |name| value(metadata, name).unwrap_or_default();
        Self {
            owner: percent_decode_str(text(OWNER)).decode_utf8_lossy().into_owned(),
            epoch: text(EPOCH).to_owned(),
            duration: text(DURATION).parse().ok().map(Duration::from_millis),
        }
    }

    pub(super) fn to_metadata(&self) -> Metadata {
        let mut metadata = HashMap::from([(OWNER.to_owned(), utf8_percent_encode(&self.owner, PLAIN).to_string())]);
        if let Some(duration) = self.duration {
            metadata.insert(EPOCH.to_owned(), self.epoch.clone());
            metadata.insert(DURATION.to_owned(), duration.as_millis().to_string());
        }
        metadata
    }

    /// Whether `owner` may take a lease that was written `age` ago; one without a duration of its own holds as
    /// long as `duration`.
    pub(super) fn is_free_for(&self, owner: &str, age: Duration, duration: Duration) -> bool {
        self.owner.is_empty() || self.owner == owner || is_over(age, self.duration.unwrap_or(duration))
    }
}

fn is_over(age: Duration, duration: Duration) -> bool {
    age >= duration + RESOLUTION
}

/// A place in a partition, as the consumer writes it down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    #[serde(rename = "sequenceNumber")]
    sequence_number: i64,
    offset: String,
}

pub(super) fn checkpoint_metadata(checkpoint: &Checkpoint) -> Metadata {
    let mut metadata = HashMap::from([(EVENTS.to_owned(), checkpoint.events.to_string())]);
    if let Ok(place) = serde_json::from_str::<Place>(&checkpoint.continuation.0) {
        metadata.insert(SEQUENCE_NUMBER.to_owned(), place.sequence_number.to_string());
        metadata.insert(OFFSET.to_owned(), place.offset);
    } else {
        let escaped = utf8_percent_encode(&checkpoint.continuation.0, PLAIN).to_string();
        metadata.insert(CONTINUATION.to_owned(), escaped);
    }
    metadata
}

/// Reads a checkpoint, of whichever language's processor.
pub(super) fn checkpoint_of(metadata: &Metadata, name: &str) -> Result<Checkpoint> {
    let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, "read checkpoint", name).with_message(what);
    let continuation = if let Some(escaped) = value(metadata, CONTINUATION) {
        let text = percent_decode_str(escaped).decode_utf8();
        text.map_err(|e| corrupt("its continuation is no UTF-8").with_source(e))?
            .into_owned()
    } else {
        let sequence_number = value(metadata, SEQUENCE_NUMBER)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| corrupt("it has no sequence number; delete the blob to begin anew"))?;
        let offset = value(metadata, OFFSET).unwrap_or_default().to_owned();
        let place = Place {
            sequence_number,
            offset,
        };
        serde_json::to_string(&place).expect("a number and a string serialise")
    };
    // Those of other languages don't count.
    let events = value(metadata, EVENTS).and_then(|text| text.parse().ok());
    Ok(Checkpoint::new(Continuation(continuation), events.unwrap_or_default()))
}

/// Names come back in whatever case they were written, by the languages and by the service.
fn value<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    let found = metadata.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(found.1.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(continuation: &str) -> Checkpoint {
        Checkpoint::new(Continuation(continuation.to_owned()), 42)
    }

    #[test]
    fn a_consumer_groups_blobs_are_where_the_official_stores_look() {
        let names = Names::of("Shop.servicebus.windows.net", "eventhub/Order-Events/$Default");
        let range = FeedRange("0".into());
        assert_eq!(
            names.ownership(&range),
            "shop.servicebus.windows.net/order-events/$default/ownership/0"
        );
        assert_eq!(
            names.checkpoint(&range),
            "shop.servicebus.windows.net/order-events/$default/checkpoint/0"
        );
        let members = Names::of("shop", "eventhub/orders/g/members");
        assert!(
            !members
                .prefix()
                .starts_with(&Names::of("shop", "eventhub/orders/g").prefix())
        );
    }

    #[test]
    fn a_place_in_an_event_hub_is_readable_to_others_and_any_other_survives() {
        let place = checkpoint(r#"{"sequenceNumber":17,"offset":"4294967296"}"#);
        let metadata = checkpoint_metadata(&place);
        assert_eq!(
            (metadata[SEQUENCE_NUMBER].as_str(), metadata[OFFSET].as_str()),
            ("17", "4294967296")
        );
        for any in [place, checkpoint("\"7\"/\\é"), checkpoint("")] {
            assert_eq!(checkpoint_of(&checkpoint_metadata(&any), "c").unwrap(), any);
        }
    }

    #[test]
    fn anothers_checkpoint_is_taken_over_and_a_broken_one_refused() {
        let metadata = HashMap::from([
            ("SequenceNumber".to_owned(), "3".to_owned()),
            ("Offset".to_owned(), "99".to_owned()),
        ]);
        let taken = checkpoint_of(&metadata, "c").unwrap();
        assert_eq!(
            (taken.continuation.0.as_str(), taken.events),
            (r#"{"sequenceNumber":3,"offset":"99"}"#, 0)
        );
        assert_eq!(
            checkpoint_of(&HashMap::new(), "c").unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn a_lease_is_over_only_when_no_rounding_can_make_it_younger() {
        let held = Ownership {
            owner: "a".into(),
            epoch: "e".into(),
            duration: Some(Duration::from_secs(10)),
        };
        let free = |age| held.is_free_for("b", Duration::from_secs(age), Duration::from_secs(1));
        assert_eq!([10, 11].map(free), [false, true]);
        assert!(held.is_free_for("a", Duration::ZERO, Duration::ZERO));
        assert_eq!(Ownership::of(&held.to_metadata()), held);
        assert!(Ownership::of(&Ownership::released().to_metadata()).is_free_for("b", Duration::ZERO, Duration::ZERO));
    }
}
