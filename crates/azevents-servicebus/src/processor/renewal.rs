//! Keeping a lock while a handler runs, and telling the handler when it is lost.

use std::future::Future;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// Renew at most this long before the lock ends, as the .NET processors do.
const AHEAD: Duration = Duration::from_secs(10);
/// Shortest pause between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Renews a lock until the future is dropped, until `give_up`, or until it is lost; then cancels
/// `lock_lost` and waits to be dropped. Tells `failed` of every attempt that did.
pub(super) async fn keep<F, Fut>(
    mut locked_until: OffsetDateTime,
    give_up: impl Fn() -> Option<Instant>,
    lock_lost: CancellationToken,
    mut renew: F,
    failed: impl Fn(Error),
) where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<OffsetDateTime>>,
{
    loop {
        let remaining = remaining(locked_until);
        if give_up().is_some_and(|end| Instant::now() >= end) {
            // Long enough: from here on the lock just runs out.
            tokio::time::sleep(remaining).await;
            break;
        }
        let until_end = give_up().map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        tokio::time::sleep(delay(remaining).min(until_end.max(PAUSE))).await;
        if give_up().is_some_and(|end| Instant::now() >= end) {
            continue;
        }
        match renew().await {
            Ok(end) => locked_until = end,
            // Until the lock has run out, the next attempt may still come in time.
            Err(error) if error.is_transient() && !self::remaining(locked_until).is_zero() => {
                failed(error);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                failed(error);
                break;
            }
        }
    }
    lock_lost.cancel();
    std::future::pending::<()>().await;
}

pub(crate) fn remaining(locked_until: OffsetDateTime) -> Duration {
    Duration::try_from(locked_until - OffsetDateTime::now_utc()).unwrap_or_default()
}

/// `remaining - min(remaining / 2, a constant)`.
pub(crate) fn delay(remaining: Duration) -> Duration {
    remaining.saturating_sub(AHEAD.min(remaining / 2)).max(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::cell::Cell;

    #[test]
    fn renewal_comes_halfway_or_ten_seconds_ahead() {
        let seconds = Duration::from_secs;
        assert_eq!(delay(seconds(60)), seconds(50));
        assert_eq!(delay(seconds(5)), Duration::from_millis(2500));
        assert_eq!(delay(Duration::ZERO), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lock_cancels_the_handler() {
        let lost = CancellationToken::new();
        let renewals = Cell::new(0);
        let keep = keep(
            OffsetDateTime::now_utc() + Duration::from_secs(30),
            || None,
            lost.clone(),
            || {
                renewals.set(renewals.get() + 1);
                let answer = match renewals.get() {
                    1 => Ok(OffsetDateTime::now_utc() + Duration::from_secs(30)),
                    _ => Err(Error::new(ErrorKind::MessageLockLost, "gone")),
                };
                async move { answer }
            },
            |error| assert_eq!(error.kind(), ErrorKind::MessageLockLost),
        );
        tokio::select! {
            () = keep => unreachable!("waits to be dropped"),
            () = lost.cancelled() => {}
        }
        assert_eq!(renewals.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_time_a_lock_is_left_to_run_out() {
        let lost = CancellationToken::new();
        let end = Instant::now() + Duration::from_secs(5);
        let keep = keep(
            OffsetDateTime::now_utc() + Duration::from_secs(30),
            || Some(end),
            lost.clone(),
            || async { unreachable!("not renewed any more") },
            |_| {},
        );
        tokio::select! {
            () = keep => unreachable!("waits to be dropped"),
            () = lost.cancelled() => {}
        }
        assert!(Instant::now() >= end);
    }
}
