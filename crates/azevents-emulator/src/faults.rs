//! A seeded schedule of faults, so that a failure seen once can be seen again.
//!
//! Whether the n-th opportunity for a kind of fault is taken depends only on the seed, the kind and
//! n: not on the clock and not on what the other kinds do. What arrives n-th is up to the clients,
//! so two runs with concurrent clients hit different requests, but as many of them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What can go wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// The AMQP connection is cut, without a `close`.
    DropConnection,
    /// The broker detaches one link with an error the client may retry.
    DetachLink,
    /// A transfer is accepted and stored, then the connection dies before the sender hears of it.
    LoseOutcome,
    /// A message or event that was delivered is delivered once more.
    RepeatDelivery,
    /// A receiver's settlement is ignored, so that the lock expires and the message comes back.
    LoseSettle,
    /// The broker answers `com.microsoft:server-busy`.
    ServerBusy,
    /// Cosmos DB answers 429 with a time to wait; the request was not executed.
    CosmosThrottle,
    /// Cosmos DB executes the request, then the connection is cut without an answer.
    CosmosLoseResponse,
    /// Cosmos DB answers 503; the request was not executed.
    CosmosUnavailable,
    /// Cosmos DB answers 449: two writes met, and the client is to try again. Not executed.
    CosmosRetryWith,
    /// An AMQP connection is held up, or an answer of Cosmos DB, for [`FaultRule::delay_ms`].
    Delay,
    /// An AMQP connection stays open and falls silent, heartbeats included, as where a cable was
    /// pulled; after [`FaultRule::delay_ms`] it is cut. Not in [`FaultPlan::every_kind`]: clients
    /// take minutes to notice.
    Stall,
    /// A lock that is being renewed turns out to be lost; the message comes back.
    ExpireLock,
}

impl FaultKind {
    /// Every kind, in the order they are declared.
    pub const ALL: [Self; 13] = [
        Self::DropConnection,
        Self::DetachLink,
        Self::LoseOutcome,
        Self::RepeatDelivery,
        Self::LoseSettle,
        Self::ServerBusy,
        Self::CosmosThrottle,
        Self::CosmosLoseResponse,
        Self::CosmosUnavailable,
        Self::CosmosRetryWith,
        Self::Delay,
        Self::Stall,
        Self::ExpireLock,
    ];
}

impl fmt::Display for FaultKind {
    /// The name in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How often one kind of fault happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FaultRule {
    /// Share of the opportunities that are taken, 0.0 (never) to 1.0 (every one).
    pub rate: f64,
    /// Most faults of this kind; after that there are none, so that every run comes to an end.
    pub limit: u64,
    /// The condition a link is detached with, such as `com.microsoft:entity-disabled`;
    /// `amqp:link:detach-forced` unless set. For [`FaultKind::DetachLink`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// How long, in milliseconds: 100 unless set for [`FaultKind::Delay`], five minutes for
    /// [`FaultKind::Stall`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl FaultRule {
    /// A share of the opportunities, 0.0 to 1.0 (clamped), and the most faults there may be.
    pub fn new(rate: f64, limit: u64) -> Self {
        let rate = if rate.is_nan() { 0.0 } else { rate.clamp(0.0, 1.0) };
        Self {
            rate,
            limit,
            ..Self::default()
        }
    }

    /// Sets [`condition`](Self::condition).
    #[must_use]
    pub fn with_condition(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Sets [`delay_ms`](Self::delay_ms).
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// How long, where the rule doesn't say.
    pub(crate) fn delay_or(&self, default: Duration) -> Duration {
        self.delay_ms.map_or(default, Duration::from_millis)
    }
}

/// A seed and a rule for each kind of fault that may happen; kinds without a rule never do.
///
/// ```
/// use azevents_emulator::{FaultKind, FaultPlan};
///
/// let plan = FaultPlan::new(7)
///     .with(FaultKind::LoseOutcome, 0.01, 20)
///     .with(FaultKind::CosmosThrottle, 0.05, 50);
/// # let _ = plan;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Picks one schedule out of many.
    pub seed: u64,
    /// The rules by kind.
    #[serde(default)]
    pub rules: BTreeMap<FaultKind, FaultRule>,
}

