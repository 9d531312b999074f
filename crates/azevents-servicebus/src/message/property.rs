//! Values of application properties.

use bytes::Bytes;
use fe2o3_amqp::types::primitives::{Binary, SimpleValue, Symbol, Uuid as AmqpUuid, Value};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::amqp::values;

/// A value in the application properties, of any AMQP type that they may have (AMQP 1.0 section 3.2.5).
/// What is received is what was sent: a message that is sent on keeps its types.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PropertyValue {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An 8-bit integer without sign, .NET's `byte`.
    Ubyte(u8),
    /// A 16-bit integer without sign.
    Ushort(u16),
    /// A 32-bit integer without sign.
    Uint(u32),
    /// A 64-bit integer without sign.
    Ulong(u64),
    /// An 8-bit integer, .NET's `sbyte`.
    Byte(i8),
    /// A 16-bit integer.
    Short(i16),
    /// A 32-bit integer.
    Int(i32),
    /// A 64-bit integer.
    Long(i64),
    /// A 32-bit floating point number.
    Float(f32),
    /// A 64-bit floating point number.
    Double(f64),
    /// A decimal, in the bytes of IEEE 754 decimal32.
    Decimal32([u8; 4]),
    /// A decimal, in the bytes of IEEE 754 decimal64.
    Decimal64([u8; 8]),
    /// A decimal, in the bytes of IEEE 754 decimal128; .NET's `decimal` is sent as one.
    Decimal128([u8; 16]),
    /// A character.
    Char(char),
    /// Text.
    String(String),
    /// A name, in ASCII.
    Symbol(String),
    /// A UUID.
    Uuid(Uuid),
    /// A point in time, to the millisecond.
    Timestamp(OffsetDateTime),
    /// Bytes.
    Binary(Bytes),
    /// A value with the name of its type (a symbol or an unsigned long): .NET sends a `TimeSpan`, a `Uri`
    /// and a `DateTimeOffset` like that.
    Described(Box<(PropertyValue, PropertyValue)>),
}

impl PropertyValue {
    /// The text, where it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is an integer of whatever width that fits.
    pub fn as_i64(&self) -> Option<i64> {
        Some(match *self {
            Self::Ubyte(n) => n.into(),
            Self::Ushort(n) => n.into(),
            Self::Uint(n) => n.into(),
            Self::Ulong(n) => i64::try_from(n).ok()?,
            Self::Byte(n) => n.into(),
            Self::Short(n) => n.into(),
            Self::Int(n) => n.into(),
            Self::Long(n) => n,
            _ => return None,
        })
    }

