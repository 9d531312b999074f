//! How dead letters are sent again, and what came of it.

use std::time::Duration;

use super::DeadLetterFilter;

/// Where dead letters are sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RedriveTarget {
    /// The queue they came from. Not possible for a subscription.
    #[default]
    Origin,
    /// Another queue or topic.
    Entity(String),
    /// The subscription's topic, marked so that our consumers of its other subscriptions leave them out.
    TopicForThisSubscription,
}

/// Options of [`DeadLetters::redrive`](super::DeadLetters::redrive) and
/// [`purge`](super::DeadLetters::purge).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedriveOptions {
    /// Which dead letters. Default: all.
    pub filter: DeadLetterFilter,
    /// Where they are sent. Default: where they came from.
    pub target: RedriveTarget,
    /// At most this many. Default: no limit.
    pub max: usize,
    /// At most this many per second. Default: no limit.
    pub rate: Option<f64>,
    /// A message that was sent again this often stays a dead letter, so that none goes round for ever.
    /// Purging takes no notice of it. Default: 3.
    pub max_redrives: u32,
    /// Only finds out what would be done. Default: no.
    pub dry_run: bool,
    /// How long to wait for chosen messages that do not come because others hold their locks. Default: 10 s.
    pub patience: Duration,
}

impl Default for RedriveOptions {
    fn default() -> Self {
        Self {
            filter: DeadLetterFilter::default(),
            target: RedriveTarget::Origin,
            max: usize::MAX,
            rate: None,
            max_redrives: 3,
            dry_run: false,
            patience: Duration::from_secs(10),
        }
    }
}

impl RedriveOptions {
    /// Sets which dead letters.
    #[must_use]
    pub fn with_filter(mut self, filter: DeadLetterFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets where they are sent.
    #[must_use]
    pub fn with_target(mut self, target: RedriveTarget) -> Self {
        self.target = target;
        self
    }

    /// Sets how many at most.
    #[must_use]
    pub fn with_max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Sets how many per second at most; a rate that is not above zero sets no limit.
    #[must_use]
    pub fn with_rate(mut self, per_second: f64) -> Self {
        self.rate = (per_second > 0.0 && per_second.is_finite()).then_some(per_second);
        self
    }

    /// Sets how often a message may be sent again.
    #[must_use]
    pub fn with_max_redrives(mut self, times: u32) -> Self {
        self.max_redrives = times;
        self
    }

    /// Sets whether only to find out what would be done.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets how long to wait for messages that others hold.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// What became of the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RedriveReport {
    /// Passed the filter, and within the limits: what was, or would be, done.
    pub chosen: usize,
    /// Sent again (or thrown away) and taken out of the queue.
    pub moved: usize,
    /// Left, as they were sent again too often already.
    pub too_often: usize,
    /// Chosen and left: others hold them or were quicker, or it was stopped before their turn.
    pub left: usize,
}
