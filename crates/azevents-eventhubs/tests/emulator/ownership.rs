//! Several consumers: shared partitions, takeover, a lost lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Delivery, FeedRange, Handled, Handler, HandlerError, LeaseStore, Message, Publisher};
use tokio::sync::watch;

use crate::support::{Bench, GROUP, HUB, Recorder, Running, assert_in_order, eventually, interleaved, message, quick};

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_partitions_and_handle_each_event_once() {
    let bench = Bench::start(4).await;
    let (one, other) = (Recorder::new(), Recorder::new());
    let running = [
        Running::start(bench.consumer(quick()), one.handler()),
        Running::start(bench.consumer(quick()), other.handler()),
    ];
    eventually("each has its share", || async {
        let leases = bench
            .leases
            .list(&format!("eventhub/{HUB}/{GROUP}"))
            .await
            .expect("leases");
        let mut shares = BTreeMap::new();
        for lease in leases.into_iter().filter(|lease| !lease.owner.is_empty()) {
            *shares.entry(lease.owner).or_insert(0) += 1;
        }
        shares.into_values().eq([2, 2])
    })
    .await;
    let messages = interleaved(60, 5);
    bench.publisher().publish(&messages).await.expect("published");
    eventually("all arrive", || async {
        one.ids().len() + other.ids().len() == messages.len()
    })
    .await;
    for consumer in running {
        consumer.stop().await.expect("stopped");
    }
    assert!(!one.ids().is_empty() && !other.ids().is_empty(), "both had work");
    let mut all = one.messages();
    all.extend(other.messages());
    assert_in_order(&one.messages());
    assert_in_order(&other.messages());
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.dedup_by(|a, b| a.id == b.id);
    assert_eq!(all.len(), messages.len(), "none twice, none left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_consumers_partitions_are_taken_over_when_its_leases_expire() {
    let bench = Bench::start(2).await;
    let publisher = bench.publisher();
    let options = quick().with_lease_duration(Duration::from_secs(1));
    let first = Recorder::new();
    let crashing = Running::start(bench.consumer(options.clone()), first.handler());
    publisher.publish(&interleaved(8, 2)).await.expect("published");
    first.until("it reads", |seen| seen.ids().len() == 16).await;
    eventually("and checkpoints", || async { bench.checkpointed().await == 16 }).await;

    let second = Recorder::new();
    let waiting = Running::start(bench.consumer(options), second.handler());
    crashing.crash().await;
    publisher
        .publish(&[message("order-1", 2), message("order-2", 2), message("order-3", 2)])
        .await
        .expect("published");
    second.until("the other takes over", |seen| seen.distinct() == 3).await;
    waiting.stop().await.expect("stopped");
    assert_eq!(second.ids().len(), 3, "what was checkpointed does not come again");
}

/// Runs until its lock is lost, and tells when.
struct Slow {
    begun: watch::Sender<usize>,
    ended: watch::Sender<usize>,
}

#[async_trait]
impl Handler for Slow {
    async fn handle(&self, _: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.begun.send_modify(|begun| *begun += 1);
        delivery.lock_lost.cancelled().await;
        self.ended.send_modify(|ended| *ended += 1);
        Err(HandlerError::transient("lost"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_cancels_the_running_handler_and_the_event_comes_again() {
    let bench = Bench::start(1).await;
    bench.publisher().publish(&[message("a", 0)]).await.expect("published");
    let slow = Arc::new(Slow {
        begun: watch::Sender::new(0),
        ended: watch::Sender::new(0),
    });
    let options = quick().with_owner("reader").with_lease_duration(Duration::from_secs(2));
    let running = Running::start(bench.consumer(options), slow.clone());
    eventually("the handler runs", || async { *slow.begun.borrow() == 1 }).await;

    // Another process of the same name takes the lease: its token no longer fits.
    let range = FeedRange("0".into());
    let stolen = bench
        .leases
        .acquire(
            &format!("eventhub/{HUB}/{GROUP}"),
            &range,
            "reader",
            Duration::from_secs(60),
        )
        .await;
    assert!(stolen.expect("an answer").is_some());
    eventually("the handler is told", || async { *slow.ended.borrow() == 1 }).await;
    eventually("and gets the event again once the lease is back", || async {
        *slow.begun.borrow() == 2
    })
    .await;
    running.crash().await;
    assert_eq!(bench.checkpointed().await, 0);
}
