//! Connections that drop and links that are detached, with nothing lost.

use std::collections::BTreeSet;
use std::time::Duration;

use azevents_emulator::{Emulator, FaultKind, FaultPlan, Queue};
use azevents_servicebus::{ErrorKind, ReceiverOptions, ServiceBusClient, SessionReceiverOptions};

use crate::proxy::ChaosProxy;
use crate::support::{PATIENCE, client, connection_string, emulator, id, message, options, port, soon};

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
async fn a_settlement_without_an_answer_can_be_tried_again() {
    let lock = Duration::from_secs(300);
    let queue = Queue::new("q").with_lock_duration(lock);
    let emulator = Emulator::builder().queue(queue).start().await.unwrap();
    let (direct, port) = (connection_string(&emulator), port(&emulator));
    let proxy = ChaosProxy::before(port, SEED).await;
    let text = proxy.connection_string(direct, port);
    let patient = options();
    let retry = patient.retry.with_try_timeout(Duration::from_secs(1));
    let client = ServiceBusClient::from_connection_string_with(&text, patient.with_retry(retry)).unwrap();
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    proxy.freeze();
    let error = soon(receiver.complete(&received)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    // By its lock, on another connection.
    proxy.cut();
    soon(receiver.complete(&received)).await.unwrap();
    assert!(soon(receiver.peek(0, 10)).await.unwrap().is_empty());
    let error = soon(receiver.complete(&received)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageLockLost, "{error}");
}

#[tokio::test]
async fn a_lost_connection_loses_the_session_and_not_its_messages() {
    // No lock ends within this test: what is lost is lost with the connection.
    let lock = Duration::from_secs(300);
    let queue = Queue::new("qs").with_sessions().with_lock_duration(lock);
    let emulator = Emulator::builder().queue(queue).start().await.unwrap();
    let (direct, port) = (connection_string(&emulator), port(&emulator));
    let proxy = ChaosProxy::before(port, SEED).await;
    let text = proxy.connection_string(direct, port);
    let client = ServiceBusClient::from_connection_string_with(&text, options()).unwrap();
    soon(client.create_sender("qs").send(&message(1).with_session_id("a")))
        .await
        .unwrap();
    let accept = SessionReceiverOptions::default().with_accept_timeout(Duration::from_secs(10));
    for asked in ["complete", "receive", "wait", "renew", "state"] {
        let session = soon(client.accept_session("qs", "a", &accept)).await.unwrap();
        let received = soon(session.receive_batch(1, PATIENCE)).await.unwrap();
        assert_eq!(id(&received[0]), "1");
        // Begun before the connection goes, it learns of it.
        let wait = session.receive_batch(1, PATIENCE);
        let wait = async {
            if asked == "wait" {
                soon(async { tokio::join!(wait, async { proxy.cut() }).0 })
                    .await
                    .map(drop)
            } else {
                proxy.cut();
                match asked {
                    "complete" => soon(session.complete(&received[0])).await,
                    "receive" => soon(session.receive_batch(1, PATIENCE)).await.map(drop),
                    "renew" => soon(session.renew_lock()).await.map(drop),
                    _ => soon(session.state()).await.map(drop),
                }
            }
        };
        let error = wait.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionLockLost, "{asked}: {error}");
    }
}
