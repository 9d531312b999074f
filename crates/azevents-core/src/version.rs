//! Where an event stands in its stream, and what an appender expects to find there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of an event in its stream, counted from 1. A stream of `n` events is *at* version `n`;
/// [`Version::NONE`] (0) is a stream without events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// No event yet.
    pub const NONE: Self = Self(0);
    /// The first event.
    pub const FIRST: Self = Self(1);

    /// The version with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version of the event that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version `events` further on.
    #[must_use]
    pub const fn plus(self, events: u64) -> Self {
        Self(self.0 + events)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The end of a stream: how many events it has, and where its last commit begins.
///
/// A store that knows where the last commit begins can append without looking for it first, so pass on
/// the head that a load or an append returned: [`ExpectedVersion::Head`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamHead {
    /// The version of the last event.
    pub version: Version,
    /// The version of the first event of the last commit.
    pub last_commit: Version,
}

/// What an append expects of its stream. Anything else is a [conflict](crate::Conflict).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Append whatever the stream holds.
    Any,
    /// The stream has no event yet.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream is at exactly this version.
    Exact(Version),
    /// As [`Exact`](Self::Exact), by a head that a load or an append returned: one request less.
    Head(StreamHead),
}

impl ExpectedVersion {
    /// Whether a stream that ends at `current` is what is expected.
    pub fn accepts(self, current: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => current == Version::NONE,
            Self::StreamExists => current > Version::NONE,
            Self::Exact(version) => current == version,
            Self::Head(head) => current == head.version,
        }
    }
}

impl From<Option<StreamHead>> for ExpectedVersion {
    fn from(head: Option<StreamHead>) -> Self {
        head.map_or(Self::NoStream, Self::Head)
    }
}