    /// The number, where it is one with a floating point.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(n) => Some(n.into()),
            Self::Double(n) => Some(n),
            _ => None,
        }
    }

    /// As text, for readers that know nothing else; `None` for nothing, for bytes and for decimals.
    pub(crate) fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null | Self::Binary(_) | Self::Decimal32(_) | Self::Decimal64(_) | Self::Decimal128(_) => {
                return None;
            }
            Self::Bool(value) => value.to_string(),
            Self::Ubyte(value) => value.to_string(),
            Self::Ushort(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Ulong(value) => value.to_string(),
            Self::Byte(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Char(value) => value.to_string(),
            Self::String(value) | Self::Symbol(value) => value.clone(),
            Self::Uuid(value) => value.to_string(),
            Self::Timestamp(value) => value.format(&Rfc3339).ok()?,
            Self::Described(described) => described.1.to_text()?,
        })
    }

    pub(crate) fn to_wire(&self) -> SimpleValue {
        match self {
            Self::Null => SimpleValue::Null,
            Self::Bool(value) => SimpleValue::Bool(*value),
            Self::Ubyte(value) => SimpleValue::Ubyte(*value),
            Self::Ushort(value) => SimpleValue::Ushort(*value),
            Self::Uint(value) => SimpleValue::Uint(*value),
            Self::Ulong(value) => SimpleValue::Ulong(*value),
            Self::Byte(value) => SimpleValue::Byte(*value),
            Self::Short(value) => SimpleValue::Short(*value),
            Self::Int(value) => SimpleValue::Int(*value),
            Self::Long(value) => SimpleValue::Long(*value),
            Self::Float(value) => SimpleValue::Float((*value).into()),
            Self::Double(value) => SimpleValue::Double((*value).into()),
            Self::Decimal32(value) => SimpleValue::Decimal32((*value).into()),
            Self::Decimal64(value) => SimpleValue::Decimal64((*value).into()),
            Self::Decimal128(value) => SimpleValue::Decimal128((*value).into()),
            Self::Char(value) => SimpleValue::Char(*value),
            Self::String(value) => SimpleValue::String(value.clone()),
            Self::Symbol(value) => SimpleValue::Symbol(Symbol(value.clone())),
            Self::Uuid(value) => SimpleValue::Uuid(AmqpUuid::from(value.into_bytes())),
            Self::Timestamp(value) => SimpleValue::Timestamp(values::timestamp(*value)),
            Self::Binary(value) => SimpleValue::Binary(Binary::from(value.to_vec())),
            Self::Described(described) => SimpleValue::Described(Box::new(Described {
                descriptor: described.0.to_descriptor(),
                value: Value::from(described.1.to_wire()),
            })),
        }
    }

    /// `None` for a point in time that no calendar has, and for a described value that is not a simple one.
    pub(crate) fn from_wire(value: SimpleValue) -> Option<Self> {
        Some(match value {
            SimpleValue::Null => Self::Null,
            SimpleValue::Bool(value) => Self::Bool(value),
            SimpleValue::Ubyte(value) => Self::Ubyte(value),
            SimpleValue::Ushort(value) => Self::Ushort(value),
            SimpleValue::Uint(value) => Self::Uint(value),
            SimpleValue::Ulong(value) => Self::Ulong(value),
            SimpleValue::Byte(value) => Self::Byte(value),
            SimpleValue::Short(value) => Self::Short(value),
            SimpleValue::Int(value) => Self::Int(value),
            SimpleValue::Long(value) => Self::Long(value),
            SimpleValue::Float(value) => Self::Float(value.into_inner()),
            SimpleValue::Double(value) => Self::Double(value.into_inner()),
            SimpleValue::Decimal32(value) => Self::Decimal32(value.into_inner()),
            SimpleValue::Decimal64(value) => Self::Decimal64(value.into_inner()),
            SimpleValue::Decimal128(value) => Self::Decimal128(value.into_inner()),
            SimpleValue::Char(value) => Self::Char(value),
            SimpleValue::String(value) => Self::String(value),
            SimpleValue::Symbol(value) => Self::Symbol(value.into_inner()),
            SimpleValue::Uuid(value) => Self::Uuid(Uuid::from_bytes(value.into_inner())),
            SimpleValue::Timestamp(value) => Self::Timestamp(values::from_timestamp(&value)?),
            SimpleValue::Binary(value) => Self::Binary(value.into_vec().into()),
            SimpleValue::Described(described) => {
                let value = SimpleValue::try_from(described.value).ok()?;
                Self::Described(Box::new((
                    Self::from_descriptor(described.descriptor),
                    Self::from_wire(value)?,
                )))
            }
        })
    }

    pub(crate) fn to_descriptor(&self) -> Descriptor {
        match self {
            Self::Ulong(code) => Descriptor::Code(*code),
            other => Descriptor::Name(Symbol(other.to_text().unwrap_or_default())),
        }
    }

    pub(crate) fn from_descriptor(descriptor: Descriptor) -> Self {
        match descriptor {
            Descriptor::Code(code) => Self::Ulong(code),
            Descriptor::Name(name) => Self::Symbol(name.into_inner()),
        }
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
    u8 => Ubyte,
    u16 => Ushort,
    u32 => Uint,
    u64 => Ulong,
    i8 => Byte,
    i16 => Short,
    i32 => Int,
    i64 => Long,
    f32 => Float,
    f64 => Double,
    char => Char,
    &str => String,
    String => String,
    Uuid => Uuid,
    OffsetDateTime => Timestamp,
    Bytes => Binary,
}
