//! The promises of [`Inbox`].

use std::time::Duration;

use azevents_core::{Begin, ErrorKind, Inbox, InboxKey, InboxLease};
use futures::future::join_all;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// Runs all checks. They wait for short leases to expire, by tokio's clock.
pub async fn check(inbox: &dyn Inbox) {
    of_two_copies_at_once_one_is_granted(inbox).await;
    what_is_handled_stays_handled(inbox).await;
    a_released_message_can_be_tried_again(inbox).await;
    a_late_holder_cannot_complete(inbox).await;
}

fn key() -> InboxKey {
    // Ids of foreign messages can hold anything.
    InboxKey::new("billing", format!("a/b\\c?d#e|{}", uuid::Uuid::new_v4()))
}

fn granted(begin: Begin) -> InboxLease {
    match begin {
        Begin::Granted(lease) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

/// Exactly one of many concurrent begins is granted.
pub async fn of_two_copies_at_once_one_is_granted(inbox: &dyn Inbox) {
    let key = key();
    let begins = join_all((0..8).map(|_| inbox.begin(&key, LONG))).await;
    let granted = begins
        .iter()
        .filter(|begin| matches!(begin, Ok(Begin::Granted(_))))
        .count();
    let waiting = begins
        .iter()
        .filter(|begin| matches!(begin, Ok(Begin::InProgress(_))))
        .count();
    assert_eq!((granted, waiting), (1, 7));
    let other = InboxKey::new("analytics", key.message.clone());
    assert!(
        matches!(inbox.begin(&other, LONG).await, Ok(Begin::Granted(_))),
        "consumers are independent"
    );
}

/// After `complete` every copy is a duplicate.
pub async fn what_is_handled_stays_handled(inbox: &dyn Inbox) {
    let key = key();
    let lease = granted(inbox.begin(&key, LONG).await.expect("begin"));
    inbox.complete(&lease).await.expect("complete");
    assert_eq!(inbox.begin(&key, LONG).await.expect("begin"), Begin::AlreadyHandled);
}

/// A failed handler gives the message back, and the next lease has a higher fencing token.
pub async fn a_released_message_can_be_tried_again(inbox: &dyn Inbox) {
    let key = key();
    let first = granted(inbox.begin(&key, LONG).await.expect("begin"));
    inbox.release(&first).await.expect("release");
    let second = granted(inbox.begin(&key, LONG).await.expect("begin"));
    assert!(second.token > first.token, "{} after {}", second.token, first.token);
}

/// A lease that expired and was granted again is worth nothing to its first holder.
pub async fn a_late_holder_cannot_complete(inbox: &dyn Inbox) {
    let key = key();
    let late = granted(inbox.begin(&key, SHORT).await.expect("begin"));
    let next = loop {
        match inbox.begin(&key, LONG).await.expect("begin") {
            Begin::Granted(lease) => break lease,
            Begin::InProgress(_) => tokio::time::sleep(SHORT / 5).await,
            Begin::AlreadyHandled => panic!("nobody has completed it"),
        }
    };
    assert!(next.token > late.token);
    let error = inbox.complete(&late).await.expect_err("its lease is gone");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    inbox.complete(&next).await.expect("the holder completes");
}
