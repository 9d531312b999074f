//! One lease: who has a blob or container, until when, and what each operation makes of that.
//!
//! States, outcomes and codes are those of the tables in "Lease Blob" and "Lease Container" (Blob service REST API). A
//! lease that isn't there is `None`.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::error::{BlobError, Result};
use crate::clock::Timestamp;

/// What was acquired; it outlives its end, until somebody writes or acquires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// A GUID in lower case.
    pub(super) id: String,
    pub(super) term: Term,
    /// By the emulator's clock, in Unix milliseconds; `None`: never.
    ends: Option<i64>,
    /// It ends because it was broken, and can't be renewed.
    breaking: bool,
}

/// For how long a lease is acquired and renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Term {
    Infinite,
    Seconds(u32),
}

/// As in `x-ms-lease-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Available,
    Leased,
    Breaking,
    Broken,
    Expired,
}

/// What the lease is of: the codes of refused uses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Blob,
    Container,
}

impl State {
    pub(super) fn of(lease: Option<&Lease>, now: Timestamp) -> Self {
        let Some(lease) = lease else {
            return Self::Available;
        };
        let over = lease.ends.is_some_and(|ends| ends <= now.as_millis());
        match (lease.breaking, over) {
            (false, false) => Self::Leased,
            (false, true) => Self::Expired,
            (true, false) => Self::Breaking,
            (true, true) => Self::Broken,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Breaking => "breaking",
            Self::Broken => "broken",
            Self::Expired => "expired",
        }
    }

    /// As in `x-ms-lease-status`.
    pub(super) fn status(self) -> &'static str {
        if self.is_held() { "locked" } else { "unlocked" }
    }

    fn is_held(self) -> bool {
        matches!(self, Self::Leased | Self::Breaking)
    }
}

impl Lease {
    fn new(id: String, term: Term, now: Timestamp) -> Self {
        let ends = match term {
            Term::Infinite => None,
            Term::Seconds(seconds) => Some(now.as_millis() + i64::from(seconds) * 1000),
        };
        Self {
            id,
            term,
            ends,
            breaking: false,
        }
    }

    /// As in `x-ms-lease-duration`, while it is held.
    pub(super) fn duration(&self) -> &'static str {
        match self.term {
            Term::Infinite => "infinite",
            Term::Seconds(_) => "fixed",
        }
    }

    /// Whole seconds that are left.
    fn seconds_left(&self, now: Timestamp) -> Option<u32> {
        let left = (self.ends? - now.as_millis()).max(0);
        Some(u32::try_from((left + 999) / 1000).unwrap_or(u32::MAX))
    }
}

pub(super) fn acquire(lease: Option<&Lease>, id: String, term: Term, now: Timestamp) -> Result<Lease> {
    let same = lease.is_some_and(|lease| lease.id == id);
    match State::of(lease, now) {
        State::Leased | State::Breaking if !same => {
            Err(conflict("LeaseAlreadyPresent", "There is already a lease present."))
        }
        State::Breaking => Err(conflict(
            "LeaseIsBreakingAndCannotBeAcquired",
            "The lease is in breaking state and can't be acquired until it is broken.",
        )),
        _ => Ok(Lease::new(id, term, now)),
    }
}

pub(super) fn renew(lease: Option<&Lease>, id: &str, now: Timestamp) -> Result<Lease> {
    let lease = matching(lease, id)?;
    if lease.breaking {
        return Err(conflict(
            "LeaseIsBrokenAndCannotBeRenewed",
            "The lease has been broken explicitly and can't be renewed.",
        ));
    }
    Ok(Lease::new(lease.id.clone(), lease.term, now))
}

/// The lease under another id. Asked for twice, it is done once.
pub(super) fn change(lease: Option<&Lease>, id: &str, proposed: String, now: Timestamp) -> Result<Lease> {
    match (State::of(lease, now), lease) {
        (State::Leased, Some(lease)) if lease.id == id || lease.id == proposed => Ok(Lease {
            id: proposed,
            ..lease.clone()
        }),
        (State::Breaking, Some(lease)) if lease.id == id => Err(conflict(
            "LeaseIsBreakingAndCannotBeChanged",
            "The lease is in breaking state and can't be changed.",
        )),
        (State::Leased | State::Breaking, _) => Err(mismatch()),
        _ => Err(not_present()),
    }
}

