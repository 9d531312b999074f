//! Not trying while nothing can work: a dependency that is down must not cost messages their deliveries.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Calls that are remembered at most.
const REMEMBERED: usize = 1000;

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CircuitBreakerOptions {
    /// It opens when at least this part of the calls fails with transient errors. Default: 0.9.
    pub failure_ratio: f64,
    /// Calls that are looked at: those of the last so long. Default: 30 s.
    pub window: Duration,
    /// It does not open before so many calls. Default: 10.
    pub min_calls: usize,
    /// It does not open before so many different messages have failed: one that always fails must not stop the
    /// others. Default: 3.
    pub min_messages: usize,
    /// How long it stays open at first; twice as long after every failed probe. Somewhat less is waited, at random, so
    /// that many consumers don't probe at once. Default: 5 s.
    pub pause: Duration,
    /// It never stays open for longer. Default: 60 s.
    pub max_pause: Duration,
    /// It probes with one message at first, with one more after every failed probe, and never with more than this: the
    /// first message may be one that always fails. Default: 4.
    pub max_probes: usize,
}

impl Default for CircuitBreakerOptions {
    fn default() -> Self {
        Self {
            failure_ratio: 0.9,
            window: Duration::from_secs(30),
            min_calls: 10,
            min_messages: 3,
            pause: Duration::from_secs(5),
            max_pause: Duration::from_secs(60),
            max_probes: 4,
        }
    }
}

impl CircuitBreakerOptions {
    /// Sets which part of the calls has to fail.
    #[must_use]
    pub fn with_failure_ratio(mut self, ratio: f64) -> Self {
        self.failure_ratio = ratio;
        self
    }

    /// Sets how far back calls are looked at.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets how many calls there have to be; at most 1000.
    #[must_use]
    pub fn with_min_calls(mut self, calls: usize) -> Self {
        self.min_calls = calls.min(REMEMBERED);
        self
    }

    /// Sets how many different messages have to fail.
    #[must_use]
    pub fn with_min_messages(mut self, messages: usize) -> Self {
        self.min_messages = messages;
        self
    }

    /// Sets how long the circuit stays open, at first and at most.
    #[must_use]
    pub fn with_pause(mut self, first: Duration, longest: Duration) -> Self {
        self.pause = first;
        self.max_pause = longest;
        self
    }

    /// Sets with how many messages at once is probed at most; at least 1.
    #[must_use]
    pub fn with_max_probes(mut self, probes: usize) -> Self {
        self.max_probes = probes.max(1);
        self
    }
}

/// What a circuit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CircuitState {
    /// Messages go through.
    Closed,
    /// No message goes through.
    Open,
    /// A few messages go through, to find out.
    HalfOpen,
}

/// A circuit breaker for [pipelines](crate::Pipeline); clones share it.
///
/// Only transient errors count. A handler that answers closes a circuit that was being probed; an error that is the
/// message's own fault says nothing about anybody else.
///
/// ```
/// use std::sync::Arc;
/// use azevents_core::{CircuitBreaker, CircuitBreakerOptions, CircuitState, Handler, Pipeline};
///
/// fn guarded(handler: Arc<dyn Handler>) -> Pipeline {
///     let breaker = CircuitBreaker::new(CircuitBreakerOptions::default());
///     assert_eq!(breaker.state(), CircuitState::Closed);
///     Pipeline::new(handler).with_circuit_breaker(breaker)
/// }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    options: CircuitBreakerOptions,
    circuit: Mutex<Circuit>,
    changed: watch::Sender<()>,
}

struct Circuit {
    phase: Phase,
    /// Counts the phases: what began in an earlier one has nothing to say any more.
    number: u64,
    /// Probing rounds that have failed since it opened.
    failed_rounds: u32,
}

enum Phase {
    Closed(VecDeque<Call>),
    Open { until: Instant },
    HalfOpen { probing: usize, failed: usize },
}

struct Call {
    at: Instant,
    /// The failed message, by its hash.
    failed: Option<u64>,
}

