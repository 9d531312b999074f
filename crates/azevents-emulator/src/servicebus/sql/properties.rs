//! What of a message can be named: the broker's own properties and the application's.

use super::Value;
use crate::servicebus::message::{Malformed, Message, Scanner, text};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Property {
    /// One that lies in the properties section.
    System(Field),
    /// One that the broker reads from elsewhere, and that no action sets.
    Broker(Known),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    DeadLetterSource,
    PartitionKey,
    ScheduledEnqueueTime,
    Size,
    TimeToLive,
    ViaPartitionKey,
}

/// More names in `sys.`: the public properties of .NET's `BrokeredMessage`, which the documentation refers to.
const KNOWN: [(&str, Known); 6] = [
    ("DeadLetterSource", Known::DeadLetterSource),
    ("PartitionKey", Known::PartitionKey),
    ("ScheduledEnqueueTimeUtc", Known::ScheduledEnqueueTime),
    ("Size", Known::Size),
    ("TimeToLive", Known::TimeToLive),
    ("ViaPartitionKey", Known::ViaPartitionKey),
];

/// What the service has besides. A rule here is applied to messages as they were sent, so these have no value yet.
const NOT_HERE: [&str; 9] = [
    "DeliveryCount",
    "EnqueuedSequenceNumber",
    "EnqueuedTimeUtc",
    "ExpiresAtUtc",
    "ForcePersistence",
    "LockToken",
    "LockedUntilUtc",
    "SequenceNumber",
    "State",
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
                if let Some((_, known)) = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                    return Ok(Self::Broker(*known));
                }
                if NOT_HERE.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    let known = FIELDS.iter().map(|(known, _)| *known);
                    let known: Vec<_> = known.chain(KNOWN.iter().map(|(known, _)| *known)).collect();
                    return Err(format!("this emulator has no sys.{name}, only {}", known.join(", ")));
                }
                Ok(Self::Missing(name.to_owned()))
            }
            Some(scope) => Err(format!("'{scope}' is neither sys nor user")),
        }
    }

    /// As [`new`](Self::new), for what an action changes.
    pub(super) fn changeable(self) -> Result<Self, String> {
        match &self {
            Self::Broker(known) => {
                let name = KNOWN
                    .iter()
                    .find(|(_, other)| other == known)
                    .map_or("", |(name, _)| name);
                Err(format!("this emulator has no actions that change sys.{name}"))
            }
            _ => Ok(self),
        }
    }

    /// Unknown if the message doesn't have it.
    pub(super) fn read(&self, message: &Message) -> Result<Value, String> {
        let encoded = match self {
            Self::System(Field(position)) => field(message, *position),
            Self::User(name) => user_property(message, name),
            Self::Broker(known) => return known.read(message).map_err(unreadable),
            Self::Missing(name) => return Err(format!("there is no property sys.{name}")),
        };
        Ok(encoded.map_err(unreadable)?.map_or(Value::Null, Value::decode))
    }

    pub(super) fn exists(&self, message: &Message) -> Result<bool, String> {
        match self {
            // A value of an unknown type is one, too.
            Self::User(name) => Ok(user_property(message, name).map_err(unreadable)?.is_some()),
            Self::System(Field(position)) => Ok(field(message, *position).map_err(unreadable)?.is_some()),
            _ => Ok(self.read(message)? != Value::Null),
        }
    }
}

impl Known {
    fn read(self, message: &Message) -> Result<Value, Malformed> {
        let annotation = |name: &str| Ok(message.annotation(name)?.map_or(Value::Null, Value::decode));
        Ok(match self {
            Self::DeadLetterSource => match message.dead_letter_source() {
                Some(source) => Value::Text(source.to_string()),
                None => Value::Null,
            },
            Self::PartitionKey => annotation("x-opt-partition-key")?,
            Self::ViaPartitionKey => annotation("x-opt-via-partition-key")?,
            Self::ScheduledEnqueueTime => message
                .scheduled_at()
                .map_or(Value::NO_TIME, |at| Value::Time(at.as_millis())),
            Self::Size => Value::Integer(i64::try_from(message.size()).unwrap_or(i64::MAX)),
            Self::TimeToLive => message.ttl().map_or(Value::FOR_EVER, Value::span),
        })
    }
}

fn unreadable(_: Malformed) -> String {
    "the message's properties can't be read".to_owned()
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
