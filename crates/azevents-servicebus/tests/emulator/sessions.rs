//! Sessions: locked one at a time, in order, with their state.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use azevents_emulator::{Emulator, Queue};
use azevents_servicebus::{ErrorKind, ServiceBusClient, SessionReceiver, SessionReceiverOptions};

use crate::proxy::ChaosProxy;
use crate::support::{PATIENCE, client, connection_string, emulator, id, message, options, port, soon};

const SHORTLY: Duration = Duration::from_millis(300);

async fn fill(client: &ServiceBusClient, session: &str, count: usize) {
    let sender = client.create_sender("qs");
    let mut batch = sender.create_batch().await.unwrap();
    for n in 0..count {
        assert!(batch.try_add(&message(n).with_session_id(session)).unwrap());
    }
    soon(sender.send_batch(batch)).await.unwrap();
}

#[tokio::test]
async fn a_sessions_messages_come_in_order_and_only_to_its_holder() {
    let emulator = emulator().await;
    let client = client(&emulator);
    fill(&client, "a", 30).await;
    let options = SessionReceiverOptions::default()
        .with_prefetch(10)
        .with_accept_timeout(SHORTLY);
    let session = soon(client.accept_session("qs", "a", &options)).await.unwrap();
    assert_eq!(session.session_id(), "a");

    let error = soon(client.accept_session("qs", "a", &options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionCannotBeLocked, "{error}");

    let mut ids = Vec::new();
    while ids.len() < 30 {
        for received in soon(session.receive_batch(7, SHORTLY)).await.unwrap() {
            ids.push(id(&received).to_owned());
            soon(session.complete(&received)).await.unwrap();
        }
    }
    assert_eq!(ids, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(soon(session.receive_batch(1, SHORTLY)).await.unwrap().is_empty());
}

#[tokio::test]
async fn accepting_the_next_session_gives_each_once_and_none_after_the_timeout() {
    let emulator = emulator().await;
    let client = client(&emulator);
    fill(&client, "a", 1).await;
    fill(&client, "b", 1).await;
    let options = SessionReceiverOptions::default().with_accept_timeout(SHORTLY);
    let first = soon(client.accept_next_session("qs", &options)).await.unwrap().unwrap();
    let second = soon(client.accept_next_session("qs", &options)).await.unwrap().unwrap();
    let mut taken = [first.session_id(), second.session_id()];
    taken.sort_unstable();
    assert_eq!(taken, ["a", "b"]);
    assert!(
        soon(client.accept_next_session("qs", &options))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_session_that_is_let_go_can_be_taken_at_once_with_its_state() {
    let emulator = emulator().await;
    let client = client(&emulator);
    fill(&client, "a", 2).await;
    let options = SessionReceiverOptions::default().with_accept_timeout(Duration::from_secs(10));
    let session = soon(client.accept_session("qs", "a", &options)).await.unwrap();
    assert_eq!(soon(session.state()).await.unwrap(), None);
    soon(session.set_state(Some(b"half"))).await.unwrap();
    let first = soon(session.receive_batch(1, SHORTLY)).await.unwrap();
    soon(session.complete(&first[0])).await.unwrap();
    drop(session);

    let session = soon(client.accept_next_session("qs", &options)).await.unwrap().unwrap();
    assert_eq!(soon(session.state()).await.unwrap().as_deref(), Some(&b"half"[..]));
    let second = soon(session.receive_batch(1, SHORTLY)).await.unwrap();
    assert_eq!((id(&second[0]), second[0].delivery_count()), ("1", 1));
    soon(session.set_state(None)).await.unwrap();
    assert_eq!(soon(session.state()).await.unwrap(), None);
}

#[tokio::test]
async fn a_sessions_lock_is_renewed() {
    let emulator = emulator().await;
    let client = client(&emulator);
    fill(&client, "a", 1).await;
    let session = soon(client.accept_session("qs", "a", &SessionReceiverOptions::default()))
        .await
        .unwrap();
    let first_end = session.locked_until();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let end = soon(session.renew_lock()).await.unwrap();
    assert!(end > first_end && session.locked_until() == end);
}

#[tokio::test]
async fn an_entity_with_sessions_is_not_received_from_without_one() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let error = soon(client.create_receiver("qs").receive()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn an_accept_that_is_dropped_disturbs_nobody_and_keeps_no_session() {
    let emulator = emulator().await;
    let client = client(&emulator);
    fill(&client, "a", 1).await;
    let options = SessionReceiverOptions::default().with_accept_timeout(Duration::from_secs(1));
    let session = soon(client.accept_session("qs", "a", &options)).await.unwrap();
    for wait in [0, 1, 5, 20, 100] {
        let accept = client.accept_next_session("qs", &options);
        assert!(tokio::time::timeout(Duration::from_millis(wait), accept).await.is_err());
    }
    let received = soon(session.receive_batch(1, SHORTLY)).await.unwrap();
    soon(session.abandon(&received[0])).await.unwrap();
    drop(session);
    // Whoever of those that were dropped gets it, lets it go again.
    let options = options.with_accept_timeout(Duration::from_secs(10));
    soon(client.accept_next_session("qs", &options)).await.unwrap().unwrap();
}

/// `AZEVENTS_TEST_SESSIONS` says how many (default 40), `AZEVENTS_TEST_LATENCY_MS` how far away the broker
/// is in either direction (default 0); the time it took is printed.
#[tokio::test]
async fn as_many_sessions_as_are_asked_for_are_held_at_once() {
    let setting =
        |name: &str, default: u64| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let count = usize::try_from(setting("AZEVENTS_TEST_SESSIONS", 40)).unwrap();
    let latency = Duration::from_millis(setting("AZEVENTS_TEST_LATENCY_MS", 0));
    let queue = Queue::new("qs")
        .with_sessions()
        .with_lock_duration(Duration::from_secs(300));
    let emulator = Emulator::builder().queue(queue).start().await.unwrap();
    let proxy = ChaosProxy::far_before(port(&emulator), 1, latency).await;
    let text = proxy.connection_string(connection_string(&emulator), port(&emulator));
    let client = ServiceBusClient::from_connection_string_with(&text, options()).unwrap();
    let near = crate::support::client(&emulator);
    for n in 0..count {
        fill(&near, &n.to_string(), 1).await;
    }
    let started = Instant::now();
    let next = |_| async {
        let accept = SessionReceiverOptions::default();
        let session = client.accept_next_session("qs", &accept).await.unwrap().unwrap();
        let received = session.receive_batch(1, PATIENCE).await.unwrap();
        assert_eq!(received[0].session_id(), Some(session.session_id()));
        session
    };
    let held = soon(futures::future::join_all((0..count).map(next))).await;
    println!(
        "{count} sessions, {latency:?} away, were accepted in {:?}",
        started.elapsed()
    );
    let ids: BTreeSet<_> = held.iter().map(SessionReceiver::session_id).collect();
    assert_eq!(ids.len(), count);
}
