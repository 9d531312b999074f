//! Reading again, redriving what was parked, and how far a group is behind.

use std::sync::Arc;

use azevents_core::memory::MemoryDeadLetters;
use azevents_core::{DeadLetter, DeadLetterSink, ErrorKind, Pipeline, Publisher};
use azevents_emulator::{Emulator, EventHub};
use azevents_eventhubs::{
    DEAD_LETTER_REASON, EventHubs, PARKED_SOURCE, Redrive, ReplayFrom, ReplayOptions, ReplayUntil,
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Bench, Failure, GROUP, HUB, Recorder, Running, assert_in_order, eventually, interleaved, message, quick,
};

const REPLAYS: &str = "$Default";

async fn replay(bench: &Bench, options: ReplayOptions, recorder: &Recorder) -> azevents_core::Result<u64> {
    let replay = bench.hubs().replay(HUB, REPLAYS).with_options(options);
    let pipeline = Arc::new(Pipeline::new(recorder.handler()));
    let replayed = replay.run(pipeline, CancellationToken::new()).await?;
    Ok(replayed.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_replayed_in_order_beside_a_consumer_whose_checkpoints_stay() {
    let bench = Bench::start(4).await;
    let messages = interleaved(20, 10);
    bench.publisher().publish(&messages).await.expect("published");
    let consumed = Recorder::new();
    let running = Running::start(bench.consumer(quick()), consumed.handler());
    consumed.until("consumed", |seen| seen.distinct() == 200).await;
    eventually("checkpointed", || async { bench.checkpointed().await == 200 }).await;

    let recorder = Recorder::new();
    let replayed = replay(&bench, ReplayOptions::default(), &recorder)
        .await
        .expect("replayed");
    assert_eq!((replayed, recorder.distinct()), (200, 200));
    assert_in_order(&recorder.messages());
    assert_eq!(bench.checkpointed().await, 200);
    running.stop().await.expect("the consumer was not disturbed");
    assert_eq!(consumed.ids().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_sequence_numbers_or_of_time_is_replayed_and_nothing_else() {
    let bench = Bench::start(1).await;
    let publisher = bench.publisher();
    let messages = interleaved(1, 30);
    publisher.publish(&messages[..20]).await.expect("published");
    // Enqueued times are in milliseconds.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let between = OffsetDateTime::now_utc();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    publisher.publish(&messages[20..]).await.expect("published");

    let options = ReplayOptions::default();
    for (options, expected) in [
        (
            options
                .clone()
                .with_from(ReplayFrom::SequenceNumber(5))
                .with_until(ReplayUntil::SequenceNumber(9)),
            &messages[5..10],
        ),
        (options.clone().with_from(ReplayFrom::Time(between)), &messages[20..]),
        (options.clone().with_until(ReplayUntil::Time(between)), &messages[..20]),
        (options.clone().with_from(ReplayFrom::SequenceNumber(30)), &[][..]),
        (
            options.clone().with_from(ReplayFrom::Time(OffsetDateTime::now_utc())),
            &[][..],
        ),
    ] {
        let recorder = Recorder::new();
        let replayed = replay(&bench, options.with_partitions(["0"]), &recorder)
            .await
            .expect("replayed");
        assert_eq!(recorder.messages(), expected);
        assert_eq!(replayed, expected.len() as u64);
    }
    let unknown = replay(&bench, options.with_partitions(["7"]), &Recorder::new()).await;
    assert_eq!(unknown.expect_err("there is none").kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_handled_ends_a_replay_by_name() {
    let bench = Bench::start(1).await;
    bench.publisher().publish(&interleaved(1, 10)).await.expect("published");
    let recorder = Recorder::new().failing("order-0/4", Failure::Permanent);
    let failed = replay(&bench, ReplayOptions::default(), &recorder)
        .await
        .expect_err("poison");
    let text = failed.to_string();
    assert!(
        text.contains(&format!("{HUB}/0/4")) && text.contains("Poison"),
        "{text}"
    );
    assert_eq!(recorder.ids().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_in_another_hub_comes_back_in_order_without_its_marks() {
    const PARKED: &str = "parked";
    let emulator = Emulator::builder()
        .event_hub(EventHub::new(HUB).with_partition_count(2).with_consumer_group(GROUP))
        .event_hub(
            EventHub::new(PARKED)
                .with_partition_count(2)
                .with_consumer_group("redrive"),
        )
        .start()
        .await
        .expect("the emulator starts");
    let bench = Bench::on(emulator);
    let hubs: EventHubs = bench.hubs();
    let messages = interleaved(4, 5);
    let parking = hubs.dead_letters(PARKED);
    let why = DeadLetter::new("Poison", "mended since");
    for message in &messages {
        let mut marked = message.clone();
        marked.headers.insert(PARKED_SOURCE.to_owned(), "eventhub/x".to_owned());
        parking.set_aside(&marked, &why).await.expect("parked");
    }
    let leases = Arc::new(bench.leases.clone());
    let redriving = hubs
        .consumer(PARKED, "redrive", leases, Arc::new(MemoryDeadLetters::new()))
        .with_options(quick());
    let redriving = Running::start(redriving, Arc::new(Redrive::new(bench.publisher())));
    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder
        .until("all come back", |seen| seen.distinct() == messages.len())
        .await;
    redriving.stop().await.expect("stopped");
    running.stop().await.expect("stopped");
    let seen = recorder.messages();
    assert_in_order(&seen);
    assert!(
        seen.iter()
            .all(|message| !message.headers.contains_key(DEAD_LETTER_REASON))
    );
    assert!(seen.iter().all(|message| !message.headers.contains_key(PARKED_SOURCE)));
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_counts_what_is_not_behind_a_checkpoint_and_how_old_it_is() {
    let bench = Bench::start(2).await;
    let hubs = bench.hubs();
    let lag = || async {
        let lags = hubs.lag(HUB, GROUP, &bench.leases).await.expect("lag");
        assert_eq!(
            lags.iter().map(|lag| lag.partition.as_str()).collect::<Vec<_>>(),
            ["0", "1"]
        );
        let age = lags
            .iter()
            .map(|lag| lag.age.expect("it can be looked at"))
            .max()
            .expect("two");
        (lags.iter().map(|lag| lag.events).sum::<u64>(), age)
    };
    assert_eq!(lag().await, (0, std::time::Duration::ZERO), "empty");
    let publisher = bench.publisher();
    publisher.publish(&interleaved(8, 5)).await.expect("published");
    let (events, age) = lag().await;
    assert_eq!(events, 40, "nothing is checkpointed");
    assert!(age < std::time::Duration::from_secs(60), "{age:?}");

    let recorder = Recorder::new();
    let running = Running::start(bench.consumer(quick()), recorder.handler());
    recorder.until("consumed", |seen| seen.distinct() == 40).await;
    running.stop().await.expect("stopped");
    assert_eq!(lag().await, (0, std::time::Duration::ZERO));
    publisher.publish(&[message("order-0", 5)]).await.expect("published");
    assert_eq!(lag().await.0, 1);
}
