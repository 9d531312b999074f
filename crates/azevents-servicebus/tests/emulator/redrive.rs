//! Dead letters: listed, sent again, thrown away.

use std::time::Duration;

use azevents_emulator::Emulator;
use azevents_servicebus::{
    DeadLetterFilter, DeadLetters, ErrorKind, PropertyValue, RedriveOptions, RedriveReport, RedriveTarget,
    ServiceBusClient, dead_letter_queue, subscription,
};
use tokio_util::sync::CancellationToken;

use crate::support::{client, emulator, id, message, soon};

/// `count` dead letters of an entity, reached through `to`; odd ones with reason `Odd`, even ones with `Even`.
async fn dead_letters(to: &str, entity: &str, count: usize) -> (Emulator, ServiceBusClient, DeadLetters) {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender(to);
    let receiver = client.create_receiver(entity);
    for n in 0..count {
        soon(sender.send(&message(n).with_subject("LineAdded").with_property("n", n as i64)))
            .await
            .unwrap();
        let received = soon(receiver.receive()).await.unwrap();
        let reason = if n % 2 == 0 { "Even" } else { "Odd" };
        soon(receiver.dead_letter(&received, reason, "as told")).await.unwrap();
    }
    soon(receiver.close()).await;
    let dead = DeadLetters::new(client.clone(), entity);
    (emulator, client, dead)
}

async fn left(client: &ServiceBusClient, entity: &str) -> Vec<String> {
    let messages = soon(client.create_receiver(entity).peek(0, 100)).await.unwrap();
    messages.iter().map(|message| id(message).to_owned()).collect()
}

fn counts(report: RedriveReport) -> (usize, usize, usize, usize) {
    (report.chosen, report.moved, report.too_often, report.left)
}

fn odd() -> DeadLetterFilter {
    DeadLetterFilter::default().with_reason("Odd")
}

async fn redrive(dead: &DeadLetters, options: &RedriveOptions) -> RedriveReport {
    soon(dead.redrive(options, CancellationToken::new())).await.unwrap()
}

#[tokio::test]
async fn chosen_dead_letters_are_listed_in_order_and_none_is_locked_by_that() {
    let (_emulator, client, dead) = dead_letters("q", "q", 5).await;
    let listed = soon(dead.list(&odd(), 10)).await.unwrap();
    assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(listed[0].dead_letter_reason(), Some("Odd"));
    let by_property = DeadLetterFilter::default().with_property("n", "4");
    assert_eq!(soon(dead.list(&by_property, 10)).await.unwrap().len(), 1);
    let number = listed[1].sequence_number();
    assert_eq!(soon(dead.get(number)).await.unwrap().as_ref().map(id), Some("3"));
    assert!(soon(dead.get(number + 1000)).await.unwrap().is_none());
    let all = soon(
        client
            .create_receiver(&dead_letter_queue("q"))
            .receive_batch(5, Duration::from_secs(5)),
    )
    .await
    .unwrap();
    assert!(!all.is_empty());
}

#[tokio::test]
async fn chosen_dead_letters_go_back_to_their_queue_and_the_others_stay() {
    let (_emulator, client, dead) = dead_letters("q", "q", 5).await;
    let report = redrive(&dead, &RedriveOptions::default().with_filter(odd())).await;
    assert_eq!(counts(report), (2, 2, 0, 0));
    assert_eq!(left(&client, &dead_letter_queue("q")).await, ["0", "2", "4"]);
    let again = soon(client.create_receiver("q").receive()).await.unwrap();
    assert_eq!(
        (again.subject(), again.dead_letter_reason(), again.body().as_ref()),
        (Some("LineAdded"), None, b"body of 1".as_slice())
    );
    let original = again
        .properties()
        .get("azevents-original-id")
        .and_then(PropertyValue::as_str);
    assert_eq!(original, Some("1"));
    // What was passed over is free again at once.
    let free = soon(client.create_receiver(&dead_letter_queue("q")).receive())
        .await
        .unwrap();
    assert_eq!(free.dead_letter_reason(), Some("Even"));
}

#[tokio::test]
async fn a_dry_run_only_counts() {
    let (_emulator, client, dead) = dead_letters("q", "q", 3).await;
    let report = redrive(&dead, &RedriveOptions::default().with_dry_run(true).with_max(2)).await;
    assert_eq!(counts(report), (2, 0, 0, 2));
    assert_eq!(left(&client, &dead_letter_queue("q")).await.len(), 3);
    assert!(left(&client, "q").await.is_empty());
}

#[tokio::test]
async fn duplicate_detection_takes_the_copy_once_however_often_it_is_sent() {
    let (_emulator, client, dead) = dead_letters("dedupe", "dedupe", 1).await;
    let report = redrive(&dead, &RedriveOptions::default()).await;
    assert_eq!(counts(report), (1, 1, 0, 0));
    assert_eq!(
        left(&client, "dedupe").await.len(),
        1,
        "the original id was seen before, the copy's not"
    );
}

