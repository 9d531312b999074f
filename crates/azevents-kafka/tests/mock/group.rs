//! Several members of a group: shared partitions, revoked ones, a crashed member.

use azevents_core::Publisher;

use crate::support::{Behaviour, Bench, Recorder, Running, assert_in_order, eventually, interleaved, message, quick};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_takes_its_share_and_nothing_is_lost() {
    let bench = Bench::start(4);
    let publisher = bench.publisher();
    let messages = interleaved(60, 6);
    let (one, other) = (Recorder::new(), Recorder::new());
    let first = Running::start(bench.consumer(quick()), one.handler());
    publisher.publish(&messages[..120]).await.expect("published");
    one.until("the first member has all", |seen| seen.distinct() == 120)
        .await;

    let second = Running::start(bench.consumer(quick()), other.handler());
    let mut published = 120;
    // Published a round at a time while the group shares out its partitions.
    while other.count() == 0 {
        assert!(published < messages.len() * 50, "the second member gets no partition");
        let round: Vec<_> = (0..60)
            .map(|key| message(&format!("order-{key}"), published / 60))
            .collect();
        publisher.publish(&round).await.expect("published");
        published += 60;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let all = || {
        let (mut all, more) = (one.messages(), other.messages());
        all.extend(more);
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all.dedup_by(|a, b| a.id == b.id);
        all.len()
    };
    eventually("every event is handled", || all() == published).await;
    first.stop().await;
    second.stop().await;
    assert_in_order(&one.messages());
    assert_eq!(bench.committed(4), published as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_partition_cancels_its_handlers_and_keeps_what_was_finished() {
    let bench = Bench::start(2);
    // Enough keys that both partitions have some; one event of every key hangs.
    let messages = interleaved(16, 3);
    bench.publisher().publish(&messages).await.expect("published");
    let mut hanging = Recorder::new();
    for key in 0..16 {
        hanging = hanging.with(&format!("order-{key}/1"), Behaviour::Hang);
    }
    let first = Running::start(bench.consumer(quick().with_concurrency(256)), hanging.handler());
    hanging
        .until("every key has begun its second event", |seen| seen.distinct() >= 30)
        .await;

    let second = Recorder::new();
    let joining = Running::start(bench.consumer(quick()), second.handler());
    let mut interrupted = hanging.interrupted.subscribe();
    interrupted
        .wait_for(|count| *count > 0)
        .await
        .expect("handlers of the revoked partition end");
    second
        .until("its events come to the other member", |seen| seen.distinct() > 0)
        .await;
    let repeated = second
        .messages()
        .iter()
        .filter(|message| message.id.ends_with("/0"))
        .count();
    assert!(
        repeated < 16,
        "finished events at the beginning of the partition stay committed"
    );
    first.crash().await;
    second
        .until("in the end all do", |seen| {
            let ids: std::collections::BTreeSet<_> = seen.messages().into_iter().map(|message| message.id).collect();
            messages
                .iter()
                .filter(|message| !message.id.ends_with("/0"))
                .all(|message| ids.contains(&message.id))
        })
        .await;
    joining.stop().await;
    assert_eq!(bench.committed(2), messages.len() as i64);
}
