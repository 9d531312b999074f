//! What surrounds a handler: retries in place, dead-letter routing, panics, and counting.

mod batch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;

use crate::circuit_breaker::{CircuitBreaker, Pass};
use crate::dead_letter::{DeadLetter, RETRIES_EXHAUSTED};
use crate::error::chain;
use crate::failures::Failures;
use crate::handler::{Delivery, Handled, Handler, HandlerError};
use crate::message::Message;
use crate::retry::RetryPolicy;
use batch::Batches;

pub use batch::{BatchLimits, BatchSettlement};

/// What a consumer does with a message once the pipeline has dealt with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Handled: take it off the broker.
    Complete,
    /// Not handled: let the broker deliver it again, in its place, after this many failures.
    Abandon(Box<Failures>),
    /// Not handled, and not because of the message: let the broker deliver it again as if it had not been delivered,
    /// once the [circuit](CircuitBreaker) lets it through. It must not count.
    Release,
    /// Not to be handled: move it aside with the reason.
    DeadLetter(DeadLetter),
}

/// What a pipeline has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Messages whose effect was made.
    pub handled: u64,
    /// Copies of messages that had been handled before.
    pub duplicates: u64,
    /// Messages set aside.
    pub dead_lettered: u64,
    /// Tries after the first, in place.
    pub retries: u64,
    /// Messages given back to the broker.
    pub abandoned: u64,
    /// Messages given back uncounted, because the circuit was open.
    pub released: u64,
}

/// A handler with its retries and its way out for messages that cannot be handled.
///
/// ```
/// # use azevents_core::{Delivery, Handled, Handler, HandlerError, Message, Pipeline, Settlement};
/// # use std::sync::Arc;
/// struct Refuse;
///
/// #[async_trait::async_trait]
/// impl Handler for Refuse {
///     async fn handle(&self, _: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
///         Err(HandlerError::permanent("UnknownCurrency", "GBX"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let message = Message { id: "1".into(), key: "order-1".into(), event_type: "LineAdded".into(),
/// #     content_type: "application/json".into(), body: Default::default(), headers: Default::default() };
/// let pipeline = Pipeline::new(Arc::new(Refuse));
/// let settlement = pipeline.process(&message, &Delivery::new(1)).await;
/// assert!(matches!(settlement, Settlement::DeadLetter(why) if why.reason == "UnknownCurrency"));
/// # }
/// ```
pub struct Pipeline {
    handler: Arc<dyn Handler>,
    /// Set where messages are handled several at once; `handler` then takes those that are to go alone.
    batches: Option<Batches>,
    retry: RetryPolicy,
    max_deliveries: u32,
    consumer: Arc<str>,
    breaker: Option<CircuitBreaker>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    handled: AtomicU64,
    duplicates: AtomicU64,
    dead_lettered: AtomicU64,
    retries: AtomicU64,
    abandoned: AtomicU64,
    released: AtomicU64,
}

