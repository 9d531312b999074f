//! One clock for all services: wall time that advances with tokio's, and with what a test adds.
//!
//! Everything the services promise about time (locks, time to live, schedules, retention) goes by
//! it. Deriving it from tokio's clock rather than the system's lets a test with a paused clock see
//! a lock expire without waiting, and keeps a running emulator from jumping when the host's time is
//! set. Tokens are the exception: they come from outside and end when their issuer says.

use std::{
    fmt,
    ops::Add,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Milliseconds since the Unix epoch: the unit AMQP timestamps have (AMQP 1.0 section 1.6.17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
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

/// Timers have an end; what is farther away is asked for again.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time of one emulator. It goes on by itself; tests make it jump ahead.
///
/// Locks, time to live, scheduled messages, duplicate detection and retention follow it, in every
/// service. Tokens and connections don't: a jump of a year cuts nobody off.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use azevents_emulator::Emulator;
///
/// let emulator = Emulator::builder().start().await?;
/// let before = emulator.clock().now_utc();
/// emulator.clock().advance(Duration::from_secs(3600));
/// assert!(emulator.clock().now_utc() - before >= time::Duration::HOUR);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Clock {
    started: Instant,
    started_at: Timestamp,
    /// How far it was made to jump.
    ahead: Arc<watch::Sender<Duration>>,
}

impl Clock {
    /// A clock that shows the system's time now and advances with tokio's from here on.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_at: Timestamp(0) + since_epoch,
            ahead: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// Makes it jump ahead. What falls due by that happens soon after, each service in its own time.
    pub fn advance(&self, by: Duration) {
        self.ahead.send_modify(|ahead| *ahead = ahead.saturating_add(by));
    }

    /// How far it has jumped since the emulator started.
    pub fn advanced(&self) -> Duration {
        *self.ahead.borrow()
    }

    /// The time now, to the millisecond.
    pub fn now_utc(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.now().0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The time now, in whole milliseconds, never going backwards.
    pub(crate) fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed().saturating_add(self.advanced())
    }

    /// Waits until [`now`](Self::now) reaches `at`, by itself or by a jump.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        let mut jumps = self.ahead.subscribe();
        loop {
            let left = at.0.saturating_sub(self.now().0);
            let Ok(left @ 1..) = u64::try_from(left) else {
                return;
            };
            let left = Duration::from_millis(left).min(FAR);
            tokio::select! {
                () = sleep_until(Instant::now() + left) => {}
                // Fails only when the sender is gone, and that is `self`.
                _ = jumps.changed() => {}
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now_utc())
            .field("advanced", &self.advanced())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_when_the_time_comes_or_the_clock_jumps_past_it() {
        let clock = Clock::start();
        let hour = Duration::from_secs(3600);
        let due = clock.now() + hour;
        clock.sleep_until(due).await;
        assert!(clock.now() >= due);

        let due = clock.now() + hour;
        let started = Instant::now();
        tokio::join!(clock.sleep_until(due), async {
            tokio::task::yield_now().await;
            clock.advance(hour / 2);
            tokio::task::yield_now().await;
            clock.advance(hour / 2);
        });
        assert!(clock.now() >= due);
        assert!(started.elapsed() < Duration::from_secs(1), "nobody waited");
        assert_eq!(clock.advanced(), hour);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_falls_due_is_waited_for_without_overflow() {
        let clock = Clock::start();
        let never = clock.now() + Duration::MAX;
        let waited = tokio::time::timeout(Duration::from_secs(5), clock.sleep_until(never)).await;
        assert!(waited.is_err());
    }
}