pub(super) fn release(lease: Option<&Lease>, id: &str) -> Result<()> {
    matching(lease, id).map(|_| ())
}

/// The lease as it is from now on, and the seconds until it is broken. A second one can only shorten that.
pub(super) fn break_off(lease: Option<&Lease>, period: Option<u32>, now: Timestamp) -> Result<(Lease, u32)> {
    let lease = lease.ok_or_else(not_present)?;
    let seconds = match (State::of(Some(lease), now), lease.seconds_left(now), period) {
        (State::Leased | State::Breaking, Some(left), period) => period.unwrap_or(left).min(left),
        (State::Leased | State::Breaking, None, period) => period.unwrap_or(0),
        _ => 0,
    };
    let broken = Lease {
        ends: Some(now.as_millis() + i64::from(seconds) * 1000),
        breaking: true,
        ..lease.clone()
    };
    Ok((broken, seconds))
}

/// Whether what is leased may be written, or deleted, by who names this lease or none.
pub(super) fn allow_write(lease: Option<&Lease>, named: Option<&str>, of: Of, now: Timestamp) -> Result<()> {
    if named.is_none() && State::of(lease, now).is_held() {
        return Err(failed(
            "LeaseIdMissing",
            "There is currently a lease and no lease ID was specified in the request.",
        ));
    }
    allow_read(lease, named, of, now)
}

/// Whoever reads needs no lease; if one is named, it must be the one there is.
pub(super) fn allow_read(lease: Option<&Lease>, named: Option<&str>, of: Of, now: Timestamp) -> Result<()> {
    let Some(named) = named else {
        return Ok(());
    };
    match (State::of(lease, now).is_held(), lease) {
        (true, Some(lease)) if lease.id == named => Ok(()),
        (false, Some(lease)) if lease.id == named => Err(failed(
            "LeaseLost",
            "A lease ID was specified, but the lease has expired.",
        )),
        (true, _) => Err(failed(
            match of {
                Of::Blob => "LeaseIdMismatchWithBlobOperation",
                Of::Container => "LeaseIdMismatchWithContainerOperation",
            },
            "The lease ID specified did not match the lease ID there is.",
        )),
        (false, _) => Err(failed(
            match of {
                Of::Blob => "LeaseNotPresentWithBlobOperation",
                Of::Container => "LeaseNotPresentWithContainerOperation",
            },
            "There is currently no lease.",
        )),
    }
}

fn matching<'a>(lease: Option<&'a Lease>, id: &str) -> Result<&'a Lease> {
    lease.filter(|lease| lease.id == id).ok_or_else(mismatch)
}

fn mismatch() -> BlobError {
    conflict(
        "LeaseIdMismatchWithLeaseOperation",
        "The lease ID specified did not match the lease ID there is.",
    )
}

fn not_present() -> BlobError {
    conflict("LeaseNotPresentWithLeaseOperation", "There is currently no lease.")
}

fn conflict(code: &'static str, message: &str) -> BlobError {
    BlobError::new(StatusCode::CONFLICT, code, message)
}

