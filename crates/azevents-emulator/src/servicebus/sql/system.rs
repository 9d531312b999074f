//! What the broker knows of a message, by names that begin with `sys.`.
//!
//! They are the public properties of .NET's `BrokeredMessage`, which the documentation refers to; those that have
//! a setter there are what an action sets. Rules are applied as a message passes its topic: it has a number and a time
//! there, and nobody has locked it. A name that is not among them is refused with the rule, as that library does.

use std::time::Duration;

use super::{Value, convert, properties::unreadable};
use crate::servicebus::{
    clock::Timestamp,
    message::{Arrival, Malformed, Message, id_text},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// A text in the properties section, by its position there (AMQP 1.0 section 3.2.4).
    Field(usize),
    DeadLetterSource,
    DeliveryCount,
    EnqueuedSequenceNumber,
    EnqueuedTime,
    ExpiresAt,
    ForcePersistence,
    LockToken,
    LockedUntil,
    PartitionKey,
    ScheduledEnqueueTime,
    SequenceNumber,
    Size,
    State,
    TimeToLive,
    ViaPartitionKey,
}

/// Names, in any case.
const NAMES: [(&str, System); 24] = [
    ("MessageId", System::Field(0)),
    ("To", System::Field(2)),
    ("Label", System::Field(3)),
    ("Subject", System::Field(3)),
    ("ReplyTo", System::Field(4)),
    ("CorrelationId", System::Field(5)),
    ("ContentType", System::Field(6)),
    ("SessionId", System::Field(SESSION)),
    ("ReplyToSessionId", System::Field(12)),
    ("DeadLetterSource", System::DeadLetterSource),
    ("DeliveryCount", System::DeliveryCount),
    ("EnqueuedSequenceNumber", System::EnqueuedSequenceNumber),
    ("EnqueuedTimeUtc", System::EnqueuedTime),
    ("ExpiresAtUtc", System::ExpiresAt),
    ("ForcePersistence", System::ForcePersistence),
    ("LockToken", System::LockToken),
    ("LockedUntilUtc", System::LockedUntil),
    ("PartitionKey", System::PartitionKey),
    ("ScheduledEnqueueTimeUtc", System::ScheduledEnqueueTime),
    ("SequenceNumber", System::SequenceNumber),
    ("Size", System::Size),
    ("State", System::State),
    ("TimeToLive", System::TimeToLive),
    ("ViaPartitionKey", System::ViaPartitionKey),
];

const SESSION: usize = 10;

const PARTITION_KEY: &str = "x-opt-partition-key";
const VIA_PARTITION_KEY: &str = "x-opt-via-partition-key";

/// Active: `MessageState` in .NET, and what receivers are told.
const ACTIVE: i64 = 0;

impl System {
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, system)| *system).ok_or_else(|| {
            let known: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
            format!("there is no property sys.{name}, only {}", known.join(", "))
        })
    }

    pub(super) fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(_, system)| *system == self);
        found.map_or("", |(name, _)| name)
    }

    pub(super) fn can_be_set(self) -> bool {
        matches!(
            self,
            Self::Field(_)
                | Self::ForcePersistence
                | Self::PartitionKey
                | Self::ScheduledEnqueueTime
                | Self::TimeToLive
                | Self::ViaPartitionKey
        )
    }

    pub(super) fn can_be_removed(self) -> bool {
        matches!(self, Self::Field(_) | Self::PartitionKey | Self::ViaPartitionKey)
    }

    pub(super) fn read(self, arrival: &Arrival) -> Result<Value, Malformed> {
        let message = &arrival.message;
        let annotation = |name: &str| Ok(message.annotation(name)?.map_or(Value::Null, Value::decode));
        let time = |at: Timestamp| Value::time(at.as_millis());
        Ok(match self {
            // All are texts in .NET: also an id that is a number or a UUID on the wire.
            Self::Field(position) => id_text(message.field(position)?).map_or(Value::Null, Value::Text),
            Self::DeadLetterSource => match message.dead_letter_source() {
                Some(source) => Value::Text(source.to_string()),
                None => Value::Null,
            },
            Self::DeliveryCount => Value::Integer(0),
            Self::EnqueuedSequenceNumber => Value::Integer(message.first_sequence_number().unwrap_or(0)),
            Self::EnqueuedTime => time(arrival.enqueued_at),
            Self::ExpiresAt => match arrival.expires_at().map(time) {
                None | Some(Value::Null) => Value::NEVER,
                Some(at) => at,
            },
            // All is kept that is sent, whatever it says.
            Self::ForcePersistence => Value::Boolean(false),
            Self::LockToken | Self::LockedUntil => Value::Null,
            Self::PartitionKey => annotation(PARTITION_KEY)?,
            Self::ViaPartitionKey => annotation(VIA_PARTITION_KEY)?,
            Self::ScheduledEnqueueTime => message.scheduled_at().map_or(Value::NO_TIME, time),
            Self::SequenceNumber => Value::Integer(arrival.sequence_number),
            Self::Size => Value::Integer(i64::try_from(message.size()).unwrap_or(i64::MAX)),
            Self::State => Value::Integer(ACTIVE),
            Self::TimeToLive => message.ttl().map_or(Value::FOR_EVER, Value::span),
        })
    }

    /// Gives it a value, made into the type it has; what is unknown takes a text away.
    pub(super) fn set(self, message: &mut Message, value: &Value) -> Result<(), String> {
        let text = || match value {
            Value::Null => Ok(None),
            value => convert::to_text(value).map(Some),
        };
        match self {
            Self::Field(position) => {
                let encoded = text()?.map(|text| super::string(&text));
                message.set_field(position, encoded.as_deref()).map_err(unreadable)
            }
            Self::PartitionKey => {
                let key = text()?;
                if let (Some(key), Some(session)) = (&key, message.session_id())
                    && **session != **key
                {
                    return Err(format!(
                        "the PartitionKey '{key}' differs from the SessionId '{session}'"
                    ));
                }
                set_annotation(message, PARTITION_KEY, key)
            }
            Self::ViaPartitionKey => set_annotation(message, VIA_PARTITION_KEY, text()?),
            Self::ScheduledEnqueueTime => {
                let at = Timestamp::from_millis(Value::unix_millis(convert::to_time(value)?));
                message.schedule(at).map_err(unreadable)
            }
            Self::TimeToLive => {
                let ttl = match convert::to_span(value)? {
                    i64::MAX => None,
                    ticks @ 1.. => Some(Duration::from_micros(ticks.unsigned_abs() / 10)),
                    _ => return Err("a time to live is longer than nothing".to_owned()),
                };
                message.live_for(ttl).map_err(unreadable)
            }
            Self::ForcePersistence => match value {
                Value::Boolean(_) => Ok(()),
                other => Err(format!("{} can't be made a boolean", other.kind())),
            },
            _ => Err(format!("sys.{} can't be set", self.name())),
        }
    }
}

fn set_annotation(message: &mut Message, name: &str, text: Option<String>) -> Result<(), String> {
    let encoded = text.map(|text| super::string(&text));
    message.set_annotation(name, encoded.as_deref()).map_err(unreadable)
}
