//! What of a message can be named: the broker's own properties and the application's.

use bytes::Bytes;

use super::{Expression, Value, convert, system::System};
use crate::servicebus::message::{Arrival, Malformed, Message, PropertyChanges, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Property {
    System(System),
    User(String),
}

impl Property {
    /// A name with what stands before its dot.
    pub(super) fn new(scope: Option<&str>, name: &str) -> Result<Self, String> {
        match scope.map(str::to_lowercase).as_deref() {
            None | Some("user") => Ok(Self::User(name.to_owned())),
            Some("sys") => System::named(name).map(Self::System),
            Some(scope) => Err(format!("'{scope}' is neither sys nor user")),
        }
    }

    /// As [`new`](Self::new), for what an action sets.
    pub(super) fn settable(self) -> Result<Self, String> {
        match &self {
            Self::System(system) if !system.can_be_set() => Err(format!("sys.{} can't be set", system.name())),
            _ => Ok(self),
        }
    }

    /// As [`new`](Self::new), for what an action removes.
    pub(super) fn removable(self) -> Result<Self, String> {
        match &self {
            Self::System(system) if !system.can_be_removed() => Err(format!("sys.{} can't be removed", system.name())),
            _ => Ok(self),
        }
    }

    /// Unknown if the message doesn't have it.
    pub(super) fn read(&self, arrival: &Arrival) -> Result<Value, String> {
        match self {
            Self::System(system) => system.read(arrival),
            Self::User(name) => user(&arrival.message, name).map(|encoded| encoded.map_or(Value::Null, Value::decode)),
        }
        .map_err(unreadable)
    }

    pub(super) fn exists(&self, arrival: &Arrival) -> Result<bool, String> {
        match self {
            Self::System(system) => Ok(system.read(arrival).map_err(unreadable)? != Value::Null),
            // A value of an unknown type is one, too.
            Self::User(name) => Ok(user(&arrival.message, name).map_err(unreadable)?.is_some()),
        }
    }

    /// Gives it the value of an expression, in the type it has already.
    pub(super) fn set(&self, arrival: &mut Arrival, expression: &Expression) -> Result<(), String> {
        let value = expression.evaluate(arrival)?;
        match self {
            Self::System(system) => system.set(&mut arrival.message, &value),
            Self::User(name) => {
                let existing = user(&arrival.message, name).map_err(unreadable)?;
                let encoded = match (existing, expression.as_it_is(arrival)?) {
                    // All of it, in whatever type.
                    (None, Some(copied)) => Some(copied),
                    (Some(existing), Some(copied)) if value == Value::Null => copy_unread(existing, copied)?,
                    (None, None) => value.encode(),
                    (Some(existing), _) => convert::encode_like(existing, &value)?,
                };
                change(&mut arrival.message, name, encoded)
            }
        }
    }

    /// Takes it away.
    pub(super) fn remove(&self, arrival: &mut Arrival) -> Result<(), String> {
        match self {
            Self::System(system) => system.set(&mut arrival.message, &Value::Null),
            Self::User(name) => change(&mut arrival.message, name, None),
        }
    }

    /// As the sender encoded it, of an application property.
    pub(super) fn as_it_is(&self, arrival: &Arrival) -> Result<Option<Bytes>, String> {
        match self {
            Self::System(_) => Ok(None),
            Self::User(name) => {
                let encoded = user(&arrival.message, name).map_err(unreadable)?;
                Ok(encoded.map(Bytes::copy_from_slice))
            }
        }
    }
}

/// A null, or a value of a type that nothing is made of or into.
fn copy_unread(existing: &[u8], copied: Bytes) -> Result<Option<Bytes>, String> {
    match Value::decode(existing) {
        Value::Null => Ok(Some(copied)),
        _ if *copied == [0x40] => Ok(None),
        read => Err(format!("a value of another type can't be made {}", read.kind())),
    }
}

fn change(message: &mut Message, name: &str, encoded: Option<Bytes>) -> Result<(), String> {
    // What is there in another case is this property, too.
    let there = name_of(message, name).map_err(unreadable)?;
    let name = there.as_deref().unwrap_or(name);
    let mut changes = PropertyChanges::default();
    match encoded {
        Some(encoded) => changes.set_encoded(name, encoded),
        None => changes.remove(name),
    }
    message.change_properties(&changes).map_err(unreadable)
}

pub(super) fn unreadable(_: Malformed) -> String {
    "the message's properties can't be read".to_owned()
}

fn user<'a>(message: &'a Message, name: &str) -> Result<Option<&'a [u8]>, Malformed> {
    Ok(find(message, name)?.map(|(_, value)| value))
}

fn name_of(message: &Message, name: &str) -> Result<Option<String>, Malformed> {
    Ok(find(message, name)?.map(|(name, _)| name.to_owned()))
}

/// Names are compared without regard to case, as the service's SQL does; one in the same case wins.
fn find<'a>(message: &'a Message, name: &str) -> Result<Option<(&'a str, &'a [u8])>, Malformed> {
    let mut pairs = message.pairs()?;
    let mut found = None;
    while !pairs.is_empty() {
        let (key, value) = (text(pairs.value()?).unwrap_or_default(), pairs.value()?);
        if key == name {
            return Ok(Some((key, value)));
        }
        if key.eq_ignore_ascii_case(name) {
            found = Some((key, value));
        }
    }
    Ok(found)
}
