//! Throughput units, on request: what is more than a namespace has bought is refused or waits.
//!
//! One unit is 1 MB or 1,000 events a second in, 2 MB or 4,096 events a second out ("Event Hubs
//! throughput units" in Microsoft's docs). Publications beyond are refused with
//! `com.microsoft:server-busy`; readers are slowed down.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::amqp::error::{self, Error};

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// What a namespace may take in and give out.
#[derive(Debug)]
pub(super) struct Throughput {
    units: u32,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    refilled: Instant,
    bytes_in: Bucket,
    events_in: Bucket,
    bytes_out: Bucket,
    events_out: Bucket,
}

/// Fills at a steady rate and holds what comes in one second.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    /// Below zero where more was taken than there was.
    left: f64,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            left: per_second,
        }
    }

    fn refill(&mut self, seconds: f64) {
        self.left = (self.left + seconds * self.per_second).min(self.per_second);
    }

    fn empty_for(&self) -> Duration {
        Duration::from_secs_f64((-self.left / self.per_second).max(0.0))
    }
}

impl Throughput {
    /// So many units.
    pub(super) fn new(units: u32) -> Self {
        let per_unit = |rate: f64| Bucket::new(rate * f64::from(units));
        Self {
            units,
            buckets: Mutex::new(Buckets {
                refilled: Instant::now(),
                bytes_in: per_unit(MEGABYTE),
                events_in: per_unit(1000.0),
                bytes_out: per_unit(2.0 * MEGABYTE),
                events_out: per_unit(4096.0),
            }),
        }
    }

    /// Takes a publication in, whole or not at all.
    pub(super) fn admit(&self, bytes: usize, events: usize) -> Result<(), Error> {
        let mut buckets = self.buckets();
        let (bytes, events) = (bytes as f64, events as f64);
        if bytes > buckets.bytes_in.left || events > buckets.events_in.left {
            return Err(error::server_busy(format!(
                "The namespace is being throttled (50002): {} throughput unit(s) take {} MB and {} events a second.",
                self.units,
                self.units,
                u64::from(self.units) * 1000
            )));
        }
        buckets.bytes_in.left -= bytes;
        buckets.events_in.left -= events;
        Ok(())
    }

    /// Notes what was given out.
    pub(super) fn gave(&self, bytes: usize, events: usize) {
        let mut buckets = self.buckets();
        buckets.bytes_out.left -= bytes as f64;
        buckets.events_out.left -= events as f64;
    }

    /// Waits until something may be given out.
    pub(super) async fn may_give(&self) {
        loop {
            let wait = {
                let buckets = self.buckets();
                buckets.bytes_out.empty_for().max(buckets.events_out.empty_for())
            };
            if wait.is_zero() {
                return;
            }
            // Timers are exact to the millisecond.
            tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let seconds = (now - buckets.refilled).as_secs_f64();
        buckets.refilled = now;
        buckets.bytes_in.refill(seconds);
        buckets.events_in.refill(seconds);
        buckets.bytes_out.refill(seconds);
        buckets.events_out.refill(seconds);
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_unit_takes_a_thousand_events_a_second_and_then_no_more() {
        let throughput = Throughput::new(1);
        throughput.admit(1000, 1000).unwrap();
        let busy = throughput.admit(1, 1).unwrap_err();
        assert_eq!(error::condition(&busy), "com.microsoft:server-busy");
        tokio::time::advance(Duration::from_millis(500)).await;
        throughput.admit(1000, 499).unwrap();
        assert!(throughput.admit(1000, 10).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_wait_for_what_they_had_too_early() {
        let throughput = Throughput::new(2);
        throughput.may_give().await;
        throughput.gave(8 * 1024 * 1024, 10);
        let before = Instant::now();
        throughput.may_give().await;
        let waited = before.elapsed().as_secs_f64();
        assert!((0.99..1.1).contains(&waited), "{waited}");
    }
}
