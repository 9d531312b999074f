//! Values of expressions, and how they compare.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::servicebus::{
    clock::Timestamp,
    filter::PropertyValue,
    message::{Scanner, scalar, text},
};

/// A value, of one of the types that the service's SQL knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    /// Unknown.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i64),
    /// A floating-point number of any width.
    Float(f64),
    /// A text, or what is compared as one.
    Text(String),
    /// A point in time, as a Unix time in milliseconds. Only compared.
    Time(i64),
    /// A length of time, in ticks of 100 ns. Only compared.
    Span(i64),
}

// .NET's types as Microsoft's clients write them into application properties: described by these names
// (`AmqpMessageConstants` in azure-sdk-for-net), times and lengths of time as ticks.
const TIMESPAN: &str = "com.microsoft:timespan";
const DATETIME_OFFSET: &str = "com.microsoft:datetime-offset";
const URI: &str = "com.microsoft:uri";

const TICKS_PER_MILLISECOND: i64 = 10_000;

impl Value {
    /// .NET's `DateTime.MinValue`, the beginning of the year 1: a time that was not set.
    pub(super) const NO_TIME: Self = Self::Time(-62_135_596_800_000);

    /// .NET's `TimeSpan.MaxValue`: a length of time that was not set.
    pub(super) const FOR_EVER: Self = Self::Span(i64::MAX);

    /// A length of time.
    pub(crate) fn span(length: std::time::Duration) -> Self {
        Self::Span(i64::try_from(length.as_nanos() / 100).unwrap_or(i64::MAX))
    }

    /// Reads an encoded AMQP value; what has no counterpart here is unknown.
    pub(super) fn decode(encoded: &[u8]) -> Self {
        match encoded {
            [0x72, n @ ..] => n
                .try_into()
                .map_or(Self::Null, |n| Self::Float(f32::from_be_bytes(n).into())),
            [0x82, n @ ..] => n.try_into().map_or(Self::Null, |n| Self::Float(f64::from_be_bytes(n))),
            [0x83, n @ ..] => n.try_into().map_or(Self::Null, |n| Self::Time(i64::from_be_bytes(n))),
            [0x98, id @ ..] => uuid::Uuid::from_slice(id).map_or(Self::Null, |id| Self::Text(id.to_string())),
            [0x00, described @ ..] => Self::described(described).unwrap_or(Self::Null),
            other => match scalar(other) {
                Some(PropertyValue::Text(text)) => Self::Text(text),
                Some(PropertyValue::Integer(number)) => Self::Integer(number),
                Some(PropertyValue::Boolean(truth)) => Self::Boolean(truth),
                None => Self::Null,
            },
        }
    }

    fn described(described: &[u8]) -> Option<Self> {
        let mut parts = Scanner::new(described);
        let (name, value) = (parts.value().ok()?, parts.value().ok()?);
        match (text(name)?, Self::decode(value)) {
            (TIMESPAN, Self::Integer(ticks)) => Some(Self::Span(ticks)),
            (DATETIME_OFFSET, Self::Integer(ticks)) => {
                let since_1970 = ticks.checked_sub(Timestamp::from_millis(0).as_dotnet_ticks())?;
                Some(Self::Time(since_1970.div_euclid(TICKS_PER_MILLISECOND)))
            }
            (URI, Self::Text(text)) => Some(Self::Text(text)),
            _ => None,
        }
    }

    /// As AMQP; `None` for what is unknown.
    pub(super) fn encode(&self) -> Option<Bytes> {
        let mut out = BytesMut::with_capacity(9);
        match self {
            Self::Null => return None,
            Self::Boolean(truth) => out.put_u8(if *truth { 0x41 } else { 0x42 }),
            Self::Integer(number) => {
                out.put_u8(0x81);
                out.put_i64(*number);
            }
            Self::Float(number) => {
                out.put_u8(0x82);
                out.put_f64(*number);
            }
            Self::Text(text) => return Some(super::string(text)),
            Self::Time(millis) => {
                out.put_u8(0x83);
                out.put_i64(*millis);
            }
            Self::Span(ticks) => {
                out.put_slice(&[0x00, 0xa3, TIMESPAN.len() as u8]);
                out.put_slice(TIMESPAN.as_bytes());
                out.put_u8(0x81);
                out.put_i64(*ticks);
            }
        }
        Some(out.freeze())
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn of_truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Boolean)
    }

    /// Unknown where the types can't be compared.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) | (Self::Time(a), Self::Time(b)) | (Self::Span(a), Self::Span(b)) => {
                Some(a.cmp(b))
            }
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (a, b) => a.number()?.partial_cmp(&b.number()?),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }
}
