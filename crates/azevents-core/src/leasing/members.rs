//! Who else reads, and how many ranges each may have.
//!
//! Every process that takes part holds one more lease: a numbered seat, under the reader's name with
//! [`SEATS`] behind it. The seats say how many take part and in which order, so all of them work out the
//! same shares without talking to each other. Whoever has more than its share gives ranges back when their
//! work is finished and written down, which repeats no event; nobody takes a range from a living owner.
//! A dead member's seat and ranges are free when their leases expire.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, chain};
use crate::feed::{FeedRange, Lease, LeaseStore};

/// What follows the reader's name in the leases of its seats.
pub const SEATS: &str = "/members";

/// How long a process that stops waits to give its seat back.
const LEAVING: Duration = Duration::from_secs(5);

/// One member's place among all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How many members come before this one.
    pub rank: usize,
    /// How many there are, this one included.
    pub members: usize,
}

impl Share {
    /// Alone.
    pub const ALL: Self = Self { rank: 0, members: 1 };

    /// How many of `ranges` ranges this member may have. No two members are more than one apart, and all
    /// together have them all.
    pub fn quota(self, ranges: usize) -> usize {
        let members = self.members.max(1);
        ranges / members + usize::from(self.rank < ranges % members)
    }
}

/// This process as a member of those who read for one reader.
pub struct Members {
    leases: Arc<dyn LeaseStore>,
    seats: String,
    owner: String,
    duration: Duration,
    seat: Option<Lease>,
    share: Option<Share>,
}

impl Members {
    /// Takes part in reading for `reader` as `owner`. A member that stops renewing is forgotten after
    /// `duration`.
    pub fn new(leases: Arc<dyn LeaseStore>, reader: &str, owner: &str, duration: Duration) -> Self {
        Self {
            leases,
            seats: format!("{reader}{SEATS}"),
            owner: owner.to_owned(),
            duration,
            seat: None,
            share: None,
        }
    }

    /// Renews the seat, or takes one, and looks who else is there. Call it several times within
    /// `duration`.
    ///
    /// # Errors
    /// The lease store's. The share of the last call that succeeded is still the best guess then.
    pub async fn share(&mut self) -> Result<Share> {
        let seat = match self.seat.take() {
            Some(seat) => match self.leases.renew(&seat, None, self.duration).await {
                Ok(seat) => Some(seat),
                // Too late: somebody sits there.
                Err(error) if error.kind() == ErrorKind::Conflict => None,
                Err(error) => {
                    self.seat = Some(seat);
                    return Err(error);
                }
            },
            None => None,
        };
        let seats = self.seats().await?;
        let seat = match seat {
            Some(seat) => seat,
            None => self.sit_down(&seats).await?,
        };
        let number = number(&seat.range);
        let others = seats
            .iter()
            .filter(|(owner, other)| *owner != self.owner && *other != number);
        let share = Share {
            rank: others.clone().filter(|(_, other)| *other < number).count(),
            members: others.count() + 1,
        };
        self.seat = Some(seat);
        self.share = Some(share);
        Ok(share)
    }

    /// What the last call that succeeded found; alone before that.
    pub fn last_share(&self) -> Share {
        self.share.unwrap_or(Share::ALL)
    }

    /// Gives the seat back, so that the others need not wait for it to expire.
    pub async fn leave(&mut self) -> Result<()> {
        match self.seat.take() {
            Some(seat) => self.leases.release(&seat).await,
            None => Ok(()),
        }
    }

    /// As [`leave`](Self::leave), for a process that stops: it doesn't wait long, and without an answer the seat expires.
    pub async fn leave_or_expire(&mut self) {
        if let Ok(Err(error)) = tokio::time::timeout(LEAVING, self.leave()).await {
            tracing::warn!(
                seats = self.seats,
                error = chain(&error),
                "seat not given back, it will expire"
            );
        }
    }

    /// The seats somebody has: whose, and their numbers.
    async fn seats(&self) -> Result<Vec<(String, u64)>> {
        let seats = self.leases.list(&self.seats).await?;
        let taken = seats.into_iter().filter(|seat| !seat.owner.is_empty());
        Ok(taken.map(|seat| (seat.owner, number(&seat.range))).collect())
    }

    /// Takes the seat it had before a restart, or the first that is free.
    async fn sit_down(&self, seats: &[(String, u64)]) -> Result<Lease> {
        let own = seats
            .iter()
            .find(|(owner, _)| *owner == self.owner)
            .map(|(_, number)| *number);
        let free = (0..).filter(|number| seats.iter().all(|(_, taken)| taken != number));
        // Others may sit down at the same time, each moving us one seat further.
        for number in own.into_iter().chain(free).take(1000) {
            let range = FeedRange(number.to_string());
            let seat = self
                .leases
                .acquire(&self.seats, &range, &self.owner, self.duration)
                .await?;
            if let Some(seat) = seat {
                return Ok(seat);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "join", &self.seats).with_message("a thousand seats are taken"))
    }
}

/// Unnumbered seats, which nobody makes, come last.
fn number(range: &FeedRange) -> u64 {
    range.0.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLeases;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_cover_all_ranges_and_are_at_most_one_apart(ranges in 0usize..500, members in 1usize..40) {
            let quotas: Vec<_> = (0..members).map(|rank| Share { rank, members }.quota(ranges)).collect();
            prop_assert_eq!(quotas.iter().sum::<usize>(), ranges);
            prop_assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
        }
    }

    const DURATION: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn members_agree_on_their_number_and_their_order() {
        let leases: Arc<dyn LeaseStore> = Arc::new(MemoryLeases::new());
        let mut members: Vec<_> = (0..5)
            .map(|n| Members::new(leases.clone(), "r", &format!("owner-{n}"), DURATION))
            .collect();
        for member in &mut members {
            member.share().await.unwrap();
        }
        for (rank, member) in members.iter_mut().enumerate() {
            assert_eq!(member.share().await.unwrap(), Share { rank, members: 5 });
        }
        members.remove(2).leave().await.unwrap();
        for (rank, member) in members.iter_mut().enumerate() {
            assert_eq!(member.share().await.unwrap(), Share { rank, members: 4 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_member_is_forgotten_and_its_seat_is_used_again() {
        let leases: Arc<dyn LeaseStore> = Arc::new(MemoryLeases::new());
        let mut dead = Members::new(leases.clone(), "r", "dead", DURATION);
        let mut living = Members::new(leases.clone(), "r", "living", DURATION);
        dead.share().await.unwrap();
        assert_eq!(living.share().await.unwrap(), Share { rank: 1, members: 2 });
        for _ in 0..4 {
            tokio::time::advance(DURATION / 3).await;
            living.share().await.unwrap();
        }
        assert_eq!(living.last_share(), Share::ALL);
        let mut new = Members::new(leases, "r", "new", DURATION);
        assert_eq!(new.share().await.unwrap(), Share { rank: 0, members: 2 });
        assert_eq!(
            dead.share().await.unwrap(),
            Share { rank: 2, members: 3 },
            "it had only been asleep"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_comes_back_under_its_name_is_one_member() {
        let leases: Arc<dyn LeaseStore> = Arc::new(MemoryLeases::new());
        for _ in 0..3 {
            let mut member = Members::new(leases.clone(), "r", "same", DURATION);
            assert_eq!(member.share().await.unwrap(), Share::ALL);
        }
    }
}
