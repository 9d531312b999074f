//! Values as AMQP, in the encodings that Microsoft's clients use.

use bytes::{BufMut, Bytes, BytesMut};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Value, decimal};
use crate::servicebus::message::{Scanner, boolean, integer, text, ulong};

// .NET's types as Microsoft's clients write them into application properties: described by these names
// (`AmqpMessageConstants` in azure-sdk-for-net), times and lengths of time as ticks.
pub(super) const TIMESPAN: &str = "com.microsoft:timespan";
pub(super) const DATETIME_OFFSET: &str = "com.microsoft:datetime-offset";
pub(super) const URI: &str = "com.microsoft:uri";

pub(super) fn decode(encoded: &[u8]) -> Value {
    match encoded {
        [0x72, n @ ..] => n.try_into().map(|n| Value::Float(f32::from_be_bytes(n).into())).ok(),
        [0x82, n @ ..] => n.try_into().map(|n| Value::Float(f64::from_be_bytes(n))).ok(),
        [0x83, n @ ..] => n.try_into().map(|n| Value::time(i64::from_be_bytes(n))).ok(),
        [0x98, id @ ..] => Uuid::from_slice(id).map(Value::Guid).ok(),
        [0x74 | 0x84 | 0x94, bits @ ..] => decimal::decode(bits).map(Value::Decimal),
        [0x00, described @ ..] => decode_described(described),
        other => text(other)
            .map(|text| Value::Text(text.to_owned()))
            .or_else(|| boolean(other).map(Value::Boolean))
            .or_else(|| integer(other).map(Value::Integer))
            .or_else(|| ulong(other).map(|large| Value::Decimal(Decimal::from(large)))),
    }
    .unwrap_or(Value::Null)
}

fn decode_described(described: &[u8]) -> Option<Value> {
    let mut parts = Scanner::new(described);
    let (name, value) = (parts.value().ok()?, parts.value().ok()?);
    // Not by way of `decode`: nobody knows how deep it goes.
    match text(name)? {
        TIMESPAN => integer(value).map(Value::Span),
        DATETIME_OFFSET => integer(value).map(Value::time_of_ticks),
        URI => text(value).map(|text| Value::Text(text.to_owned())),
        _ => None,
    }
}

/// The name that a value is described by, if it is.
pub(super) fn descriptor(encoded: &[u8]) -> Option<&str> {
    match encoded {
        [0x00, described @ ..] => text(Scanner::new(described).value().ok()?),
        _ => None,
    }
}

pub(super) fn encode(value: &Value) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(17);
    match value {
        Value::Null => return None,
        Value::Boolean(truth) => out.put_u8(if *truth { 0x41 } else { 0x42 }),
        Value::Integer(number) => {
            out.put_u8(0x81);
            out.put_i64(*number);
        }
        Value::Float(number) => {
            out.put_u8(0x82);
            out.put_f64(*number);
        }
        Value::Decimal(number) => out.put_slice(&decimal::encode(*number)),
        Value::Text(text) => return Some(super::string(text)),
        Value::Guid(id) => {
            out.put_u8(0x98);
            out.put_slice(id.as_bytes());
        }
        Value::Time(ticks) => {
            out.put_u8(0x83);
            out.put_i64(Value::unix_millis(*ticks));
        }
        Value::Span(ticks) => return Some(encode_ticks(TIMESPAN, *ticks)),
    }
    Some(out.freeze())
}

/// A number of ticks, described by a name.
pub(super) fn encode_ticks(name: &str, ticks: i64) -> Bytes {
    let mut out = begin_described(name);
    out.put_u8(0x81);
    out.put_i64(ticks);
    out.freeze()
}

/// A text, described by a name.
pub(super) fn encode_named_text(name: &str, text: &str) -> Bytes {
    let mut out = begin_described(name);
    out.put_slice(&super::string(text));
    out.freeze()
}

fn begin_described(name: &str) -> BytesMut {
    let mut out = BytesMut::with_capacity(name.len() + 12);
    out.put_slice(&[0x00, 0xa3, name.len() as u8]);
    out.put_slice(name.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_as_it_was_written() {
        for value in [
            Value::Boolean(false),
            Value::Integer(-5),
            Value::Float(2.5),
            Value::Decimal(Decimal::new(-1250, 2)),
            Value::Text("a".repeat(300)),
            Value::Guid(Uuid::from_u128(7)),
            Value::time(1_577_836_800_250),
            Value::Span(-100),
        ] {
            assert_eq!(decode(&encode(&value).unwrap()), value);
        }
    }

    #[test]
    fn what_has_no_counterpart_is_unknown() {
        let too_late = [&[0x83][..], &i64::MAX.to_be_bytes()].concat();
        for encoded in [
            &[0x40][..],
            &[0xa0, 1, 7],
            &[0x73, 0, 0, 0, 65],
            &[0x00, 0xa3],
            &too_late,
            &[],
        ] {
            assert_eq!(decode(encoded), Value::Null, "{encoded:x?}");
        }
    }

    #[test]
    fn an_unsigned_number_beyond_64_bits_with_sign_is_kept_exactly() {
        let encoded = [&[0x80][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(decode(&encoded), Value::Decimal(Decimal::from(u64::MAX)));
    }
}
