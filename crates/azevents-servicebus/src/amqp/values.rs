//! Small conversions between AMQP values and Rust's.

use std::time::Duration;

use fe2o3_amqp::types::primitives::{OrderedMap, Symbol, Timestamp, Value};
use time::OffsetDateTime;

/// Ticks of 100 ns between 0001-01-01, where .NET starts to count, and the Unix epoch.
const TICKS_TO_UNIX_EPOCH: i128 = 621_355_968_000_000_000;

pub(crate) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp::from_milliseconds((at.unix_timestamp_nanos() / 1_000_000) as i64)
}

pub(crate) fn from_timestamp(at: &Timestamp) -> Option<OffsetDateTime> {
    from_millis(at.milliseconds())
}

fn from_millis(millis: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
}

/// A point in time that the service gives as an AMQP timestamp or as .NET ticks.
pub(crate) fn instant(value: &Value) -> Option<OffsetDateTime> {
    match value {
        Value::Timestamp(at) => from_timestamp(at),
        Value::Long(ticks) => {
            OffsetDateTime::from_unix_timestamp_nanos((i128::from(*ticks) - TICKS_TO_UNIX_EPOCH) * 100).ok()
        }
        _ => None,
    }
}

/// An integer of whatever width the peer chose.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    Some(match value {
        Value::Long(n) => *n,
        Value::Int(n) => i64::from(*n),
        Value::Short(n) => i64::from(*n),
        Value::Byte(n) => i64::from(*n),
        Value::Ulong(n) => i64::try_from(*n).ok()?,
        Value::Uint(n) => i64::from(*n),
        Value::Ushort(n) => i64::from(*n),
        Value::Ubyte(n) => i64::from(*n),
        _ => return None,
    })
}

/// Text, whether sent as a string or as a symbol.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) | Value::Symbol(Symbol(text)) => Some(text),
        _ => None,
    }
}

/// A whole number of milliseconds, saturating at the 49 days that an AMQP uint holds.
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A map with string keys, as `$management` bodies are.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> OrderedMap<Value, Value> {
    entries
        .into_iter()
        .map(|(key, value)| (Value::String(key.to_owned()), value))
        .collect()
}

/// Looks up a string key.
pub(crate) fn entry<'a>(map: &'a OrderedMap<Value, Value>, key: &str) -> Option<&'a Value> {
    map.iter()
        .find(|(name, _)| text(name) == Some(key))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_timestamps_name_the_same_instant() {
        let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        assert_eq!(instant(&Value::Timestamp(timestamp(at))), Some(at));
        assert_eq!(instant(&Value::Long(638_355_968_000_000_000)), Some(at));
    }
}
