//! Bodies that are AMQP values instead of bytes: what clients of other brokers and frameworks send.

use bytes::Bytes;
use fe2o3_amqp::types::primitives::{Array, OrderedMap, SimpleValue, Value};
use serde_amqp::described::Described;

use super::PropertyValue;

/// Any AMQP value (AMQP 1.0 section 1).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AmqpValue {
    /// A single value.
    Simple(PropertyValue),
    /// Values of any types.
    List(Vec<AmqpValue>),
    /// Values of one type.
    Array(Vec<AmqpValue>),
    /// Pairs, in their order.
    Map(Vec<(AmqpValue, AmqpValue)>),
    /// A value with the name of its type: a symbol or an unsigned long, and the value.
    Described(Box<(PropertyValue, AmqpValue)>),
}

impl<T: Into<PropertyValue>> From<T> for AmqpValue {
    fn from(value: T) -> Self {
        Self::Simple(value.into())
    }
}

/// The body of a message, in the kinds that AMQP has (AMQP 1.0 section 3.2.6 to 3.2.8).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum AmqpBody<'a> {
    /// Bytes: what every Azure SDK sends unless told otherwise.
    Data(&'a Bytes),
    /// One value.
    Value(&'a AmqpValue),
    /// Sections with a list each.
    Sequence(&'a [Vec<AmqpValue>]),
}

/// A body that is no bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Structured {
    Value(AmqpValue),
    Sequence(Vec<Vec<AmqpValue>>),
}

impl AmqpValue {
    pub(crate) fn to_wire(&self) -> Value {
        let all = |values: &[Self]| values.iter().map(Self::to_wire).collect::<Vec<_>>();
        match self {
            Self::Simple(value) => Value::from(value.to_wire()),
            Self::List(values) => Value::List(all(values)),
            Self::Array(values) => Value::Array(Array::from(all(values))),
            Self::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, value)| (key.to_wire(), value.to_wire()))
                    .collect::<OrderedMap<_, _>>(),
            ),
            Self::Described(described) => {
                let (name, value) = described.as_ref();
                Value::Described(Box::new(Described {
                    descriptor: name.to_descriptor(),
                    value: value.to_wire(),
                }))
            }
        }
    }

    /// What cannot be expressed (a point in time that no calendar has) becomes nothing.
    pub(crate) fn from_wire(value: Value) -> Self {
        let all = |values: Vec<Value>| values.into_iter().map(Self::from_wire).collect();
        match value {
            Value::List(values) => Self::List(all(values)),
            Value::Array(values) => Self::Array(all(values.into_inner())),
            Value::Map(pairs) => Self::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| (Self::from_wire(key), Self::from_wire(value)))
                    .collect(),
            ),
            Value::Described(described) => {
                let name = PropertyValue::from_descriptor(described.descriptor);
                Self::Described(Box::new((name, Self::from_wire(described.value))))
            }
            simple => Self::Simple(
                SimpleValue::try_from(simple)
                    .ok()
                    .and_then(PropertyValue::from_wire)
                    .unwrap_or(PropertyValue::Null),
            ),
        }
    }
}
