//! One clock for the whole broker: wall time that advances with tokio's.
//!
//! Everything the broker promises about time (locks, time to live, schedules) is a [`Timestamp`].
//! Deriving it from tokio's clock rather than the system's lets a test with a paused clock see a
//! lock expire without waiting, and keeps a running broker from jumping when the host's time is set.

use std::{
    ops::Add,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// Milliseconds since the Unix epoch: the unit AMQP timestamps have (AMQP 1.0 section 1.6.17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// Milliseconds since the Unix epoch.
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) const fn as_millis(self) -> i64 {
        self.0
    }

    /// Ticks of 100 ns since 1 January of the year 1, as .NET counts them and as Service Bus writes
    /// a session lock's end into the link's properties.
    pub(crate) const fn as_dotnet_ticks(self) -> i64 {
        const UNIX_EPOCH_IN_TICKS: i64 = 621_355_968_000_000_000;
        UNIX_EPOCH_IN_TICKS + self.0 * 10_000
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates: a time to live of `Duration::MAX` never ends.
    fn add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Reads the time, and turns a [`Timestamp`] back into something to sleep until.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at: Timestamp,
}

impl Clock {
    /// A clock that shows the system's time now and advances with tokio's from here on.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_at: Timestamp(0) + since_epoch,
        }
    }

    /// The time now, in whole milliseconds, never going backwards.
    pub(crate) fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }

    /// The instant at which [`now`](Self::now) first reaches `at`; far in the future for a time
    /// that can't be expressed.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let ahead = at.0.saturating_sub(self.started_at.0).max(0);
        let ahead = Duration::from_millis(ahead.unsigned_abs());
        self.started.checked_add(ahead).unwrap_or_else(|| Instant::now() + FAR)
    }
}
