//! Settling and sending, all or nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{
    ErrorKind, SenderOptions, ServiceBusClient, SessionReceiverOptions, Settlement, dead_letter_queue, subscription,
};
use futures::FutureExt;

use crate::proxy::ChaosProxy;
use crate::support::{client, connection_string, emulator, id, message, options, port, soon};

const NOTHING: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_committed_transaction_settles_and_sends() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let (sender, receiver) = (client.create_sender("q"), client.create_receiver("q"));
    for n in 0..2 {
        soon(sender.send(&message(n))).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < 2 {
        received.extend(soon(receiver.receive_batch(2, NOTHING)).await.unwrap());
    }
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&sender, &message("next"))).await.unwrap();
    let mut batch = soon(sender.create_batch()).await.unwrap();
    assert!(batch.try_add(&message("batched")).unwrap() && batch.try_add(&message("too")).unwrap());
    soon(transaction.send_batch(&sender, batch)).await.unwrap();
    soon(transaction.settle(&receiver, &received[0], &Settlement::Complete))
        .await
        .unwrap();
    let dead = Settlement::dead_letter("Bad", "very");
    soon(transaction.settle(&receiver, &received[1], &dead)).await.unwrap();
    // Nothing of it can be seen yet.
    assert_eq!(soon(receiver.peek(0, 10)).await.unwrap().len(), 2);
    soon(transaction.commit()).await.unwrap();

    let left = soon(receiver.peek(0, 10)).await.unwrap();
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), ["next", "batched", "too"]);
    let graveyard = client.create_receiver(&dead_letter_queue("q"));
    let dead = soon(graveyard.receive()).await.unwrap();
    assert_eq!(dead.dead_letter_reason(), Some("Bad"));
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_or_let_go_leaves_everything_as_it_was() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let (sender, receiver) = (client.create_sender("q"), client.create_receiver("q"));
    for let_go in [false, true] {
        soon(sender.send(&message(let_go))).await.unwrap();
        let received = soon(receiver.receive()).await.unwrap();
        let transaction = soon(client.begin_transaction()).await.unwrap();
        soon(transaction.send(&sender, &message("never"))).await.unwrap();
        soon(transaction.settle(&receiver, &received, &Settlement::Complete))
            .await
            .unwrap();
        if let_go {
            drop(transaction);
        } else {
            soon(transaction.rollback()).await.unwrap();
        }
        assert_eq!(soon(receiver.peek(0, 10)).await.unwrap().len(), 1);
        // The lock is still ours: the message can be settled otherwise.
        soon(receiver.complete(&received)).await.unwrap();
        assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
    }
    // A transaction whose beginning nobody waits for is let go too.
    assert!(client.begin_transaction().now_or_never().is_none());
    soon(sender.send(&message("last"))).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_ended_before_the_commit_rolls_everything_back() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let (sender, receiver) = (client.create_sender("q"), client.create_receiver("q"));
    soon(sender.send(&message(1))).await.unwrap();
    let received = soon(receiver.receive()).await.unwrap();
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&sender, &message("never"))).await.unwrap();
    soon(transaction.settle(&receiver, &received, &Settlement::Complete))
        .await
        .unwrap();
    soon(receiver.abandon(&received)).await.unwrap();
    let error = soon(transaction.commit()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransactionFailed, "{error}");
    let left = soon(receiver.peek(0, 10)).await.unwrap();
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn a_transaction_is_of_one_entity() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&client.create_sender("q"), &message(1)))
        .await
        .unwrap();
    let elsewhere = client.create_sender("dedupe");
    let error = soon(transaction.send(&elsewhere, &message(2))).await.unwrap_err();
    assert!(error.to_string().contains("multiple entities"), "{error}");
    soon(transaction.rollback()).await.unwrap();
}

#[tokio::test]
async fn a_transaction_reaches_other_entities_by_way_of_its_own() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let receiver = client.create_receiver("q");
    let via = |entity| client.create_sender_with(entity, &SenderOptions::default().with_via("q"));
    let (queue, sessions, topic) = (via("dedupe"), via("qs"), via("t"));
    assert_eq!(queue.entity(), "dedupe");
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let targets = ["dedupe", "qs", &subscription("t", "a")].map(|entity| client.create_receiver(entity));
    let seen = async || {
        let mut seen = Vec::new();
        for target in &targets {
            seen.push(soon(target.peek(0, 10)).await.unwrap().len());
        }
        seen
    };
    for commit in [false, true] {
        let received = soon(receiver.receive()).await.unwrap();
        let transaction = soon(client.begin_transaction()).await.unwrap();
        soon(transaction.settle(&receiver, &received, &Settlement::Complete))
            .await
            .unwrap();
        soon(transaction.send(&queue, &message("a"))).await.unwrap();
        let mut batch = soon(sessions.create_batch()).await.unwrap();
        assert!(batch.try_add(&message("b").with_session_id("s")).unwrap());
        soon(transaction.send_batch(&sessions, batch)).await.unwrap();
        soon(transaction.send(&topic, &message("c").with_session_id("s")))
            .await
            .unwrap();
        assert_eq!(seen().await, [0, 0, 0]);
        if commit {
            soon(transaction.commit()).await.unwrap();
        } else {
            soon(transaction.rollback()).await.unwrap();
            soon(receiver.abandon(&received)).await.unwrap();
        }
    }
    // The service passes them on after the commit.
    soon(async {
        while seen().await != [1, 1, 1] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
    // Outside of a transaction they go the same way.
    soon(queue.send(&message("d"))).await.unwrap();
    assert_eq!(id(&soon(targets[0].receive()).await.unwrap()), "a");
    assert_eq!(id(&soon(targets[0].receive()).await.unwrap()), "d");
}

#[tokio::test]
async fn a_lost_connection_leaves_nothing_of_a_transaction_in_any_entity() {
    let emulator = emulator().await;
    let proxy = ChaosProxy::before(port(&emulator), 1).await;
    let text = proxy.connection_string(connection_string(&emulator), port(&emulator));
    let client = ServiceBusClient::from_connection_string_with(&text, options()).unwrap();
    let via = SenderOptions::default().with_via("q");
    let (own, other) = (client.create_sender("q"), client.create_sender_with("dedupe", &via));
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&own, &message(1))).await.unwrap();
    soon(transaction.send(&other, &message(2))).await.unwrap();
    proxy.cut();
    let error = soon(transaction.commit()).await.unwrap_err();
    // Told by the loss, and not by running out of time.
    assert!(error.to_string().contains("the connection was lost"), "{error}");
    for entity in ["q", "dedupe"] {
        let left = soon(client.create_receiver(entity).peek(0, 10)).await.unwrap();
        assert!(left.is_empty(), "{entity}");
    }
    // Both links come up again by themselves.
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&own, &message(1))).await.unwrap();
    soon(transaction.send(&other, &message(2))).await.unwrap();
    soon(transaction.commit()).await.unwrap();
    assert_eq!(
        id(&soon(client.create_receiver("dedupe").receive()).await.unwrap()),
        "2"
    );
}

