//! The fields of a request's body, read as strictly as the service does.

use std::collections::BTreeMap;

use bytes::Bytes;
use fe2o3_amqp_types::messaging::Body;
use serde_amqp::{Value, primitives::OrderedMap};

use crate::{
    amqp::RequestMessage,
    servicebus::{BrokerError, Value as Wanted, clock::Timestamp, engine::LockToken},
};

/// The map that is a request's body.
pub(super) struct Arguments<'a> {
    map: &'a OrderedMap<Value, Value>,
}

impl<'a> Arguments<'a> {
    pub(super) fn read(message: &'a RequestMessage) -> Result<Self, BrokerError> {
        match &message.body {
            Body::Value(value) => Self::of(&value.0),
            _ => Err(BrokerError::Malformed("The request's body is not a map.".into())),
        }
    }

    /// The fields of a map within the body.
    pub(super) fn of(value: &'a Value) -> Result<Self, BrokerError> {
        match value {
            Value::Map(map) => Ok(Self { map }),
            _ => Err(BrokerError::Malformed("The request's body is not a map.".into())),
        }
    }

    /// A field, unless it is absent or null. Names come as strings from most clients.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        let named = |key: &Value| match key {
            Value::String(key) => key == name,
            Value::Symbol(key) => key.0 == name,
            _ => false,
        };
        let found = self.map.iter().find(|(key, _)| named(key));
        found.map(|(_, value)| value).filter(|value| **value != Value::Null)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, BrokerError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&'a str, BrokerError> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A map within the map.
    pub(super) fn map(&self, name: &str) -> Result<Option<Self>, BrokerError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Map(map)) => Ok(Some(Self { map })),
            Some(_) => Err(wrong(name, "a map")),
        }
    }

    pub(super) fn required_map(&self, name: &str) -> Result<Self, BrokerError> {
        self.map(name)?.ok_or_else(|| missing(name))
    }

    /// All fields, as values that a filter can ask for.
    pub(super) fn properties(&self) -> Result<BTreeMap<String, Wanted>, BrokerError> {
        let pairs = self.map.iter().map(|(name, value)| {
            let Value::String(name) = name else {
                return Err(BrokerError::Malformed(
                    "The name of a property must be a string.".into(),
                ));
            };
            match serde_amqp::to_vec(value).map(|encoded| Wanted::decode(&encoded)) {
                Ok(Wanted::Null) | Err(_) => Err(BrokerError::NotSupported(format!(
                    "A filter on '{name}' with a value of this type"
                ))),
                Ok(wanted) => Ok((name.clone(), wanted)),
            }
        });
        pairs.collect()
    }

    pub(super) fn binary(&self, name: &str) -> Result<Option<Bytes>, BrokerError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Binary(bytes)) => Ok(Some(Bytes::copy_from_slice(bytes))),
            Some(_) => Err(wrong(name, "a binary")),
        }
    }

    /// An integer of any type: the clients differ.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, BrokerError> {
        self.get(name)
            .map(|value| integer(value).ok_or_else(|| wrong(name, "an integer")))
            .transpose()
    }

    pub(super) fn required_integer(&self, name: &str) -> Result<i64, BrokerError> {
        self.integer(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn required_timestamp(&self, name: &str) -> Result<Timestamp, BrokerError> {
        match self.get(name) {
            Some(Value::Timestamp(time)) => Ok(Timestamp::from_millis(time.milliseconds())),
            Some(_) => Err(wrong(name, "a timestamp")),
            None => Err(missing(name)),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], BrokerError> {
        match self.get(name) {
            Some(Value::Array(array)) => Ok(&array.0),
            Some(Value::List(list)) => Ok(list),
            Some(_) => Err(wrong(name, "an array")),
            None => Err(missing(name)),
        }
    }

    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, BrokerError> {
        let values = self.list(name)?.iter();
        values
            .map(|value| integer(value).ok_or_else(|| wrong(name, "an array of integers")))
            .collect()
    }

    pub(super) fn lock_tokens(&self) -> Result<Vec<LockToken>, BrokerError> {
        let values = self.list("lock-tokens")?.iter();
        values
            .map(|value| match value {
                Value::Uuid(uuid) => Ok(LockToken::from_uuid(uuid::Uuid::from_bytes(*uuid.as_inner()))),
                _ => Err(wrong("lock-tokens", "an array of uuids")),
            })
            .collect()
    }
}

fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::Ubyte(n) => Some(n.into()),
        Value::Ushort(n) => Some(n.into()),
        Value::Uint(n) => Some(n.into()),
        Value::Ulong(n) => n.try_into().ok(),
        Value::Byte(n) => Some(n.into()),
        Value::Short(n) => Some(n.into()),
        Value::Int(n) => Some(n.into()),
        Value::Long(n) => Some(n),
        _ => None,
    }
}

fn missing(name: &str) -> BrokerError {
    BrokerError::Malformed(format!("The request lacks the field '{name}'."))
}

fn wrong(name: &str, expected: &str) -> BrokerError {
    BrokerError::Malformed(format!("The field '{name}' must be {expected}."))
}