impl FaultPlan {
    /// A plan in which nothing happens yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: BTreeMap::new(),
        }
    }

    /// A plan in which every kind of fault but [`FaultKind::Stall`] happens at the same rate, each
    /// at most `limit` times.
    pub fn every_kind(seed: u64, rate: f64, limit: u64) -> Self {
        FaultKind::ALL
            .into_iter()
            .filter(|kind| *kind != FaultKind::Stall)
            .fold(Self::new(seed), |plan, kind| plan.with(kind, rate, limit))
    }

    /// Adds a rule, or replaces the one for that kind. `rate` is clamped to 0.0 to 1.0.
    #[must_use]
    pub fn with(self, kind: FaultKind, rate: f64, limit: u64) -> Self {
        self.with_rule(kind, FaultRule::new(rate, limit))
    }

    /// Adds a rule with more to it than a rate and a limit, or replaces the one for that kind.
    ///
    /// ```
    /// use azevents_emulator::{FaultKind, FaultPlan, FaultRule};
    ///
    /// let rule = FaultRule::new(1.0, 1).with_condition("com.microsoft:entity-disabled");
    /// let plan = FaultPlan::new(7).with_rule(FaultKind::DetachLink, rule);
    /// # let _ = plan;
    /// ```
    #[must_use]
    pub fn with_rule(mut self, kind: FaultKind, rule: FaultRule) -> Self {
        self.rules.insert(kind, rule);
        self
    }
}

/// What has happened so far for one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// Opportunities: how often the emulator asked while a plan was in force.
    pub decisions: u64,
    /// Faults injected.
    pub injected: u64,
}

/// The faults of one emulator. Clones share the plan and the counts.
///
/// Without a plan, [`decide`](Self::decide) is one relaxed atomic load.
#[derive(Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    armed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plan: FaultPlan,
    counts: BTreeMap<FaultKind, FaultCount>,
}

impl Faults {
    /// No faults until [`set_plan`](Self::set_plan).
    pub fn none() -> Self {
        Self::default()
    }

    /// Puts a plan in force from its beginning and sets all counts to zero.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.state();
        let armed = plan.rules.values().any(|rule| rule.rate > 0.0 && rule.limit > 0);
        *state = State {
            plan,
            counts: BTreeMap::new(),
        };
        self.shared.armed.store(armed, Ordering::Relaxed);
    }

    /// Stops injecting. The counts stay readable until the next plan.
    pub fn clear(&self) {
        let mut state = self.state();
        state.plan.rules.clear();
        self.shared.armed.store(false, Ordering::Relaxed);
    }

    /// Takes the next decision for this kind: `true` means the caller must inject the fault now.
    #[inline]
    pub fn decide(&self, kind: FaultKind) -> bool {
        self.inject(kind).is_some()
    }

    /// As [`decide`](Self::decide), with the rule by which the fault is to be injected.
    #[inline]
    pub(crate) fn inject(&self, kind: FaultKind) -> Option<FaultRule> {
        if self.shared.armed.load(Ordering::Relaxed) {
            self.inject_armed(kind)
        } else {
            None
        }
    }

    /// What was decided and injected under the current plan, by kind; kinds never asked are absent.
    pub fn counts(&self) -> BTreeMap<FaultKind, FaultCount> {
        self.state().counts.clone()
    }

    /// The plan in force.
    pub fn plan(&self) -> FaultPlan {
        self.state().plan.clone()
    }

    #[cold]
    fn inject_armed(&self, kind: FaultKind) -> Option<FaultRule> {
        let mut state = self.state();
        let rule = state.plan.rules.get(&kind)?.clone();
        let seed = state.plan.seed;
        let count = state.counts.entry(kind).or_default();
        let draw = unit_interval(seed, kind, count.decisions);
        count.decisions += 1;
        let inject = draw < rule.rate && count.injected < rule.limit;
        count.injected += u64::from(inject);
        inject.then_some(rule)
    }

    // A panic elsewhere while the lock was held leaves nothing half done that matters here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Faults")
            .field("plan", &state.plan)
            .field("counts", &state.counts)
            .finish()
    }
}

