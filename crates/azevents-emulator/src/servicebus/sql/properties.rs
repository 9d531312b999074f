//! What of a message can be named: the broker's own properties and the application's.

use super::Value;
use crate::servicebus::message::{Malformed, Message, Scanner, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Property {
    System(Field),
    User(String),
    /// In `sys.`, but not known to the service. That is found out with the first message, as in the service.
    Missing(String),
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

/// What the service has besides. A rule here is applied to messages as they were sent, so these have no value yet.
const NOT_HERE: [&str; 15] = [
    "DeadLetterSource",
    "DeliveryCount",
    "EnqueuedSequenceNumber",
    "EnqueuedTimeUtc",
    "ExpiresAtUtc",
    "ForcePersistence",
    "LockToken",
    "LockedUntilUtc",
    "PartitionKey",
    "ScheduledEnqueueTimeUtc",
    "SequenceNumber",
    "Size",
    "State",
    "TimeToLive",
    "ViaPartitionKey",
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
                if let Some((_, position)) = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    return Ok(Self::System(Field(*position)));
                }
                if NOT_HERE.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    let known = FIELDS.map(|(known, _)| known).join(", ");
                    return Err(format!("this emulator has no sys.{name}, only {known}"));
                }
                Ok(Self::Missing(name.to_owned()))
            }
            Some(scope) => Err(format!("'{scope}' is neither sys nor user")),
        }
    }

    /// Unknown if the message doesn't have it.
    pub(super) fn read(&self, message: &Message) -> Result<Value, String> {
        Ok(self.encoded(message)?.map_or(Value::Null, Value::decode))
    }

    pub(super) fn exists(&self, message: &Message) -> Result<bool, String> {
        Ok(self.encoded(message)?.is_some())
    }

    fn encoded<'a>(&self, message: &'a Message) -> Result<Option<&'a [u8]>, String> {
        let encoded = match self {
            Self::System(Field(position)) => field(message, *position),
            Self::User(name) => user_property(message, name),
            Self::Missing(name) => return Err(format!("there is no property sys.{name}")),
        };
        encoded.map_err(|_| "the message's properties can't be read".to_owned())
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
