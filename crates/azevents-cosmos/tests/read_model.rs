//! Read models when several processes write them, and when answers get lost: totals stay exact.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use azevents_core::{ErrorKind, Handled, InboxKey, ReadModel, Update};
use azevents_cosmos::CosmosReadModel;
use azevents_emulator::{FaultKind, FaultPlan};
use common::{READ_MODEL, Server};
use futures::{StreamExt, TryStreamExt, stream};

fn add(partition: &str, message: usize, document: String) -> Update {
    Update::new(InboxKey::new("billing", message.to_string()), partition)
        .change(document, |total: &mut u64| *total += 1)
}

/// Sends messages, a number of them at once, until each has been handled; returns how many were new.
async fn handle_all(model: &CosmosReadModel, messages: std::ops::Range<usize>, at_once: usize) -> usize {
    let done = AtomicUsize::new(0);
    stream::iter(messages)
        .for_each_concurrent(at_once, |message| {
            let done = &done;
            async move {
                loop {
                    match model
                        .apply(add("2010-12-01", message, format!("country-{}", message % 7)))
                        .await
                    {
                        Ok(Handled::Done) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            break;
                        }
                        Ok(Handled::Duplicate) => break,
                        // A consumer would get the message again.
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                }
            }
        })
        .await;
    done.into_inner()
}

async fn sum(model: &CosmosReadModel) -> u64 {
    let documents = model.documents(None);
    documents
        .try_fold(0, |sum, document| async move { Ok(sum + document.parse::<u64>()?) })
        .await
        .expect("list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_copies_of_the_same_messages_count_each_once() {
    let server = Server::start().await;
    let models = [
        server.read_model().await,
        CosmosReadModel::open(&server.connect_again().await, READ_MODEL)
            .await
            .expect("container"),
    ];
    let (one, two) = tokio::join!(handle_all(&models[0], 0..300, 40), handle_all(&models[1], 0..300, 40));
    assert_eq!(one + two, 300, "each message was new to one of them");
    assert_eq!(sum(&models[0]).await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_are_exact_and_outcomes_are_right_when_answers_are_lost_refused_or_late() {
    let server = Server::start().await;
    let model = server.read_model().await;
    server.misbehave(
        FaultPlan::new(11)
            .with(FaultKind::CosmosLoseResponse, 0.2, 40)
            .with(FaultKind::CosmosThrottle, 0.1, 40)
            .with(FaultKind::CosmosUnavailable, 0.1, 40),
    );
    let done = handle_all(&model, 0..800, 40).await;
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 3, "answers were lost");
    assert_eq!(done, 800, "an update whose answer was lost is no duplicate of itself");
    // Copies, half of them new messages' neighbours.
    let done = handle_all(&model, 400..1200, 40).await;
    server.emulator.faults().clear();
    assert_eq!(done, 400);
    assert_eq!(sum(&model).await, 1200);
}

#[tokio::test]
async fn updates_that_wait_together_share_a_request() {
    let server = Server::start().await;
    let model = server.read_model().await;
    // Counts the requests to items; no fault is ever taken.
    server.misbehave(FaultPlan::new(1).with(FaultKind::CosmosLoseResponse, 1e-12, 1));
    assert_eq!(handle_all(&model, 0..900, 90).await, 900);
    let requests = server.emulator.faults().counts()[&FaultKind::CosmosLoseResponse].decisions;
    assert!(requests < 60, "{requests} requests for 900 updates, 90 at a time");
}

#[tokio::test]
async fn an_update_too_large_for_a_batch_is_refused_alone() {
    let server = Server::start().await;
    let model = server.read_model().await;
    let many = (0..100).fold(Update::new(InboxKey::new("c", "many"), "p"), |update, n| {
        update.change(format!("d{n}"), |total: &mut u64| *total += 1)
    });
    let long = Update::new(InboxKey::new("c", "long"), "p")
        .change("long", |text: &mut String| text.push_str(&"x".repeat(3 * 1024 * 1024)));
    let fine = Update::new(InboxKey::new("c", "fine"), "p").change("d0", |total: &mut u64| *total += 1);
    let (many, long, fine) = tokio::join!(model.apply(many), model.apply(long), model.apply(fine));
    assert_eq!(many.expect_err("101 operations").kind(), ErrorKind::TooLarge);
    assert_eq!(long.expect_err("3 MB").kind(), ErrorKind::TooLarge);
    assert_eq!(fine.expect("apply"), Handled::Done);
    assert_eq!(sum(&model).await, 1);
}

#[tokio::test]
async fn updates_that_are_too_large_together_go_in_several_batches() {
    let server = Server::start().await;
    let model = server.read_model().await;
    let update = |n: usize| {
        Update::new(InboxKey::new("c", n.to_string()), "p")
            .change(format!("d{n}"), |text: &mut String| text.push_str(&"x".repeat(300_000)))
    };
    let outcomes = futures::future::join_all((0..20).map(|n| model.apply(update(n)))).await;
    assert!(outcomes.into_iter().all(|outcome| matches!(outcome, Ok(Handled::Done))));
    let documents: Vec<_> = model.documents(Some("p")).try_collect().await.expect("list");
    assert_eq!(documents.len(), 20);
}

#[tokio::test]
async fn a_change_that_panics_takes_nobody_else_down_for_good() {
    let server = Server::start().await;
    let model = server.read_model().await;
    let broken = Update::new(InboxKey::new("c", "1"), "p").change("d", |_: &mut u64| panic!("a bug in a handler"));
    let error = model.apply(broken).await.expect_err("its worker is gone");
    assert!(error.is_transient(), "{error}");
    let fine = Update::new(InboxKey::new("c", "2"), "p").change("d", |total: &mut u64| *total += 1);
    assert_eq!(model.apply(fine).await.expect("apply"), Handled::Done);
}

#[tokio::test]
async fn ids_hold_any_text() {
    let server = Server::start().await;
    let model = server.read_model().await;
    let ids = ["a/b", "a\\b", "what?", "#1", "50%", "i|c|1", " x ", "日本", "a%2Fb"];
    for (n, id) in ids.into_iter().enumerate() {
        let update =
            Update::new(InboxKey::new("c", format!("{id}{n}")), "p/q").change(id, |total: &mut u64| *total += 1);
        assert_eq!(model.apply(update).await.expect("apply"), Handled::Done, "{id}");
    }
    for id in ids {
        let document = model.get("p/q", id).await.expect("get").expect("there");
        assert_eq!((document.id.as_str(), document.partition.as_str()), (id, "p/q"));
    }
    let mut listed: Vec<_> = model
        .documents(Some("p/q"))
        .map_ok(|found| found.id)
        .try_collect()
        .await
        .expect("list");
    listed.sort();
    let mut expected = ids.map(str::to_owned);
    expected.sort();
    assert_eq!(listed, expected);
}
