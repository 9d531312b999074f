//! The promises of [`LeaseStore`].

use std::time::Duration;

use azevents_core::{Checkpoint, Continuation, ErrorKind, FeedRange, LeaseStore};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// Runs all checks. They wait for short leases to expire, by tokio's clock.
pub async fn check(leases: &dyn LeaseStore) {
    one_owner_at_a_time(leases).await;
    an_expired_lease_can_be_taken_and_its_old_holder_cannot_write(leases).await;
    the_next_owner_starts_at_the_last_checkpoint(leases).await;
    an_owner_that_comes_back_goes_on_at_once(leases).await;
}

fn reader() -> String {
    format!("reader-{}", uuid::Uuid::new_v4().simple())
}

fn range() -> FeedRange {
    FeedRange("0".into())
}

fn checkpoint(n: u64) -> Checkpoint {
    Checkpoint::new(Continuation(format!("\"{n}\"/\\")), n)
}

/// Runs the checks of leases whose ranges can be split: [`LeaseStore::create`] and [`LeaseStore::retire`].
pub async fn check_handing_over(leases: &dyn LeaseStore) {
    a_made_lease_is_free_and_begins_where_it_was_told(leases).await;
    making_a_lease_again_changes_nothing(leases).await;
    a_retired_lease_names_its_successors_and_is_never_given_again(leases).await;
    only_the_holder_retires_a_lease(leases).await;
}

/// A lease made for somebody else to take.
pub async fn a_made_lease_is_free_and_begins_where_it_was_told(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    leases
        .create(&reader, &range, Some(&checkpoint(7)))
        .await
        .expect("create");
    let listed = leases.list(&reader).await.expect("list");
    assert_eq!((listed.len(), listed[0].owner.as_str()), (1, ""));
    let taken = leases.acquire(&reader, &range, "a", LONG).await.expect("acquire");
    assert_eq!(taken.expect("free").checkpoint, Some(checkpoint(7)));
}

/// Whoever hands over may die and be followed by another who does it again.
pub async fn making_a_lease_again_changes_nothing(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    leases.create(&reader, &range, None).await.expect("create");
    let lease = leases.acquire(&reader, &range, "a", LONG).await.expect("acquire");
    let lease = leases
        .renew(&lease.expect("free"), Some(&checkpoint(9)), LONG)
        .await
        .expect("renew");
    leases
        .create(&reader, &range, Some(&checkpoint(1)))
        .await
        .expect("create again");
    let lease = leases.renew(&lease, None, LONG).await.expect("still held");
    assert_eq!(lease.checkpoint, Some(checkpoint(9)));
}

/// A retired lease stays as a record.
pub async fn a_retired_lease_names_its_successors_and_is_never_given_again(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let parts = [FeedRange("0a".into()), FeedRange("0b".into())];
    let lease = leases.acquire(&reader, &range, "a", LONG).await.expect("acquire");
    let lease = leases
        .renew(&lease.expect("free"), Some(&checkpoint(5)), LONG)
        .await
        .expect("renew");
    leases.retire(&lease, &parts).await.expect("retire");
    for owner in ["a", "b"] {
        let taken = leases.acquire(&reader, &range, owner, SHORT).await.expect("acquire");
        assert!(taken.is_none(), "{owner} was given a retired lease");
    }
    leases.create(&reader, &range, None).await.expect("create");
    let listed = leases.list(&reader).await.expect("list").remove(0);
    assert_eq!((listed.checkpoint, listed.owner.as_str()), (Some(checkpoint(5)), ""));
    assert_eq!(listed.successors, parts);
}

/// A lease that was taken over belongs to its new holder.
pub async fn only_the_holder_retires_a_lease(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let old = leases.acquire(&reader, &range, "a", LONG).await.expect("acquire");
    let new = leases.acquire(&reader, &range, "a", LONG).await.expect("acquire");
    let error = leases
        .retire(&old.expect("free"), &[FeedRange("0a".into())])
        .await
        .expect_err("taken over");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    leases.renew(&new.expect("its own"), None, LONG).await.expect("renew");
}

/// A held lease is not given to another; a released one is.
pub async fn one_owner_at_a_time(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let held = leases
        .acquire(&reader, &range, "a", LONG)
        .await
        .expect("acquire")
        .expect("free");
    assert!(
        leases
            .acquire(&reader, &range, "b", LONG)
            .await
            .expect("acquire")
            .is_none()
    );
    let other = FeedRange("1".into());
    assert!(
        leases
            .acquire(&reader, &other, "b", LONG)
            .await
            .expect("acquire")
            .is_some(),
        "ranges are independent"
    );
    leases.release(&held).await.expect("release");
    assert!(
        leases
            .acquire(&reader, &range, "b", LONG)
            .await
            .expect("acquire")
            .is_some()
    );
    assert_eq!(leases.list(&reader).await.expect("list").len(), 2);
}

/// Compare-and-swap: whoever lost a lease learns it at the next write.
pub async fn an_expired_lease_can_be_taken_and_its_old_holder_cannot_write(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let old = leases
        .acquire(&reader, &range, "a", SHORT)
        .await
        .expect("acquire")
        .expect("free");
    let new = loop {
        if let Some(lease) = leases.acquire(&reader, &range, "b", LONG).await.expect("acquire") {
            break lease;
        }
        tokio::time::sleep(SHORT / 5).await;
    };
    let error = leases
        .renew(&old, Some(&checkpoint(1)), LONG)
        .await
        .expect_err("taken over");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    leases.release(&old).await.expect("releasing a lost lease is no error");
    leases
        .renew(&new, None, LONG)
        .await
        .expect("the new holder is undisturbed");
}

/// Checkpoints outlive their writer, and renewing without one keeps the last.
pub async fn the_next_owner_starts_at_the_last_checkpoint(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let lease = leases
        .acquire(&reader, &range, "a", LONG)
        .await
        .expect("acquire")
        .expect("free");
    assert_eq!(lease.checkpoint, None);
    let lease = leases.renew(&lease, Some(&checkpoint(41)), LONG).await.expect("renew");
    let lease = leases.renew(&lease, Some(&checkpoint(42)), LONG).await.expect("renew");
    let lease = leases.renew(&lease, None, LONG).await.expect("renew");
    leases.release(&lease).await.expect("release");
    let next = leases
        .acquire(&reader, &range, "b", LONG)
        .await
        .expect("acquire")
        .expect("free");
    assert_eq!(next.checkpoint, Some(checkpoint(42)));
    assert_eq!(
        leases.list(&reader).await.expect("list")[0].checkpoint,
        Some(checkpoint(42))
    );
}

/// A restarted process need not wait for its own old lease.
pub async fn an_owner_that_comes_back_goes_on_at_once(leases: &dyn LeaseStore) {
    let (reader, range) = (reader(), range());
    let before = leases
        .acquire(&reader, &range, "a", LONG)
        .await
        .expect("acquire")
        .expect("free");
    let after = leases
        .acquire(&reader, &range, "a", LONG)
        .await
        .expect("acquire")
        .expect("its own");
    let error = leases
        .renew(&before, None, LONG)
        .await
        .expect_err("the process before the restart is gone");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    leases.renew(&after, None, LONG).await.expect("renew");
}
