//! What of a message can be named: the broker's own properties and the application's.

use super::Value;
use crate::servicebus::message::{Malformed, Message, Scanner, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Property {
    System(Field),
    User(String),
}

/// A field of the properties section, by its position there (AMQP 1.0 section 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(usize);

/// Names in `sys.`, in any case.
const FIELDS: [(&str, usize); 9] = [
    ("MessageId", 0),
    ("To", 2),
    ("Label", 3),
    ("Subject", 3),
    ("ReplyTo", 4),
    ("CorrelationId", 5),
    ("ContentType", 6),
    ("SessionId", 10),
    ("ReplyToSessionId", 12),
];

impl Field {
    pub(super) fn position(self) -> usize {
        self.0
    }
}

impl Property {
    /// A name with what stands before its dot.
    pub(super) fn new(scope: Option<&str>, name: &str) -> Result<Self, String> {
        match scope.map(str::to_lowercase).as_deref() {
            None | Some("user") => Ok(Self::User(name.to_owned())),
            Some("sys") => {
                let field = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                field
                    .map(|(_, position)| Self::System(Field(*position)))
                    .ok_or_else(|| {
                        let known = FIELDS.map(|(known, _)| known).join(", ");
                        format!("this emulator has no sys.{name}, only {known}")
                    })
            }
            Some(scope) => Err(format!("'{scope}' is neither sys nor user")),
        }
    }

    /// Unknown if the message doesn't have it.
    pub(super) fn read(&self, message: &Message) -> Value {
        let encoded = match self {
            Self::System(Field(position)) => field(message, *position),
            Self::User(name) => user_property(message, name),
        };
        encoded.ok().flatten().map_or(Value::Null, Value::decode)
    }

    pub(super) fn exists(&self, message: &Message) -> bool {
        let encoded = match self {
            Self::System(Field(position)) => field(message, *position),
            Self::User(name) => user_property(message, name),
        };
        matches!(encoded, Ok(Some(_)))
    }
}

fn field(message: &Message, position: usize) -> Result<Option<&[u8]>, Malformed> {
    let mut section = Scanner::new(message.properties());
    if section.is_empty() {
        return Ok(None);
    }
    section.descriptor()?;
    let mut fields = section.list()?;
    for _ in 0..position {
        fields.field()?;
    }
    Ok(Some(fields.field()?).filter(|field| *field != [0x40]))
}

/// Names are compared without regard to case, as the service's SQL does; one in the same case wins.
fn user_property<'a>(message: &'a Message, name: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut section = Scanner::new(message.application_properties());
    if section.is_empty() {
        return Ok(None);
    }
    section.descriptor()?;
    let mut pairs = section.map()?;
    let mut found = None;
    while !pairs.is_empty() {
        let (key, value) = (text(pairs.value()?).unwrap_or_default(), pairs.value()?);
        if key == name {
            return Ok(Some(value));
        }
        if key.eq_ignore_ascii_case(name) {
            found = Some(value);
        }
    }
    Ok(found)
}