/// A number in [0, 1) that depends on nothing but its arguments, the same on every platform and in
/// every version: hence the finaliser of SplitMix64 written out, and no generator of a library.
fn unit_interval(seed: u64, kind: FaultKind, n: u64) -> f64 {
    let mixed = mix(mix(mix(seed) ^ (kind as u64)) ^ n);
    // The upper 53 bits are what a double holds exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(faults: &Faults, kind: FaultKind, n: usize) -> Vec<bool> {
        (0..n).map(|_| faults.decide(kind)).collect()
    }

    #[test]
    fn nothing_happens_without_a_plan() {
        let faults = Faults::none();
        assert!(
            decisions(&faults, FaultKind::DropConnection, 100)
                .iter()
                .all(|hit| !hit)
        );
        assert!(faults.counts().is_empty());
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_whatever_other_kinds_do() {
        let plan = FaultPlan::every_kind(7, 0.2, u64::MAX);
        let (alone, mixed) = (Faults::none(), Faults::none());
        alone.set_plan(plan.clone());
        mixed.set_plan(plan);
        let expected = decisions(&alone, FaultKind::LoseOutcome, 500);
        let interleaved: Vec<bool> = (0..500)
            .map(|_| {
                mixed.decide(FaultKind::DetachLink);
                mixed.decide(FaultKind::LoseOutcome)
            })
            .collect();
        assert_eq!(expected, interleaved);
        assert!(expected.contains(&true) && expected.contains(&false));
    }

    #[test]
    fn another_seed_gives_another_schedule() {
        let (one, two) = (Faults::none(), Faults::none());
        one.set_plan(FaultPlan::new(1).with(FaultKind::LoseSettle, 0.5, u64::MAX));
        two.set_plan(FaultPlan::new(2).with(FaultKind::LoseSettle, 0.5, u64::MAX));
        assert_ne!(
            decisions(&one, FaultKind::LoseSettle, 64),
            decisions(&two, FaultKind::LoseSettle, 64)
        );
    }

    #[test]
    fn a_kind_stops_at_its_limit_so_that_a_run_ends() {
        let faults = Faults::none();
        faults.set_plan(FaultPlan::new(3).with(FaultKind::CosmosThrottle, 1.0, 4));
        let hits = decisions(&faults, FaultKind::CosmosThrottle, 100);
        assert_eq!(hits.iter().filter(|hit| **hit).count(), 4);
        assert_eq!(
            faults.counts()[&FaultKind::CosmosThrottle],
            FaultCount {
                decisions: 100,
                injected: 4
            }
        );
    }

    #[test]
    fn the_rate_is_about_what_was_asked_for() {
        let faults = Faults::none();
        faults.set_plan(FaultPlan::new(11).with(FaultKind::RepeatDelivery, 0.1, u64::MAX));
        let hits = decisions(&faults, FaultKind::RepeatDelivery, 10_000);
        let hits = hits.iter().filter(|hit| **hit).count();
        assert!((800..1200).contains(&hits), "{hits} of 10000 at a rate of 0.1");
    }

    #[test]
    fn clearing_stops_the_faults_and_keeps_the_counts() {
        let faults = Faults::none();
        faults.set_plan(FaultPlan::new(1).with(FaultKind::ServerBusy, 1.0, 10));
        assert!(faults.decide(FaultKind::ServerBusy));
        faults.clear();
        assert!(!faults.decide(FaultKind::ServerBusy));
        assert_eq!(faults.counts()[&FaultKind::ServerBusy].injected, 1);
    }

    #[test]
    fn a_plan_reads_back_from_its_json() {
        let plan = FaultPlan::new(7).with(FaultKind::LoseOutcome, 0.25, 3);
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(json, r#"{"seed":7,"rules":{"lose_outcome":{"rate":0.25,"limit":3}}}"#);
        assert_eq!(serde_json::from_str::<FaultPlan>(&json).unwrap(), plan);
    }
}
