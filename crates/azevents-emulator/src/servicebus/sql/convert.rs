//! Values of one kind made into another: for `LIKE`, for texts put together, and for what an action sets.
//!
//! "SET performs implicit conversion if possible when the expression type and the existing property type are
//! different" ("Subscription Rule SQL Action Syntax" in the service's documentation). The conversions are those of
//! .NET's `Convert.ChangeType`; where it has none, the action fails.

use bytes::{BufMut, Bytes, BytesMut};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Value,
    wire::{DATETIME_OFFSET, TIMESPAN, URI, descriptor, encode_named_text, encode_ticks},
};

/// As .NET writes it.
pub(super) fn to_text(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Text(text) => text.clone(),
        Value::Boolean(true) => "True".to_owned(),
        Value::Boolean(false) => "False".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Guid(id) => id.to_string(),
        // Outside of these, .NET's versions differ in how they write them.
        Value::Float(number) if *number == 0.0 || (1e-4..1e15).contains(&number.abs()) => number.to_string(),
        Value::Span(ticks) => span_text(*ticks),
        other => return Err(format!("{} has no text form here", other.kind())),
    })
}

/// `[-][d.]hh:mm:ss[.fffffff]`: .NET's constant format of a `TimeSpan`.
fn span_text(ticks: i64) -> String {
    let sign = if ticks < 0 { "-" } else { "" };
    let ticks = ticks.unsigned_abs();
    let (seconds, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}."),
    };
    let fraction = match fraction {
        0 => String::new(),
        fraction => format!(".{fraction:07}"),
    };
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{sign}{days}{hours:02}:{minutes:02}:{:02}{fraction}", seconds % 60)
}