impl Pipeline {
    /// A pipeline with the default retries, which dead-letters a message at its tenth failed delivery.
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            batches: None,
            retry: RetryPolicy::default(),
            max_deliveries: 10,
            consumer: "".into(),
            breaker: None,
            counters: Counters::default(),
        }
    }

    /// Sets the retries within one delivery. Keep their sum well below the message lock.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the delivery at which a message that still fails is dead-lettered. The broker's own limit
    /// (`maxDeliveryCount`) should not be lower, or it decides first and the reason is lost.
    #[must_use]
    pub fn with_max_deliveries(mut self, deliveries: u32) -> Self {
        self.max_deliveries = deliveries;
        self
    }

    /// Sets the consumer's name, for the story that dead letters tell. Without one it is where they were received from.
    #[must_use]
    pub fn with_consumer(mut self, name: impl Into<Arc<str>>) -> Self {
        self.consumer = name.into();
        self
    }

    /// Sets a circuit breaker: while (nearly) everything fails, messages are neither received nor counted as tried.
    /// Pipelines that depend on the same service can share one. Default: none.
    #[must_use]
    pub fn with_circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// The circuit breaker, where it has one.
    pub fn circuit_breaker(&self) -> Option<&CircuitBreaker> {
        self.breaker.as_ref()
    }

    /// Waits until a message would not be [released](Settlement::Release) at once.
    pub async fn ready(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.ready().await;
        }
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            handled: read(&self.counters.handled),
            duplicates: read(&self.counters.duplicates),
            dead_lettered: read(&self.counters.dead_lettered),
            retries: read(&self.counters.retries),
            abandoned: read(&self.counters.abandoned),
            released: read(&self.counters.released),
        }
    }

    /// Handles one delivery and says how to settle it. Never fails: what goes wrong becomes part of the
    /// answer. Dropping it is a crash of the handler at that point.
    pub async fn process(&self, message: &Message, delivery: &Delivery) -> Settlement {
        let mut pass = match &self.breaker {
            None => None,
            Some(breaker) => match breaker.enter() {
                Some(pass) => Some(pass),
                None => return self.release(message),
            },
        };
        let mut failures = match &delivery.failures {
            Some(failures) => failures.as_ref().clone(),
            None => Failures::of(&message.headers).unwrap_or_default(),
        };
        let mut delays = self.retry.delays();
        let error = loop {
            let error = match self.attempt(message, delivery).await {
                Ok(handled) => {
                    if let Some(pass) = pass.take() {
                        pass.succeeded();
                    }
                    let counter = match handled {
                        Handled::Done => &self.counters.handled,
                        Handled::Duplicate => &self.counters.duplicates,
                    };
                    return settle(counter, Settlement::Complete);
                }
                Err(error) => error,
            };
            failures.record(&self.consumer, &error);
            if !error.is_transient() {
                return self.dead_letter(message, error.reason(), &error, failures);
            }
            if delivery.lock_lost.is_cancelled() {
                break error;
            }
            if let Some(pass) = &mut pass
                && pass.failed(&message.id).await
            {
                return self.release(message);
            }
            let Some(delay) = delays.next() else { break error };
            tracing::debug!(
                id = message.id,
                ?delay,
                error = chain(&error),
                "handler failed, trying again"
            );
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = delivery.lock_lost.cancelled() => break error,
            }
            // Others have found out meanwhile.
            if pass.as_ref().is_some_and(Pass::is_over) {
                return self.release(message);
            }
        };
        if delivery.count >= self.max_deliveries && !delivery.lock_lost.is_cancelled() {
            return self.dead_letter(message, RETRIES_EXHAUSTED, &error, failures);
        }
        tracing::warn!(
            id = message.id,
            delivery = delivery.count,
            error = chain(&error),
            "handler failed, message given back"
        );
        settle(&self.counters.abandoned, Settlement::Abandon(Box::new(failures)))
    }

    fn release(&self, message: &Message) -> Settlement {
        tracing::debug!(id = message.id, "the circuit is open, message given back uncounted");
        settle(&self.counters.released, Settlement::Release)
    }

    async fn attempt(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        guarded(self.handler.handle(message, delivery), delivery).await
    }

    fn dead_letter(&self, message: &Message, reason: &str, error: &HandlerError, failures: Failures) -> Settlement {
        let why = DeadLetter::new(reason, chain(error)).after(failures);
        tracing::warn!(id = message.id, key = message.key, %why, "message dead-lettered");
        settle(&self.counters.dead_lettered, Settlement::DeadLetter(why))
    }
}

/// One call of a handler, ended early when the lock is lost; a panic is an error like any other.
async fn guarded<T>(
    call: impl Future<Output = Result<T, HandlerError>>,
    delivery: &Delivery,
) -> Result<T, HandlerError> {
    let call = AssertUnwindSafe(call).catch_unwind();
    tokio::select! {
        biased;
        result = call => result.unwrap_or_else(|panic| Err(HandlerError::transient(panic_text(panic.as_ref())))),
        () = delivery.lock_lost.cancelled() => {
            Err(HandlerError::transient("the message's lock was lost while it was handled"))
        }
    }
}

/// Counts an outcome on the way out.
fn settle(counter: &AtomicU64, settlement: Settlement) -> Settlement {
    counter.fetch_add(1, Ordering::Relaxed);
    settlement
}

/// What a handler that panicked said, as an error's text.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the handler panicked: {text}")
}
