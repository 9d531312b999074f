//! When a snapshot is taken.

use std::time::Duration;

use time::OffsetDateTime;

/// When to take snapshots of an aggregate. Without any of the settings they are only taken
/// [by hand](crate::Aggregates::snapshot).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotPolicy {
    /// After so many commits since the last snapshot.
    pub commits: Option<u32>,
    /// When the last snapshot, or without one the first event, is older than this and there have been
    /// commits since.
    pub age: Option<Duration>,
}

impl SnapshotPolicy {
    /// Only by hand.
    pub fn by_hand() -> Self {
        Self::default()
    }

    /// After every `commits` commits.
    #[must_use]
    pub fn with_every(mut self, commits: u32) -> Self {
        self.commits = Some(commits.max(1));
        self
    }

    /// When the last one is older than `age`: the classic is 24 hours.
    #[must_use]
    pub fn with_age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Whether to take one of a state with `commits` commits since `last`.
    pub(crate) fn is_due(&self, commits: u32, last: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        let enough = self.commits.is_some_and(|every| commits >= every);
        let old = |age: Duration| commits > 0 && last.is_some_and(|last| now - last >= age);
        enough || self.age.is_some_and(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_snapshot_is_due_after_enough_commits_or_when_the_last_one_is_old() {
        let now = OffsetDateTime::UNIX_EPOCH + DAY * 10;
        let due = |policy: &SnapshotPolicy, commits, hours: u32| {
            policy.is_due(commits, Some(now - Duration::from_secs(3600) * hours), now)
        };
        let both = SnapshotPolicy::by_hand().with_every(50).with_age(DAY);
        assert!(due(&both, 50, 0) && !due(&both, 49, 23));
        assert!(due(&both, 1, 24) && !due(&both, 0, 1000));
        assert!(!due(&SnapshotPolicy::by_hand(), 10_000, 10_000));
        assert!(!both.is_due(0, None, now));
    }
}