/// The inverse. Also takes days alone, and hours and minutes alone.
fn parse_span(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str, below: i64| {
        let number: i64 = Some(text).filter(|text| all_digits(text))?.parse().ok()?;
        (number < below).then_some(number)
    };
    let mut parts: Vec<&str> = text.split(':').collect();
    let days = match parts.as_mut_slice() {
        [days] => return number(days, 10_675_200)?.checked_mul(sign * 864_000_000_000),
        [first, ..] => match first.split_once('.') {
            Some((days, hours)) => {
                *first = hours;
                number(days, 10_675_200)?
            }
            None => 0,
        },
        [] => return None,
    };
    let (hours, minutes, seconds) = match parts[..] {
        [hours, minutes] => (hours, minutes, "0"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if fraction.len() > 7 || !all_digits(fraction) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<7}").parse().ok()?;
    let seconds = ((days * 24 + number(hours, 24)?) * 60 + number(minutes, 60)?) * 60 + number(seconds, 60)?;
    seconds.checked_mul(sign * 10_000_000)?.checked_add(sign * fraction)
}

/// As ticks.
pub(super) fn to_span(value: &Value) -> Result<i64, String> {
    match value {
        Value::Span(ticks) => Some(*ticks),
        Value::Text(text) => parse_span(text),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a length of time"))
}

/// As ticks.
pub(super) fn to_time(value: &Value) -> Result<i64, String> {
    match value {
        Value::Time(ticks) => Some(*ticks),
        Value::Text(text) => parse_time(text),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a time"))
}

/// In ISO 8601; what is without a time zone is UTC.
fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = parse(text).or_else(|| parse(&format!("{text}Z")))?;
    let since_1970 = i64::try_from(time.unix_timestamp_nanos() / 100).ok()?;
    match Value::time_of_ticks(since_1970.checked_add(621_355_968_000_000_000)?) {
        Value::Time(ticks) => Some(ticks),
        _ => None,
    }
}

/// Encodes a value in the type that a property has already; in its own if that one is null or of a type that nothing
/// is made into.
pub(super) fn encode_like(existing: &[u8], value: &Value) -> Result<Option<Bytes>, String> {
    let Some(encoded) = value.encode() else {
        return Ok(None);
    };
    let whole = |least: i64, most: i64| {
        let number = to_integer(value)?;
        let fits = (least..=most).contains(&number);
        fits.then_some(number)
            .ok_or_else(|| format!("{number} doesn't fit in the property's type"))
    };
    let mut out = BytesMut::with_capacity(17);
    match existing {
        [0x41 | 0x42 | 0x56, ..] => return Ok(Value::Boolean(to_boolean(value)?).encode()),
        [0x50, ..] => out.put_slice(&[0x50, whole(0, u8::MAX.into())? as u8]),
        [0x51, ..] => out.put_slice(&[0x51, (whole(i8::MIN.into(), i8::MAX.into())? as i8).cast_unsigned()]),
        [0x60, ..] => {
            let number = whole(0, u16::MAX.into())?;
            out.put_u8(0x60);
            out.put_u16(number as u16);
        }
        [0x61, ..] => {
            let number = whole(i16::MIN.into(), i16::MAX.into())?;
            out.put_u8(0x61);
            out.put_i16(number as i16);
        }
        [0x43 | 0x52 | 0x70, ..] => {
            let number = whole(0, u32::MAX.into())?;
            out.put_u8(0x70);
            out.put_u32(number as u32);
        }
        [0x54 | 0x71, ..] => {
            let number = whole(i32::MIN.into(), i32::MAX.into())?;
            out.put_u8(0x71);
            out.put_i32(number as i32);
        }
        [0x44 | 0x53 | 0x80, ..] => {
            let number = whole(0, i64::MAX)?;
            out.put_u8(0x80);
            out.put_u64(number as u64);
        }
        [0x55 | 0x81, ..] => return Ok(Value::Integer(to_integer(value)?).encode()),
        [0x72, ..] => {
            let number = to_float(value)?;
            out.put_u8(0x72);
            out.put_f32(number as f32);
        }
        [0x82, ..] => return Ok(Value::Float(to_float(value)?).encode()),
        [0x74 | 0x84 | 0x94, ..] => return Ok(Value::Decimal(to_decimal(value)?).encode()),
        [0x83, ..] => return Ok(Value::Time(to_time(value)?).encode()),
        [0x98, ..] => return Ok(Value::Guid(to_guid(value)?).encode()),
        [0xa1 | 0xa3 | 0xb1 | 0xb3, ..] => return Ok(Value::Text(to_text(value)?).encode()),
        [0x00, ..] => {
            return Ok(Some(match descriptor(existing) {
                Some(TIMESPAN) => encode_ticks(TIMESPAN, to_span(value)?),
                Some(DATETIME_OFFSET) => encode_ticks(DATETIME_OFFSET, to_time(value)?),
                Some(URI) => encode_named_text(URI, &to_text(value)?),
                _ => encoded,
            }));
        }
        _ => return Ok(Some(encoded)),
    }
    Ok(Some(out.freeze()))
}

fn to_integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Boolean(truth) => Some(i64::from(*truth)),
        Value::Text(text) => text.trim().parse().ok(),
        // Halves go to the even neighbour, as `Convert.ToInt64` has it.
        Value::Decimal(number) => number.round().to_i64(),
        Value::Float(number) => {
            let rounded = number.round_ties_even();
            // From -2^63 to below 2^63.
            (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
                .contains(&rounded)
                .then_some(rounded as i64)
        }
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "an integer"))
}

fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::Decimal(number) => number.to_f64(),
        Value::Boolean(truth) => Some(f64::from(u8::from(*truth))),
        Value::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a floating-point number"))
}

fn to_decimal(value: &Value) -> Result<Decimal, String> {
    match value {
        Value::Decimal(number) => Some(*number),
        Value::Integer(number) => Some(Decimal::from(*number)),
        Value::Boolean(truth) => Some(Decimal::from(u8::from(*truth))),
        Value::Float(number) => Decimal::try_from(*number).ok(),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a decimal"))
}

fn to_boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(truth) => Some(*truth),
        Value::Integer(number) => Some(*number != 0),
        Value::Float(number) => Some(*number != 0.0),
        Value::Decimal(number) => Some(!number.is_zero()),
        Value::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a boolean"))
}

fn to_guid(value: &Value) -> Result<uuid::Uuid, String> {
    match value {
        Value::Guid(id) => Some(*id),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
    .ok_or_else(|| no_conversion(value, "a guid"))
}

fn no_conversion(value: &Value, to: &str) -> String {
    match value {
        Value::Text(text) => format!("'{text}' is not {to}"),
        other => format!("{} can't be made {to}", other.kind()),
    }
}
