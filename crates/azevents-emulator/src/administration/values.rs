//! Named values with their types: `KeyValueOfstringanyType`, of XML Schema's types and .NET's own.

use std::{fmt::Write, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{document::Element, fields};
use crate::{
    servicebus::{BrokerError, Value},
    topology::parse_duration,
    xml::{element, escape},
};

const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";

/// Where .NET's serializer has what XML Schema lacks.
const SERIALIZATION: &str = "http://schemas.microsoft.com/2003/10/Serialization/";

/// Writes one.
pub(super) fn write(out: &mut String, name: &str, value: &Value) {
    let (kind, text) = match value {
        Value::Null => ("string", String::new()),
        Value::Text(text) => ("string", text.clone()),
        // JavaScript's client knows no `long`.
        Value::Integer(number) if i32::try_from(*number).is_ok() => ("int", number.to_string()),
        Value::Integer(number) => ("long", number.to_string()),
        Value::Float(number) => ("double", number.to_string()),
        Value::Decimal(number) => ("decimal", number.to_string()),
        Value::Boolean(truth) => ("boolean", truth.to_string()),
        Value::Guid(id) => ("guid", id.to_string()),
        Value::Time(ticks) => ("dateTime", written_time(i128::from(*ticks) - UNIX_EPOCH)),
        Value::Span(ticks) => ("duration", written_span(*ticks)),
    };
    let namespace = if kind == "guid" { SERIALIZATION } else { SCHEMA };
    // With a prefix as long as the service's: JavaScript's client cuts five characters off.
    out.push_str("<KeyValueOfstringanyType>");
    element(out, "Key", name);
    let _ = write!(
        out,
        "<Value i:type=\"d6p1:{kind}\" xmlns:d6p1=\"{namespace}\">{}</Value>",
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
        let text = value.map_or("", |value| match kind {
            // .NET's: the time in UTC, and minutes from that.
            "DateTimeOffset" => value.child("DateTime").unwrap_or_default(),
            _ => value.text.as_str(),
        });
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
        "string" | "anyURI" => Value::Text(text.to_owned()),
        "guid" => Value::Guid(trimmed.parse().ok()?),
        "boolean" => match trimmed {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => return None,
        },
        "int" | "long" | "short" | "byte" | "unsignedInt" | "unsignedLong" | "unsignedShort" | "unsignedByte" => {
            Value::Integer(trimmed.parse().ok()?)
        }
        "double" | "float" => Value::Float(trimmed.parse().ok().filter(|number: &f64| number.is_finite())?),
        "decimal" => Value::Decimal(trimmed.parse().ok()?),
        "dateTime" | "DateTimeOffset" => read_time(trimmed)?,
        "duration" => read_span(trimmed)?,
        _ => return None,
    })
}

/// In ticks of 100 ns from the year 1.
const UNIX_EPOCH: i128 = 621_355_968_000_000_000;

/// What is without a time zone is UTC.
fn read_time(text: &str) -> Option<Value> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = parse(text).or_else(|| parse(&format!("{text}Z")))?;
    let ticks = i64::try_from(time.unix_timestamp_nanos() / 100 + UNIX_EPOCH).ok()?;
    Some(Value::time_of_ticks(ticks)).filter(|time| *time != Value::Null)
}

/// A Unix time, in ticks of 100 ns.
fn written_time(ticks: i128) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(ticks * 100)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn read_span(text: &str) -> Option<Value> {
    let (length, negative) = text.strip_prefix('-').map_or((text, false), |length| (length, true));
    match Value::span(parse_duration(length)?) {
        Value::Span(ticks) if negative => Some(Value::Span(-ticks)),
        length => Some(length),
    }
}

fn written_span(ticks: i64) -> String {
    let sign = if ticks < 0 { "-" } else { "" };
    let ticks = ticks.unsigned_abs();
    let length = Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100);
    format!("{sign}{}", fields::duration(length))
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
            Value::time(1_577_836_800_250),
            Value::Span(36_000_000_000),
            Value::Span(-15_000_000),
            Value::Decimal("12.50".parse().unwrap()),
            Value::Guid(uuid::Uuid::from_u128(7)),
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
            assert_eq!(read_time(text), Some(Value::time(1_577_836_800_000)), "{text}");
        }
        for (kind, text) in [
            ("dateTime", "yesterday"),
            ("duration", "5"),
            ("double", "NaN"),
            ("decimal", "much"),
            ("boolean", "maybe"),
            ("guid", "7"),
            ("base64Binary", "AA=="),
        ] {
            assert_eq!(read_value(kind, text), None, "{kind}");
        }
    }

    #[test]
    fn dotnets_time_with_an_offset_is_the_time_in_utc() {
        let document = "<Parameters><KeyValueOfstringanyType><Key>@at</Key>\
                        <Value i:type='a:DateTimeOffset' xmlns:a='http://schemas.datacontract.org/2004/07/System'>\
                        <a:DateTime>2020-01-01T00:00:00.0000001Z</a:DateTime><a:OffsetMinutes>60</a:OffsetMinutes>\
                        </Value></KeyValueOfstringanyType></Parameters>";
        let read: Vec<_> = read(Element::parse(document).as_ref()).map(Result::unwrap).collect();
        let Value::Time(ticks) = Value::time(1_577_836_800_000) else {
            unreachable!("a time")
        };
        assert_eq!(read, [("@at".to_owned(), Value::Time(ticks + 1))]);
    }
}
