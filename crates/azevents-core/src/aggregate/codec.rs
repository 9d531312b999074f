//! How the events of an aggregate are written: an enum's variant becomes event type and data.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{NewEvent, RecordedEvent};

/// Encodes one variant of an event enum: its name is the event type, its content the data.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what has no JSON form, or isn't an externally tagged enum.
pub fn encode<E: Serialize>(event: &E) -> Result<NewEvent> {
    let refuse =
        |why: String| Error::new(ErrorKind::InvalidInput, "encode event", std::any::type_name::<E>()).with_message(why);
    let json = serde_json::to_string(event).map_err(|e| refuse(e.to_string()))?;
    // A unit variant is written as its bare name.
    if let Ok(name) = serde_json::from_str::<String>(&json) {
        return Ok(NewEvent::new(name, crate::event::JSON, "null"));
    }
    let tagged: BTreeMap<String, &RawValue> =
        serde_json::from_str(&json).map_err(|_| refuse("events must be an externally tagged enum".into()))?;
    let mut entries = tagged.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, data)), None) => Ok(NewEvent::new(name, crate::event::JSON, data.get().to_owned())),
        _ => Err(refuse("events must be an externally tagged enum".into())),
    }
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`ErrorKind::Corrupt`], naming the event, for an unknown type or other content.
pub fn decode<E: DeserializeOwned>(event: &RecordedEvent) -> Result<E> {
    decode_parts(&event.event_type, &event.data).map_err(|e| {
        Error::new(
            ErrorKind::Corrupt,
            "decode event",
            format_args!("{}@{}", event.stream, event.version),
        )
        .with_source(e)
    })
}

/// As [`decode`], for an event that arrived as a message.
///
/// # Errors
/// [`ErrorKind::Corrupt`], naming the message.
pub fn decode_message<E: DeserializeOwned>(message: &crate::Message) -> Result<E> {
    decode_parts(&message.event_type, &message.body)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "decode message", &message.id).with_source(e))
}

fn decode_parts<E: DeserializeOwned>(event_type: &str, data: &[u8]) -> Result<E, serde_json::Error> {
    let name = serde_json::to_string(event_type)?;
    if data == b"null"
        && let Ok(unit) = serde_json::from_str(&name)
    {
        return Ok(unit);
    }
    let mut tagged = Vec::with_capacity(name.len() + data.len() + 3);
    tagged.push(b'{');
    tagged.extend_from_slice(name.as_bytes());
    tagged.push(b':');
    tagged.extend_from_slice(data);
    tagged.push(b'}');
    serde_json::from_slice(&tagged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Opened,
        Moved { by: i32 },
        Renamed(String),
    }

    #[test]
    fn the_variant_is_the_event_type_and_its_content_the_data() {
        let event = encode(&Sample::Moved { by: 3 }).unwrap();
        assert_eq!(
            (event.event_type.as_str(), event.data.as_ref()),
            ("Moved", br#"{"by":3}"#.as_slice())
        );
    }

    #[test]
    fn every_kind_of_variant_survives_the_round_trip() {
        for sample in [Sample::Opened, Sample::Moved { by: -1 }, Sample::Renamed("null".into())] {
            let event = encode(&sample).unwrap();
            assert_eq!(decode_parts::<Sample>(&event.event_type, &event.data).unwrap(), sample);
        }
    }

    #[test]
    fn what_is_not_a_tagged_enum_is_refused() {
        #[derive(Serialize)]
        struct Two {
            a: u8,
            b: u8,
        }
        assert_eq!(encode(&Two { a: 1, b: 2 }).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
