//! Values with a form of their own; each error says what to write instead.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::topology::{EntityStatus, TimeToLive, duration};

/// `30s`, `5m`, `2h`, `14d`, or ISO 8601.
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a duration; write for example \"30s\", \"5m\", \"2h\" or \"14d\""
            ))
        })
    }
}

pub(super) struct AtLeastOne(pub(super) u32);

impl<'de> Deserialize<'de> for AtLeastOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Err(D::Error::custom("max_delivery_count must be at least 1")),
            count => Ok(Self(count)),
        }
    }
}

pub(super) struct Status(pub(super) EntityStatus);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        EntityStatus::named(&text).map(Self).ok_or_else(|| {
            let all = EntityStatus::ALL.map(|status| format!("\"{}\"", status.name()));
            D::Error::custom(format_args!("`{text}` is no status; write one of {}", all.join(", ")))
        })
    }
}

/// The time after which an entity that nobody uses is deleted.
pub(super) struct Idle(pub(super) Duration);

impl<'de> Deserialize<'de> for Idle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Span(after) = Span::deserialize(deserializer)?;
        if after < Duration::from_secs(300) {
            return Err(D::Error::custom("auto_delete_on_idle must be at least \"5m\""));
        }
        Ok(Self(after))
    }
}

/// In bytes.
pub(super) struct MessageSize(pub(super) u64);

impl<'de> Deserialize<'de> for MessageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            0..1024 => Err(D::Error::custom(
                "max_message_size is a number of bytes, from 1024; write for example 65536",
            )),
            bytes => Ok(Self(bytes)),
        }
    }
}

pub(super) struct Expiry(pub(super) TimeToLive);

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(match text.as_str() {
            "off" => TimeToLive::Off,
            "per item" => TimeToLive::PerItem,
            _ => match span(&text) {
                Some(after) if after.as_secs() > 0 => TimeToLive::After(after),
                _ => {
                    return Err(D::Error::custom(format_args!(
                        "`{text}` is no time to live; write \"off\", \"per item\" or a duration such as \"14d\""
                    )));
                }
            },
        }))
    }
}

fn span(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let short = || {
        let unit = text.chars().last()?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let count: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        count.checked_mul(seconds).map(Duration::from_secs)
    };
    short().or_else(|| duration::parse(text))
}
