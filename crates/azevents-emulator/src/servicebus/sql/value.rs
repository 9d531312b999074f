//! Values of expressions, of the .NET types that the service's SQL works with.

use bytes::Bytes;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire;
use crate::servicebus::clock::Timestamp;

/// A value, of one of the types that the service's SQL knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    /// Unknown.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i64),
    /// A floating-point number of any width.
    Float(#[serde(with = "exact")] f64),
    /// A decimal number of up to 28 digits, as .NET's `Decimal`.
    Decimal(Decimal),
    /// A text, or what is compared as one.
    Text(String),
    /// A UUID.
    Guid(Uuid),
    /// A point in time, as .NET counts: in ticks of 100 ns since the beginning of the year 1, UTC.
    #[serde(rename = "DateTime")]
    Time(i64),
    /// A length of time, in ticks of 100 ns.
    Span(i64),
}

/// .NET's `DateTime.MaxValue`: the last tick of the year 9999.
pub(super) const LAST_TICK: i64 = 3_155_378_975_999_999_999;

const UNIX_EPOCH: i64 = Timestamp::from_millis(0).as_dotnet_ticks();

const TICKS_PER_MILLISECOND: i64 = 10_000;

impl Value {
    /// .NET's `DateTime.MinValue`: a time that was not set.
    pub(super) const NO_TIME: Self = Self::Time(0);

    /// .NET's `DateTime.MaxValue`: when something ends that has no end.
    pub(super) const NEVER: Self = Self::Time(LAST_TICK);

    /// .NET's `TimeSpan.MaxValue`: a length of time that was not set.
    pub(super) const FOR_EVER: Self = Self::Span(i64::MAX);

    /// A length of time.
    pub(crate) fn span(length: std::time::Duration) -> Self {
        Self::Span(i64::try_from(length.as_nanos() / 100).unwrap_or(i64::MAX))
    }

    /// A point in time, as a Unix time in milliseconds; unknown before the year 1 and after 9999.
    pub(crate) fn time(unix_millis: i64) -> Self {
        let ticks = unix_millis.checked_mul(TICKS_PER_MILLISECOND);
        let ticks = ticks.and_then(|ticks| ticks.checked_add(UNIX_EPOCH));
        ticks.map_or(Self::Null, Self::time_of_ticks)
    }

    /// A point in time in .NET's ticks; unknown before the year 1 and after 9999.
    pub(crate) fn time_of_ticks(ticks: i64) -> Self {
        match ticks {
            0..=LAST_TICK => Self::Time(ticks),
            _ => Self::Null,
        }
    }

    /// As a Unix time in whole milliseconds.
    pub(crate) fn unix_millis(ticks: i64) -> i64 {
        (ticks - UNIX_EPOCH).div_euclid(TICKS_PER_MILLISECOND)
    }

    /// Reads an encoded AMQP value; what has no counterpart here is unknown.
    pub(crate) fn decode(encoded: &[u8]) -> Self {
        wire::decode(encoded)
    }

    /// As AMQP; `None` for what is unknown.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        wire::encode(self)
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn of_truth(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Boolean)
    }

    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "what is unknown",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Decimal(_) => "a decimal",
            Self::Text(_) => "a text",
            Self::Guid(_) => "a guid",
            Self::Time(_) => "a time",
            Self::Span(_) => "a length of time",
        }
    }
}

/// As text in JSON, whose reader may otherwise miss the last bit.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
