//! Event data inside a document: as JSON where it is JSON, so that it can be read in the portal and
//! queried, and as base64 otherwise.

use azevents_core::{Error, ErrorKind, Result};
use azure_core::base64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{MAX_NESTING, depth, numbers};

/// Levels of a document around the data of an event or a message, with some to spare.
const LEVELS_AROUND: usize = 8;

/// The data of one event. Exactly one of the two fields is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Content {
    /// JSON data. The value comes back, not the text: spaces, the order of keys and the way a number
    /// is written may change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) data: Option<Box<RawValue>>,
    /// Anything else, JSON whose numbers a double cannot hold, and JSON nested deeper than a document may
    /// be: the bytes come back as they were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) base64: Option<String>,
}

impl Content {
    /// Takes data of a content type.
    pub(crate) fn new(content_type: &str, data: &[u8]) -> Self {
        let json = is_json(content_type)
            .then(|| serde_json::from_slice::<Box<RawValue>>(data).ok())
            .flatten()
            .filter(|json| numbers::survive(json.get()) && depth(json.get()) + LEVELS_AROUND <= MAX_NESTING);
        match json {
            Some(json) => Self {
                data: Some(json),
                base64: None,
            },
            None => Self {
                data: None,
                base64: Some(base64::encode(data)),
            },
        }
    }

    /// The data.
    pub(crate) fn into_bytes(self, subject: impl std::fmt::Display) -> Result<Bytes> {
        let corrupt = |why: &str| Error::new(ErrorKind::Corrupt, "read data", &subject).with_message(why.to_owned());
        match (self.data, self.base64) {
            (Some(json), None) => Ok(Bytes::from(String::from(Box::<str>::from(json)))),
            (None, Some(text)) => base64::decode(text)
                .map(Bytes::from)
                .map_err(|error| corrupt("field base64 is no base64").with_source(error)),
            (None, None) => Err(corrupt("neither field data nor field base64")),
            (Some(_), Some(_)) => Err(corrupt("both field data and field base64")),
        }
    }
}

/// Whether a media type says that its content is JSON: `application/json`, `text/json`, or a type
/// with the suffix `+json` (RFC 6839, section 3.1).
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(content_type: &str, data: &[u8]) -> (String, Bytes) {
        let json = serde_json::to_string(&Content::new(content_type, data)).unwrap();
        let back: Content = serde_json::from_str(&json).unwrap();
        (json, back.into_bytes("x").unwrap())
    }

    #[test]
    fn json_is_embedded_as_it_is() {
        let (json, back) = round_trip("application/json", br#" {"b":1.50,"a":"x"} "#);
        assert_eq!(json, r#"{"data":{"b":1.50,"a":"x"}}"#);
        assert_eq!(back, br#"{"b":1.50,"a":"x"}"#.as_slice());
    }

    #[test]
    fn what_is_not_json_or_would_change_comes_back_byte_for_byte() {
        for (content_type, data) in [
            ("application/x-protobuf", b"\x00\xff\x10".as_slice()),
            ("application/json", b"{not json"),
            ("application/json", b""),
            ("application/json", br#"{"n":9007199254740993}"#),
            (
                "application/json",
                ["[".repeat(125), "]".repeat(125)].concat().as_bytes(),
            ),
        ] {
            let (json, back) = round_trip(content_type, data);
            assert!(json.starts_with(r#"{"base64":"#), "{json}");
            assert_eq!(back, data);
        }
    }

    #[test]
    fn media_types_of_json() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/cloudevents+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/plain", "application/octet-stream", "application/jsonlines"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
