//! What a checkpoint says: the last event that is finished.

use azevents_core::{Continuation, Error, ErrorKind, Result, leasing};
use azure_messaging_eventhubs::models::ReceivedEventData;
use azure_messaging_eventhubs::{StartLocation, StartPosition};
use serde::{Deserialize, Serialize};

use super::options::StartFrom;

/// A place in a partition, right after an event. Both numbers are the service's: the sequence number
/// counts events without gaps, the offset is opaque and what reading goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    #[serde(rename = "sequenceNumber")]
    pub(super) sequence_number: i64,
    pub(super) offset: String,
}

impl Position {
    /// After `event`. `None` if the service has not numbered it, which it always does.
    pub(super) fn after(event: &ReceivedEventData) -> Option<Self> {
        Some(Self {
            sequence_number: event.sequence_number()?,
            offset: event.offset().clone()?,
        })
    }

    pub(super) fn parse(continuation: &Continuation, partition: &str) -> Result<Self> {
        serde_json::from_str(&continuation.0)
            .map_err(|e| Error::new(ErrorKind::Corrupt, "read checkpoint", partition).with_source(e))
    }
}

impl leasing::Position for Position {
    fn continuation(&self) -> Continuation {
        Continuation(serde_json::to_string(self).expect("a number and a string serialise"))
    }
}

/// Where the next link begins: after `position`, or where the consumer is to start. (The end of a partition is a
/// position by then, unless there was no event yet.)
pub(super) fn start_position(position: Option<&Position>, start: StartFrom) -> StartPosition {
    let (location, inclusive) = match (position, start) {
        (Some(position), _) => (StartLocation::Offset(position.offset.clone()), false),
        (None, StartFrom::Earliest | StartFrom::Latest) => (StartLocation::Earliest, true),
        (None, StartFrom::SequenceNumber(number)) => (StartLocation::SequenceNumber(number), true),
        (None, StartFrom::Time(time)) => (StartLocation::EnqueuedTime(time.into()), true),
    };
    StartPosition { location, inclusive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azevents_core::leasing::Position as _;

    #[test]
    fn a_checkpoint_is_read_back_as_it_was_written() {
        let position = Position {
            sequence_number: 17,
            offset: "4294967296".into(),
        };
        let continuation = position.continuation();
        assert_eq!(continuation.0, r#"{"sequenceNumber":17,"offset":"4294967296"}"#);
        assert_eq!(Position::parse(&continuation, "0").unwrap(), position);
    }

    #[test]
    fn a_checkpoint_of_another_reader_is_refused_not_guessed() {
        let error = Position::parse(&Continuation("17".into()), "0").unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Corrupt, "0"));
    }
}
