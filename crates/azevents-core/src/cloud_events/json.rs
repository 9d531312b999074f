//! The JSON format of CloudEvents 1.0.2.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{CloudEvent, VERSION, corrupt};
use crate::error::Result;
use crate::message::Message;

/// JSON data stands in the event as it is, text as a string, anything else as `data_base64` (section 3.1).
pub(super) fn encode(event: &CloudEvent) -> Bytes {
    let mut object = Map::new();
    for (name, value) in &event.attributes {
        object.insert(name.clone(), value.as_str().into());
    }
    object.insert("specversion".into(), VERSION.into());
    object.insert("id".into(), event.id.as_str().into());
    object.insert("source".into(), event.source.as_str().into());
    object.insert("type".into(), event.event_type.as_str().into());
    if !event.content_type.is_empty() {
        object.insert("datacontenttype".into(), event.content_type.as_str().into());
    }
    if let Some(value) = json_data(event) {
        object.insert("data".into(), value);
    } else if !event.data.is_empty() {
        object.insert("data_base64".into(), BASE64_STANDARD.encode(&event.data).into());
    }
    Value::Object(object).to_string().into()
}

/// The data as JSON, where reading it back gives the very same bytes.
fn json_data(event: &CloudEvent) -> Option<Value> {
    if !is_json(&event.content_type) {
        return None;
    }
    let value: Value = serde_json::from_slice(&event.data).ok()?;
    (value.to_string().as_bytes() == event.data).then_some(value)
}

/// Without a content type, data is JSON (section 3.1.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.is_empty() || media_type.ends_with("/json") || media_type.ends_with("+json")
}

pub(super) fn decode(message: &Message) -> Result<CloudEvent> {
    let object: Map<String, Value> =
        serde_json::from_slice(&message.body).map_err(|error| corrupt(message, &error).with_source(error))?;
    let mut attributes = BTreeMap::new();
    let (mut data, mut base64, mut content_type) = (None, None, String::new());
    for (name, value) in object {
        match (name.as_str(), value) {
            // An attribute that is null is not there (section 2.2).
            (_, Value::Null) => {}
            ("data", value) => data = Some(value),
            ("data_base64", Value::String(text)) => base64 = Some(text),
            ("datacontenttype", Value::String(text)) => content_type = text,
            (_, Value::String(text)) => {
                attributes.insert(name, text);
            }
            (_, value @ (Value::Bool(_) | Value::Number(_))) => {
                attributes.insert(name, value.to_string());
            }
            _ => {
                return Err(corrupt(
                    message,
                    format_args!("{name} is neither text, number nor truth value"),
                ));
            }
        }
    }
    let data = match (data, base64) {
        (Some(_), Some(_)) => return Err(corrupt(message, "it has both data and data_base64")),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| corrupt(message, format_args!("data_base64: {error}")))?
            .into(),
        // Text in an event of any other type than JSON is the data itself.
        (Some(Value::String(text)), None) if !is_json(&content_type) => text.into(),
        (Some(value), None) => value.to_string().into(),
        (None, None) => Bytes::new(),
    };
    CloudEvent::build(message, attributes, content_type, data, message.headers.clone())
}