impl CircuitBreaker {
    /// A closed circuit.
    pub fn new(options: CircuitBreakerOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            circuit: Mutex::new(Circuit {
                phase: Phase::Closed(VecDeque::new()),
                number: 0,
                failed_rounds: 0,
            }),
            changed: watch::Sender::new(()),
        }))
    }

    /// What it does now.
    pub fn state(&self) -> CircuitState {
        match self.circuit().phase {
            Phase::Closed(_) => CircuitState::Closed,
            Phase::Open { .. } => CircuitState::Open,
            Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// How many messages may be handled at once: none while it is open, `None` for any number.
    pub fn limit(&self) -> Option<usize> {
        let circuit = self.circuit();
        match circuit.phase {
            Phase::Closed(_) => None,
            Phase::Open { .. } => Some(0),
            Phase::HalfOpen { .. } => Some(circuit.probes(&self.0.options)),
        }
    }

    /// Waits until the [limit](Self::limit) is another than the one seen last, and gives it.
    ///
    /// Cancellation: nothing is lost, ask again.
    pub async fn limit_changed(&self, seen: Option<usize>) -> Option<usize> {
        let limit = || Some(self.limit()).filter(|limit| *limit != seen);
        self.wait(limit).await
    }

    /// Waits until a message would be let through.
    ///
    /// Cancellation: nothing is lost, ask again.
    pub async fn ready(&self) {
        self.wait(|| self.circuit().has_room(&self.0.options).then_some(()))
            .await;
    }

    /// Lets a call through, or not.
    pub(crate) fn enter(&self) -> Option<Pass> {
        let mut circuit = self.circuit();
        if !circuit.has_room(&self.0.options) {
            return None;
        }
        let probe = if let Phase::HalfOpen { probing, .. } = &mut circuit.phase {
            *probing += 1;
            true
        } else {
            false
        };
        Some(Pass {
            breaker: self.clone(),
            number: circuit.number,
            probe,
        })
    }

    async fn wait<T>(&self, mut answer: impl FnMut() -> Option<T>) -> T {
        let mut changed = self.0.changed.subscribe();
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            let until = match self.circuit().phase {
                Phase::Open { until } => Some(until),
                _ => None,
            };
            tokio::select! {
                // The sender is ours: it can't be gone.
                _ = changed.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// The circuit, half open when its time has come.
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        let mut circuit = self.0.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(circuit.phase, Phase::Open { until } if until <= Instant::now()) {
            circuit.enter(Phase::HalfOpen { probing: 0, failed: 0 });
        }
        circuit
    }

    fn open(&self, circuit: &mut Circuit) {
        let options = &self.0.options;
        let factor = 1_u32.checked_shl(circuit.failed_rounds).unwrap_or(u32::MAX);
        let longest = options.pause.saturating_mul(factor).min(options.max_pause);
        let pause = longest.mul_f64(1.0 - rand::random::<f64>() / 4.0);
        tracing::warn!(?pause, "nearly everything fails: the circuit is open");
        circuit.enter(Phase::Open {
            until: Instant::now() + pause,
        });
    }

    fn reopen(&self, circuit: &mut Circuit) {
        circuit.failed_rounds = circuit.failed_rounds.saturating_add(1);
        self.open(circuit);
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Circuit {
    fn enter(&mut self, phase: Phase) {
        self.number += 1;
        self.phase = phase;
    }

    fn probes(&self, options: &CircuitBreakerOptions) -> usize {
        (self.failed_rounds as usize)
            .saturating_add(1)
            .min(options.max_probes.max(1))
    }

    fn has_room(&self, options: &CircuitBreakerOptions) -> bool {
        match self.phase {
            Phase::Closed(_) => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { probing, failed } => probing + failed < self.probes(options),
        }
    }
}

/// A call that was let through. Dropped without a word it says nothing.
pub(crate) struct Pass {
    breaker: CircuitBreaker,
    number: u64,
    probe: bool,
}

impl Pass {
    /// The handler answered.
    pub(crate) fn succeeded(mut self) {
        self.end(|breaker, circuit| {
            if let Phase::Closed(calls) = &mut circuit.phase {
                remember(calls, None, &breaker.0.options);
                return;
            }
            tracing::info!("a probe was handled: the circuit is closed");
            circuit.failed_rounds = 0;
            circuit.enter(Phase::Closed(VecDeque::new()));
        });
    }

    /// A try has failed with a transient error. `true` when there is to be no other: the message is to be released.
    pub(crate) async fn failed(&mut self, message: &str) -> bool {
        if !self.probe {
            self.end(|breaker, circuit| {
                if let Phase::Closed(calls) = &mut circuit.phase {
                    remember(calls, Some(hash(message)), &breaker.0.options);
                    if is_down(calls, &breaker.0.options) {
                        breaker.open(circuit);
                    }
                }
            });
            return self.is_over();
        }
        // Only once: with several messages in a batch the first speaks for all.
        let ended = self.end(|breaker, circuit| {
            let probes = circuit.probes(&breaker.0.options);
            if let Phase::HalfOpen { probing, failed } = &mut circuit.phase {
                *probing = probing.saturating_sub(1);
                *failed += 1;
                if *failed >= probes {
                    breaker.reopen(circuit);
                }
            }
        });
        self.probe = false;
        if ended && !self.is_over() {
            // Kept until the other probes have answered, or it would be the next one itself.
            let (breaker, number) = (self.breaker.clone(), self.number);
            let answered = breaker.wait(|| (breaker.circuit().number != number).then_some(()));
            if tokio::time::timeout(breaker.0.options.pause, answered).await.is_err() {
                self.end(CircuitBreaker::reopen);
            }
        }
        true
    }

    /// Whether the circuit has changed since.
    pub(crate) fn is_over(&self) -> bool {
        self.breaker.circuit().number != self.number
    }

    /// Says something about the phase the call began in, if that lasts.
    fn end(&mut self, say: impl FnOnce(&CircuitBreaker, &mut Circuit)) -> bool {
        let mut circuit = self.breaker.circuit();
        let lasts = circuit.number == self.number;
        if lasts {
            say(&self.breaker, &mut circuit);
        }
        let changed = circuit.number != self.number || !matches!(circuit.phase, Phase::Closed(_));
        drop(circuit);
        if lasts && changed {
            self.breaker.0.changed.send_replace(());
        }
        lasts
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe {
            self.end(|_, circuit| {
                if let Phase::HalfOpen { probing, .. } = &mut circuit.phase {
                    *probing = probing.saturating_sub(1);
                }
            });
        }
    }
}

fn remember(calls: &mut VecDeque<Call>, failed: Option<u64>, options: &CircuitBreakerOptions) {
    let now = Instant::now();
    calls.push_back(Call { at: now, failed });
    while calls.len() > REMEMBERED
        || calls
            .front()
            .is_some_and(|call| now.duration_since(call.at) > options.window)
    {
        calls.pop_front();
    }
}

fn is_down(calls: &VecDeque<Call>, options: &CircuitBreakerOptions) -> bool {
    let mut failed: Vec<u64> = calls.iter().filter_map(|call| call.failed).collect();
    if calls.len() < options.min_calls || (failed.len() as f64) < options.failure_ratio * calls.len() as f64 {
        return false;
    }
    failed.sort_unstable();
    failed.dedup();
    failed.len() >= options.min_messages
}

fn hash(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> CircuitBreaker {
        CircuitBreaker::new(CircuitBreakerOptions::default())
    }

    async fn fail(breaker: &CircuitBreaker, message: &str) -> bool {
        breaker.enter().expect("let through").failed(message).await
    }

    /// A circuit that has just opened.
    async fn opened() -> CircuitBreaker {
        let breaker = breaker();
        for n in 0..10 {
            fail(&breaker, &n.to_string()).await;
        }
        assert_eq!((breaker.state(), breaker.limit()), (CircuitState::Open, Some(0)));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_that_always_fails_stops_nobody() {
        let breaker = breaker();
        for _ in 0..100 {
            assert!(!fail(&breaker, "poison").await);
        }
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_among_successes_stop_nobody() {
        let breaker = breaker();
        for n in 0..100 {
            breaker.enter().unwrap().succeeded();
            assert!(!fail(&breaker, &n.to_string()).await);
        }
        tokio::time::advance(Duration::from_secs(31)).await;
        for n in 0..9 {
            fail(&breaker, &n.to_string()).await;
        }
        assert_eq!(breaker.state(), CircuitState::Closed, "too few in the window");
        assert!(fail(&breaker, "x").await);
        assert_eq!(breaker.state(), CircuitState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_handled_closes_it() {
        let breaker = opened().await;
        assert!(breaker.enter().is_none());
        assert_eq!(breaker.limit_changed(Some(0)).await, Some(1));
        let probe = breaker.enter().expect("one probe");
        assert!(breaker.enter().is_none(), "and only one");
        let ((), ()) = tokio::join!(breaker.ready(), async { probe.succeeded() });
        assert_eq!((breaker.state(), breaker.limit()), (CircuitState::Closed, None));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_while_probes_fail_and_each_round_probes_with_one_more() {
        let breaker = opened().await;
        let mut pauses = Vec::new();
        for round in 1..=5_usize {
            let since = Instant::now();
            assert_eq!(breaker.limit_changed(Some(0)).await, Some(round.min(4)));
            pauses.push(since.elapsed().as_secs());
            let probes = (0..round.min(4)).map(|n| {
                let mut pass = breaker.enter().expect("let through");
                async move { pass.failed(&n.to_string()).await }
            });
            let probes: Vec<_> = probes.collect();
            assert!(futures::future::join_all(probes).await.into_iter().all(|over| over));
            assert_eq!(breaker.state(), CircuitState::Open);
        }
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poison_message_in_front_does_not_keep_it_open() {
        let breaker = opened().await;
        breaker.ready().await;
        assert!(fail(&breaker, "poison").await);
        breaker.ready().await;
        let mut poison = breaker.enter().unwrap();
        let sound = breaker.enter().expect("a second one is tried beside it");
        let (over, ()) = tokio::join!(poison.failed("poison"), async { sound.succeeded() });
        assert!(over, "it is given back");
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_failed_probe_does_not_wait_for_others_for_ever() {
        let breaker = opened().await;
        breaker.ready().await;
        fail(&breaker, "a").await;
        breaker.ready().await;
        assert!(fail(&breaker, "a").await);
        assert_eq!(breaker.state(), CircuitState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_makes_room_for_another() {
        let breaker = opened().await;
        breaker.ready().await;
        drop(breaker.enter());
        assert!(breaker.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_it_opened_have_nothing_to_say() {
        let breaker = breaker();
        let late = breaker.enter().unwrap();
        for n in 0..10 {
            fail(&breaker, &n.to_string()).await;
        }
        assert!(late.is_over());
        late.succeeded();
        assert_eq!(breaker.state(), CircuitState::Open);
    }
}
