//! Values of application properties.

use bytes::Bytes;
use fe2o3_amqp::types::primitives::{Binary, SimpleValue, Uuid as AmqpUuid};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::amqp::values;

/// A value in the application properties: the AMQP types that all SDKs read and write. Integers of other
/// widths are received as [`Long`](Self::Long).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PropertyValue {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A 32-bit integer.
    Int(i32),
    /// A 64-bit integer.
    Long(i64),
    /// A 64-bit floating point number.
    Double(f64),
    /// Text.
    String(String),
    /// A UUID.
    Uuid(Uuid),
    /// A point in time, to the millisecond.
    Timestamp(OffsetDateTime),
    /// Bytes.
    Binary(Bytes),
}

impl PropertyValue {
    /// The text, where it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is an integer.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(i64::from(*n)),
            Self::Long(n) => Some(*n),
            _ => None,
        }
    }

    /// As text, for readers that know nothing else; `None` for nothing and for bytes.
    pub(crate) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null | Self::Binary(_) => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::String(value) => value.clone(),
            Self::Uuid(value) => value.to_string(),
            Self::Timestamp(value) => value.format(&Rfc3339).ok()?,
        })
    }

    pub(crate) fn to_wire(&self) -> SimpleValue {
        match self {
            Self::Null => SimpleValue::Null,
            Self::Bool(value) => SimpleValue::Bool(*value),
            Self::Int(value) => SimpleValue::Int(*value),
            Self::Long(value) => SimpleValue::Long(*value),
            Self::Double(value) => SimpleValue::Double((*value).into()),
            Self::String(value) => SimpleValue::String(value.clone()),
            Self::Uuid(value) => SimpleValue::Uuid(AmqpUuid::from(value.into_bytes())),
            Self::Timestamp(value) => SimpleValue::Timestamp(values::timestamp(*value)),
            Self::Binary(value) => SimpleValue::Binary(Binary::from(value.to_vec())),
        }
    }

    /// `None` for the few AMQP types that no SDK writes (decimals, char).
    pub(crate) fn from_wire(value: SimpleValue) -> Option<Self> {
        Some(match value {
            SimpleValue::Null => Self::Null,
            SimpleValue::Bool(value) => Self::Bool(value),
            SimpleValue::Int(value) => Self::Int(value),
            SimpleValue::Long(value) => Self::Long(value),
            SimpleValue::Byte(value) => Self::Long(value.into()),
            SimpleValue::Short(value) => Self::Long(value.into()),
            SimpleValue::Ubyte(value) => Self::Long(value.into()),
            SimpleValue::Ushort(value) => Self::Long(value.into()),
            SimpleValue::Uint(value) => Self::Long(value.into()),
            SimpleValue::Ulong(value) => Self::Long(i64::try_from(value).ok()?),
            SimpleValue::Float(value) => Self::Double(f64::from(value.into_inner())),
            SimpleValue::Double(value) => Self::Double(value.into_inner()),
            SimpleValue::String(value) => Self::String(value),
            SimpleValue::Symbol(value) => Self::String(value.into_inner()),
            SimpleValue::Uuid(value) => Self::Uuid(Uuid::from_bytes(value.into_inner())),
            SimpleValue::Timestamp(value) => Self::Timestamp(values::from_timestamp(&value)?),
            SimpleValue::Binary(value) => Self::Binary(value.into_vec().into()),
            _ => return None,
        })
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for PropertyValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i32 => Int,
    i64 => Long,
    f64 => Double,
    &str => String,
    String => String,
    Uuid => Uuid,
    OffsetDateTime => Timestamp,
    Bytes => Binary,
}
