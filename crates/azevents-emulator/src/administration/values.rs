//! Named values with their types: `KeyValueOfstringanyType`, of XML Schema's types.

use std::{fmt::Write, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{document::Element, fields};
use crate::{
    servicebus::{BrokerError, Value},
    topology::parse_duration,
    xml::{element, escape},
};

/// Writes one.
pub(super) fn write(out: &mut String, name: &str, value: &Value) {
    let (kind, text) = match value {
        Value::Null => ("string", String::new()),
        Value::Text(text) => ("string", text.clone()),
        // JavaScript's client knows no `long`.
        Value::Integer(number) if i32::try_from(*number).is_ok() => ("int", number.to_string()),
        Value::Integer(number) => ("long", number.to_string()),
        Value::Float(number) => ("double", number.to_string()),
        Value::Boolean(truth) => ("boolean", truth.to_string()),
        Value::Time(millis) => ("dateTime", written_time(*millis)),
        Value::Span(ticks) => {
            let length = Duration::from_micros(ticks.unsigned_abs() / 10);
            ("duration", fields::duration(length))
        }
    };
    // With a prefix as long as the service's: JavaScript's client cuts five characters off.
    out.push_str("<KeyValueOfstringanyType>");
    element(out, "Key", name);
    let _ = write!(
        out,
        "<Value i:type=\"d6p1:{kind}\" xmlns:d6p1=\"http://www.w3.org/2001/XMLSchema\">{}</Value>",
        escape(&text)
    );
    out.push_str("</KeyValueOfstringanyType>");
}

/// Reads all below an element.
pub(super) fn read(all: Option<&Element>) -> impl Iterator<Item = Result<(String, Value), BrokerError>> {
    let pairs = all.map_or(&[][..], |all| &all.children);
    pairs.iter().map(|pair| {
        let name = pair.child("Key").unwrap_or_default().to_owned();
        let value = pair.find("Value");
        let kind = value.and_then(|value| value.kind.as_deref()).unwrap_or("string");
        let text = value.map_or("", |value| value.text.as_str());
        match read_value(kind, text) {
            Some(value) => Ok((name, value)),
            None => Err(BrokerError::NotSupported(format!(
                "The value '{text}' of '{name}', of type {kind},"
            ))),
        }
    })
}

fn read_value(kind: &str, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    Some(match kind {
        "string" => Value::Text(text.to_owned()),
        "guid" => Value::Text(trimmed.to_lowercase()),
        "boolean" => Value::Boolean(trimmed.parse().ok()?),
        "int" | "long" | "short" | "byte" | "unsignedInt" | "unsignedLong" | "unsignedShort" | "unsignedByte" => {
            Value::Integer(trimmed.parse().ok()?)
        }
        "double" | "float" => Value::Float(trimmed.parse().ok().filter(|number: &f64| number.is_finite())?),
        "dateTime" => Value::Time(read_time(trimmed)?),
        "duration" => Value::span(parse_duration(trimmed)?),
        _ => return None,
    })
}

/// As a Unix time in milliseconds. What is without a time zone is UTC.
fn read_time(text: &str) -> Option<i64> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = parse(text).or_else(|| parse(&format!("{text}Z")))?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

fn written_time(millis: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let values = [
            Value::Text("<a> & b".into()),
            Value::Integer(7),
            Value::Integer(1 << 40),
            Value::Float(2.5),
            Value::Boolean(true),
            Value::Time(1_577_836_800_250),
            Value::Span(36_000_000_000),
        ];
        let mut document = String::from("<Parameters xmlns:i=\"i\">");
        for value in &values {
            write(&mut document, "@v", value);
        }
        document.push_str("</Parameters>");
        let read: Vec<_> = read(Element::parse(&document).as_ref())
            .map(|pair| pair.unwrap().1)
            .collect();
        assert_eq!(read, values);
    }

    #[test]
    fn times_come_in_the_forms_of_the_clients() {
        for text in [
            "2020-01-01T00:00:00",
            "2020-01-01T00:00:00.000Z",
            "2020-01-01T01:00:00+01:00",
        ] {
            assert_eq!(read_time(text), Some(1_577_836_800_000), "{text}");
        }
        for (kind, text) in [
            ("dateTime", "yesterday"),
            ("duration", "5"),
            ("double", "NaN"),
            ("decimal", "1.5"),
        ] {
            assert_eq!(read_value(kind, text), None, "{kind}");
        }
    }
}
