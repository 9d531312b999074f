//! Connections that drop and links that are detached, with nothing lost.

use std::collections::BTreeSet;
use std::time::Duration;

use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{ErrorKind, ReceiverOptions, SessionReceiverOptions};

use crate::support::{client, emulator, id, message, soon};

const COUNT: usize = 200;
/// More often than any plan here strikes.
const SEED: u64 = 7;

async fn everything_sent_is_received(plan: FaultPlan) {
    let emulator = emulator().await;
    let client = client(&emulator);
    emulator.faults().set_plan(plan);
    let sending = async {
        let sender = client.create_sender("q");
        for n in 0..COUNT {
            sender.send(&message(n)).await.unwrap();
        }
    };
    let receiving = async {
        let receiver = client.create_receiver_with("q", &ReceiverOptions::default().with_prefetch(20));
        let mut seen = BTreeSet::new();
        while seen.len() < COUNT {
            for received in receiver.receive_batch(20, Duration::from_secs(10)).await.unwrap() {
                // A lost lock or a lost answer only means a copy.
                match receiver.complete(&received).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::MessageLockLost || error.is_transient() => {}
                    Err(error) => panic!("{error}"),
                }
                seen.insert(id(&received).to_owned());
            }
        }
    };
    soon(async { tokio::join!(Box::pin(sending), Box::pin(receiving)) }).await;
    let injected: u64 = emulator.faults().counts().values().map(|count| count.injected).sum();
    assert!(injected > 0, "the plan never struck");
}

#[tokio::test]
async fn connections_may_drop_under_a_sender_and_a_receiver() {
    everything_sent_is_received(FaultPlan::new(SEED).with(FaultKind::DropConnection, 0.05, 10)).await;
}

#[tokio::test]
async fn links_may_be_detached_under_a_sender_and_a_receiver() {
    everything_sent_is_received(FaultPlan::new(SEED).with(FaultKind::DetachLink, 0.05, 10)).await;
}

#[tokio::test]
async fn outcomes_may_be_lost_and_the_broker_may_be_busy() {
    let plan = FaultPlan::new(SEED)
        .with(FaultKind::LoseOutcome, 0.05, 5)
        .with(FaultKind::ServerBusy, 0.1, 10);
    everything_sent_is_received(plan).await;
}

#[tokio::test]
async fn a_settlement_after_the_link_was_lost_goes_through_the_management_node() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    emulator
        .faults()
        .set_plan(FaultPlan::new(SEED).with(FaultKind::DropConnection, 1.0, 1));
    // Whatever it is that the fault strikes, the completion finds its way.
    soon(receiver.complete(&received)).await.unwrap();
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_connection_loses_the_session_and_not_its_messages() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("qs").send(&message(1).with_session_id("a")))
        .await
        .unwrap();
    let options = SessionReceiverOptions::default().with_accept_timeout(Duration::from_secs(10));
    let session = soon(client.accept_session("qs", "a", &options)).await.unwrap();
    let received = soon(session.receive_batch(1, Duration::from_secs(5))).await.unwrap();
    emulator
        .faults()
        .set_plan(FaultPlan::new(SEED).with(FaultKind::DropConnection, 1.0, 1));
    let error = match soon(session.complete(&received[0])).await {
        Err(error) => error,
        // Struck later: by then at the next thing asked for, or when the lock ends.
        Ok(()) => soon(session.receive_batch(1, Duration::from_secs(10)))
            .await
            .map(drop)
            .unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::SessionLockLost, "{error}");
}