#[tokio::test]
async fn links_may_be_detached_under_transactions() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let via = SenderOptions::default().with_via("q");
    let (own, other) = (client.create_sender("q"), client.create_sender_with("dedupe", &via));
    let plan = FaultPlan::new(7).with(FaultKind::DetachLink, 0.1, 10);
    emulator.faults().set_plan(plan);
    let mut committed = BTreeSet::new();
    for n in 0..60 {
        // Any of its links, the coordinator's too, may go at any step.
        let done = async {
            let transaction = client.begin_transaction().await?;
            transaction.send(&own, &message(n)).await?;
            transaction.send(&other, &message(n)).await?;
            transaction.commit().await
        };
        match soon(done).await {
            Ok(()) => drop(committed.insert(n.to_string())),
            Err(error) => assert_ne!(error.kind(), ErrorKind::Other, "{error}"),
        }
    }
    let injected: u64 = emulator.faults().counts().values().map(|count| count.injected).sum();
    assert!(injected > 0 && committed.len() > 20, "{injected}, {committed:?}");
    emulator.faults().set_plan(FaultPlan::new(7));
    let mut seen = Vec::new();
    for entity in ["q", "dedupe"] {
        let left = soon(client.create_receiver(entity).peek(0, 100)).await.unwrap();
        seen.push(
            left.iter()
                .map(|message| id(message).to_owned())
                .collect::<BTreeSet<_>>(),
        );
    }
    // In both or in neither; a commit whose answer was lost may have happened.
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].is_superset(&committed), "{seen:?} {committed:?}");
}

#[tokio::test]
async fn what_goes_by_way_of_an_entity_that_is_not_there_is_refused() {
    let emulator = emulator().await;
    let client = client(&emulator);
    for (to, via) in [("gone", "q"), ("q", "gone")] {
        let sender = client.create_sender_with(to, &SenderOptions::default().with_via(via));
        let error = soon(sender.send(&message(1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EntityNotFound, "{error}");
        assert!(error.to_string().contains("gone"), "{error}");
    }
}

#[tokio::test]
async fn a_sessions_message_is_completed_with_what_follows_from_it() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("qs");
    soon(sender.send(&message(1).with_session_id("a"))).await.unwrap();
    let session = soon(client.accept_session("qs", "a", &SessionReceiverOptions::default()))
        .await
        .unwrap();
    let received = soon(session.receive_batch(1, Duration::from_secs(5))).await.unwrap();
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&sender, &message(2).with_session_id("a")))
        .await
        .unwrap();
    soon(transaction.settle_in_session(&session, &received[0], &Settlement::Complete))
        .await
        .unwrap();
    soon(transaction.commit()).await.unwrap();
    let next = soon(session.receive_batch(1, Duration::from_secs(5))).await.unwrap();
    assert_eq!(id(&next[0]), "2");
}

#[tokio::test]
async fn a_lost_connection_ends_a_transaction_and_the_next_one_works() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender("q");
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&sender, &message("never"))).await.unwrap();
    let plan = FaultPlan::new(7).with(FaultKind::DropConnection, 1.0, 1);
    emulator.faults().set_plan(plan);
    // Whatever it is that the fault strikes: all or nothing.
    let sent = soon(transaction.send(&sender, &message("never"))).await;
    let committed = match sent {
        Ok(()) => soon(transaction.commit()).await,
        Err(error) => Err(error),
    };
    assert!(committed.is_err(), "the connection was lost");
    let receiver = client.create_receiver("q");
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
    let transaction = soon(client.begin_transaction()).await.unwrap();
    soon(transaction.send(&sender, &message(1))).await.unwrap();
    soon(transaction.commit()).await.unwrap();
    assert_eq!(soon(receiver.peek(0, 10)).await.unwrap().len(), 1);
}