#[tokio::test]
async fn a_redrive_that_was_killed_goes_on_where_it_was_and_loses_nothing() {
    let (_emulator, client, dead) = dead_letters("q", "q", 20).await;
    let options = RedriveOptions::default().with_target(RedriveTarget::Entity("dedupe".into()));
    for millis in [1, 5, 10, 20] {
        let run = dead.redrive(&options, CancellationToken::new());
        // Dropped at whatever await it has reached.
        let _ = tokio::time::timeout(Duration::from_millis(millis), run).await;
    }
    redrive(&dead, &options).await;
    assert!(left(&client, &dead_letter_queue("q")).await.is_empty());
    assert_eq!(
        left(&client, "dedupe").await.len(),
        20,
        "none lost, and copies of copies are duplicates"
    );
}

#[tokio::test]
async fn a_stopped_redrive_leaves_the_rest() {
    let (_emulator, client, dead) = dead_letters("q", "q", 5).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let report = soon(dead.redrive(&RedriveOptions::default(), stop)).await.unwrap();
    assert_eq!(counts(report), (5, 0, 0, 5));
    assert_eq!(left(&client, &dead_letter_queue("q")).await.len(), 5);
}

#[tokio::test]
async fn a_message_that_comes_back_too_often_stays() {
    let (_emulator, client, dead) = dead_letters("q", "q", 1).await;
    let options = RedriveOptions::default().with_max_redrives(2);
    for _ in 0..2 {
        assert_eq!(counts(redrive(&dead, &options).await), (1, 1, 0, 0));
        let receiver = client.create_receiver("q");
        let again = soon(receiver.receive()).await.unwrap();
        soon(receiver.dead_letter(&again, "Again", "")).await.unwrap();
    }
    assert_eq!(counts(redrive(&dead, &options).await), (0, 0, 1, 0));
}

#[tokio::test]
async fn a_subscriptions_dead_letters_need_a_target_and_can_be_marked_for_it() {
    let entity = subscription("t", "a");
    let (_emulator, client, dead) = dead_letters("t", &entity, 1).await;
    let error = soon(dead.redrive(&RedriveOptions::default(), CancellationToken::new()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let options = RedriveOptions::default().with_target(RedriveTarget::TopicForThisSubscription);
    assert_eq!(counts(redrive(&dead, &options).await), (1, 1, 0, 0));
    let again = soon(client.create_receiver(&entity).receive()).await.unwrap();
    let mark = again
        .properties()
        .get("azevents-redrive-to")
        .and_then(PropertyValue::as_str);
    assert_eq!(mark, Some(entity.as_str()));
}

#[tokio::test]
async fn purging_takes_only_what_was_chosen() {
    let (_emulator, client, dead) = dead_letters("q", "q", 5).await;
    let options = RedriveOptions::default().with_filter(odd());
    let report = soon(dead.purge(&options, CancellationToken::new())).await.unwrap();
    assert_eq!(counts(report), (2, 2, 0, 0));
    assert_eq!(left(&client, &dead_letter_queue("q")).await, ["0", "2", "4"]);
    assert!(left(&client, "q").await.is_empty());
}

/// Counts messages, and says so.
struct Count(tokio::sync::mpsc::UnboundedSender<String>);

#[async_trait::async_trait]
impl azevents_core::Handler for Count {
    async fn handle(
        &self,
        message: &azevents_core::Message,
        _: &azevents_core::Delivery,
    ) -> Result<azevents_core::Handled, azevents_core::HandlerError> {
        self.0
            .send(message.id.clone())
            .map_err(azevents_core::HandlerError::transient)?;
        Ok(azevents_core::Handled::Done)
    }
}

#[tokio::test]
async fn a_consumer_completes_unhandled_what_was_redriven_for_another_subscription() {
    use azevents_core::Consumer;
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("t");
    let marked = |n: u32, to: &str| message(n).with_property("azevents-redrive-to", subscription("t", to));
    for message in [marked(1, "other"), marked(2, "a"), message(3)] {
        soon(sender.send(&message)).await.unwrap();
    }
    let (seen, mut ids) = tokio::sync::mpsc::unbounded_channel();
    let options = azevents_servicebus::ConsumerOptions::default().with_concurrency(1);
    let consumer = azevents_servicebus::ServiceBusConsumer::new(client.clone(), subscription("t", "a"), options);
    let pipeline = std::sync::Arc::new(azevents_core::Pipeline::new(std::sync::Arc::new(Count(seen))));
    let stop = CancellationToken::new();
    let watch = async {
        assert_eq!(
            (soon(ids.recv()).await, soon(ids.recv()).await),
            (Some("2".into()), Some("3".into()))
        );
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(consumer.run(pipeline, stop.clone()), watch);
    ended.unwrap();
    assert!(left(&client, &subscription("t", "a")).await.is_empty());
}