fn failed(code: &'static str, message: &str) -> BlobError {
    BlobError::new(StatusCode::PRECONDITION_FAILED, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(START.as_millis() + seconds * 1000)
    }

    fn lease() -> Lease {
        acquire(None, "a".into(), Term::Seconds(15), START).unwrap()
    }

    fn code<T>(result: Result<T>) -> &'static str {
        result.err().map_or("ok", |error| error.code)
    }

    /// The lease in every state it can have: available, leased, breaking, broken, expired.
    fn states() -> [(Option<Lease>, Timestamp); 5] {
        let breaking = break_off(Some(&lease()), None, START).unwrap().0;
        [
            (None, START),
            (Some(lease()), at(1)),
            (Some(breaking.clone()), at(1)),
            (Some(breaking), at(15)),
            (Some(lease()), at(15)),
        ]
    }

    #[test]
    fn a_lease_goes_through_its_states() {
        let names = states().map(|(lease, now)| State::of(lease.as_ref(), now).as_str());
        assert_eq!(names, ["available", "leased", "breaking", "broken", "expired"]);
    }

    #[test]
    fn operations_end_in_each_state_as_in_the_services_table() {
        let outcomes = |outcome: &dyn Fn(Option<&Lease>, Timestamp) -> &'static str| {
            states().map(|(lease, now)| outcome(lease.as_ref(), now))
        };
        let (present, mismatch, none) = (
            "LeaseAlreadyPresent",
            "LeaseIdMismatchWithLeaseOperation",
            "LeaseNotPresentWithLeaseOperation",
        );
        let take = |id: &str, lease: Option<&Lease>, now| code(acquire(lease, id.into(), Term::Infinite, now));
        let breaking = "LeaseIsBreakingAndCannotBeAcquired";
        assert_eq!(
            outcomes(&|l, now| take("a", l, now)),
            ["ok", "ok", breaking, "ok", "ok"]
        );
        assert_eq!(
            outcomes(&|l, now| take("b", l, now)),
            ["ok", present, present, "ok", "ok"]
        );
        let broken = "LeaseIsBrokenAndCannotBeRenewed";
        assert_eq!(
            outcomes(&|l, now| code(renew(l, "a", now))),
            [mismatch, "ok", broken, broken, "ok"]
        );
        assert_eq!(outcomes(&|l, now| code(renew(l, "b", now))), [mismatch; 5]);
        let changing = "LeaseIsBreakingAndCannotBeChanged";
        assert_eq!(
            outcomes(&|l, now| code(change(l, "a", "c".into(), now))),
            [none, "ok", changing, none, none]
        );
        assert_eq!(
            outcomes(&|l, now| code(change(l, "x", "c".into(), now))),
            [none, mismatch, mismatch, none, none]
        );
        assert_eq!(
            outcomes(&|l, _| code(release(l, "a"))),
            [mismatch, "ok", "ok", "ok", "ok"]
        );
        assert_eq!(
            outcomes(&|l, now| code(break_off(l, None, now))),
            [none, "ok", "ok", "ok", "ok"]
        );
        let write = |id, l: Option<&Lease>, now| code(allow_write(l, id, Of::Blob, now));
        let missing = "LeaseIdMissing";
        assert_eq!(
            outcomes(&|l, now| write(None, l, now)),
            ["ok", missing, missing, "ok", "ok"]
        );
        let (absent, lost) = ("LeaseNotPresentWithBlobOperation", "LeaseLost");
        assert_eq!(
            outcomes(&|l, now| write(Some("a"), l, now)),
            [absent, "ok", "ok", lost, lost]
        );
        let other = "LeaseIdMismatchWithBlobOperation";
        assert_eq!(
            outcomes(&|l, now| write(Some("b"), l, now)),
            [absent, other, other, absent, absent]
        );
    }

    #[test]
    fn a_break_takes_the_time_that_is_left_or_less() {
        let seconds = |lease: &Lease, period, now| break_off(Some(lease), period, now).unwrap().1;
        assert_eq!(seconds(&lease(), None, at(5)), 10);
        assert_eq!(seconds(&lease(), Some(3), at(5)), 3);
        assert_eq!(seconds(&lease(), Some(60), at(5)), 10);
        assert_eq!(seconds(&lease(), None, at(20)), 0);
        let infinite = acquire(None, "a".into(), Term::Infinite, START).unwrap();
        assert_eq!(seconds(&infinite, None, at(5)), 0);
        let breaking = break_off(Some(&infinite), Some(30), at(5)).unwrap().0;
        assert_eq!(seconds(&breaking, Some(60), at(10)), 25);
        assert_eq!(seconds(&breaking, Some(0), at(10)), 0);
    }
}
