//! Values of expressions, and how they compare.

use std::cmp::Ordering;

use bytes::{BufMut, Bytes, BytesMut};

use crate::servicebus::{filter::PropertyValue, message::scalar};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Unknown.
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Value {
    /// Reads an encoded AMQP value. Times are milliseconds since 1970; what has no counterpart here
    /// is unknown.
    pub(super) fn decode(encoded: &[u8]) -> Self {
        match encoded {
            [0x72, n @ ..] => n
                .try_into()
                .map_or(Self::Null, |n| Self::Float(f32::from_be_bytes(n).into())),
            [0x82, n @ ..] => n.try_into().map_or(Self::Null, |n| Self::Float(f64::from_be_bytes(n))),
            [0x83, n @ ..] => n
                .try_into()
                .map_or(Self::Null, |n| Self::Integer(i64::from_be_bytes(n))),
            [0x98, id @ ..] => uuid::Uuid::from_slice(id).map_or(Self::Null, |id| Self::Text(id.to_string())),
            other => match scalar(other) {
                Some(PropertyValue::Text(text)) => Self::Text(text),
                Some(PropertyValue::Integer(number)) => Self::Integer(number),
                Some(PropertyValue::Boolean(truth)) => Self::Boolean(truth),
                None => Self::Null,
            },
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
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
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
