//! Where the time went: phases of a run, and how long events were on their way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use azevents::{Delivery, Handled, Handler, HandlerError, Message};
use comfy_table::Table;
use hdrhistogram::Histogram;
use time::OffsetDateTime;

use crate::consumers::Name;
use crate::report::{grouped, table};

/// Phases and latencies of a run. Clones share them.
#[derive(Debug, Clone)]
pub struct Timings(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    begun: Instant,
    phases: Vec<(&'static str, Duration)>,
    latencies: BTreeMap<Name, Histogram<u64>>,
}

/// How long events took from commit to handler, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
}

impl Timings {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(State {
            begun: Instant::now(),
            phases: Vec::new(),
            latencies: BTreeMap::new(),
        })))
    }

    /// Ends a phase that began where the one before ended.
    pub fn phase(&self, name: &'static str) {
        let mut state = self.lock();
        let before: Duration = state.phases.iter().map(|(_, took)| *took).sum();
        let took = state.begun.elapsed().saturating_sub(before);
        state.phases.push((name, took));
    }

    /// How long a phase took; zero when it hasn't ended.
    pub fn of(&self, name: &str) -> Duration {
        self.lock()
            .phases
            .iter()
            .filter(|(phase, _)| *phase == name)
            .map(|(_, took)| *took)
            .sum()
    }

    /// How long a consumer's events were on their way; `None` before its first.
    pub fn latency(&self, name: Name) -> Option<Latency> {
        let state = self.lock();
        let histogram = state.latencies.get(&name)?;
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Some(Latency {
            p50: ms(0.50),
            p99: ms(0.99),
        })
    }

    /// Measures a consumer's handler.
    pub fn measure(&self, name: Name, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
        Arc::new(Measured {
            name,
            handler,
            timings: self.clone(),
        })
    }

    /// Both as a table.
    pub fn table(&self) -> Table {
        let mut shown = table(&["where the time went", "ms"]);
        for (phase, took) in &self.lock().phases {
            shown.add_row([(*phase).to_owned(), grouped(took.as_millis() as u64)]);
        }
        for name in Name::ALL {
            if let Some(Latency { p50, p99 }) = self.latency(name) {
                shown.add_row([
                    format!("commit to {}, p50 / p99", name.as_str()),
                    format!("{p50:.0} / {p99:.0}"),
                ]);
            }
        }
        shown
    }

    fn record(&self, name: Name, took: Duration) {
        let mut state = self.lock();
        let histogram = state.latencies.entry(name).or_insert_with(|| {
            // Microseconds up to an hour, three digits.
            Histogram::new_with_max(3_600_000_000, 3).expect("valid bounds")
        });
        histogram.saturating_record(took.as_micros() as u64);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler that notes when each message reached it for the first time.
struct Measured {
    name: Name,
    handler: Arc<dyn Handler>,
    timings: Timings,
}

#[async_trait]
impl Handler for Measured {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        if let (1, Some(committed)) = (delivery.count, message.committed_at()) {
            self.timings.record(
                self.name,
                (OffsetDateTime::now_utc() - committed).try_into().unwrap_or_default(),
            );
        }
        self.handler.handle(message, delivery).await
    }
}
