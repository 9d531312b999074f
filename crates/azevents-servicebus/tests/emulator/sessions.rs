//! Sessions: locked one at a time, in order, with their state.

use std::time::Duration;

use azevents_servicebus::{ErrorKind, ServiceBusClient, SessionReceiverOptions};

use crate::support::{client, emulator, id, message, soon};

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
