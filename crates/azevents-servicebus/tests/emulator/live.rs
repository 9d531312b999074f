//! The same client against a real namespace: what an emulator cannot prove.
//!
//! `AZEVENTS_SERVICEBUS_CONNECTION_STRING` says where. The namespace needs a queue `azevents-live` and a
//! queue with sessions `azevents-live-sessions`, both empty and for these tests alone; the key has the right
//! Manage, and the tier is Standard or Premium. Without the variable the tests are skipped, unless
//! `AZEVENTS_REQUIRE_LIVE=1` forbids that.

use std::time::Duration;

use azevents_servicebus::{
    ClientOptions, ReceiverOptions, ServiceBusAdministrationClient, ServiceBusClient, SessionReceiverOptions,
    Settlement, TransportType, dead_letter_queue,
};
use time::OffsetDateTime;

use crate::administration::what_is_made_is_used_and_taken_away;
use crate::support::{id, message};

const WHERE: &str = "AZEVENTS_SERVICEBUS_CONNECTION_STRING";
const QUEUE: &str = "azevents-live";
const SESSIONS: &str = "azevents-live-sessions";
const SOON: Duration = Duration::from_secs(30);

/// The client, or `None` where the test is to be skipped.
fn live(transport: TransportType) -> Option<ServiceBusClient> {
    let Ok(text) = std::env::var(WHERE) else {
        let required = std::env::var("AZEVENTS_REQUIRE_LIVE").is_ok_and(|value| value == "1");
        assert!(!required, "AZEVENTS_REQUIRE_LIVE=1, and {WHERE} is not set");
        eprintln!("SKIPPED: set {WHERE} to run this against a real namespace");
        return None;
    };
    let options = ClientOptions::default().with_transport(transport);
    Some(ServiceBusClient::from_connection_string_with(&text, options).unwrap())
}

/// Own ids, so that what an earlier run left behind is told apart.
fn fresh(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

#[tokio::test]
async fn live_one_message_takes_every_way_out() {
    // One after the other, since they share the queue.
    for transport in [TransportType::Tcp, TransportType::WebSockets] {
        let Some(client) = live(transport) else { return };
        let sender = client.create_sender(QUEUE);
        let receiver = client.create_receiver_with(QUEUE, &ReceiverOptions::default().with_prefetch(5));
        let ids: Vec<String> = ["complete", "abandon", "defer", "dead-letter"].map(fresh).into();
        let mut batch = sender.create_batch().await.unwrap();
        for id in &ids {
            assert!(batch.try_add(&message(id)).unwrap());
        }
        sender.send_batch(batch).await.unwrap();
        let mut open = ids.clone();
        while !open.is_empty() {
            for received in receiver.receive_batch(10, SOON).await.unwrap() {
                let name = id(&received).to_owned();
                receiver.renew_lock(&received).await.unwrap();
                let again = received.delivery_count() > 1;
                match name.split('-').next() {
                    Some("abandon") if !again => {
                        receiver.abandon(&received).await.unwrap();
                        continue;
                    }
                    Some("defer") => {
                        receiver.defer(&received).await.unwrap();
                        let number = [received.sequence_number()];
                        let deferred = receiver.receive_deferred(&number).await.unwrap();
                        receiver.complete(&deferred[0]).await.unwrap();
                    }
                    Some("dead") => receiver.dead_letter(&received, "Live", "a test").await.unwrap(),
                    _ => receiver.complete(&received).await.unwrap(),
                }
                open.retain(|id| *id != name);
            }
        }
        let graveyard = client.create_receiver(&dead_letter_queue(QUEUE));
        let dead = graveyard.receive().await.unwrap();
        assert_eq!(dead.dead_letter_reason(), Some("Live"));
        graveyard.complete(&dead).await.unwrap();

        let at = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        let number = sender.schedule(&message(fresh("scheduled")), at).await.unwrap();
        assert_eq!(receiver.peek(number, 1).await.unwrap()[0].sequence_number(), number);
        sender.cancel_scheduled(number).await.unwrap();

        let (first, second) = (fresh("first"), fresh("second"));
        sender.send(&message(&first)).await.unwrap();
        let received = receiver.receive().await.unwrap();
        let transaction = client.begin_transaction().await.unwrap();
        transaction.send(&sender, &message(&second)).await.unwrap();
        transaction
            .settle(&receiver, &received, &Settlement::Complete)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let received = receiver.receive().await.unwrap();
        assert_eq!(id(&received), second);
        receiver.complete(&received).await.unwrap();
        receiver.close().await;
        client.close().await;
    }
}

#[tokio::test]
async fn live_what_administration_makes_is_used_and_taken_away() {
    let Some(client) = live(TransportType::Tcp) else { return };
    let text = std::env::var(WHERE).unwrap();
    let admin = ServiceBusAdministrationClient::from_connection_string(&text).unwrap();
    assert!(!admin.get_namespace_properties().await.unwrap().name.is_empty());
    Box::pin(what_is_made_is_used_and_taken_away(&admin, &client)).await;
    client.close().await;
}

#[tokio::test]
async fn live_a_session_keeps_order_and_state() {
    let Some(client) = live(TransportType::Tcp) else { return };
    let sender = client.create_sender(SESSIONS);
    let name = fresh("session");
    for n in 0..3 {
        sender.send(&message(n).with_session_id(&name)).await.unwrap();
    }
    let options = SessionReceiverOptions::default().with_accept_timeout(SOON);
    let session = client.accept_session(SESSIONS, &name, &options).await.unwrap();
    assert!(session.renew_lock().await.unwrap() > OffsetDateTime::now_utc());
    session.set_state(Some(b"state")).await.unwrap();
    let mut ids = Vec::new();
    while ids.len() < 3 {
        for received in session.receive_batch(3, SOON).await.unwrap() {
            ids.push(id(&received).to_owned());
            session.complete(&received).await.unwrap();
        }
    }
    assert_eq!(ids, ["0", "1", "2"]);
    assert_eq!(session.state().await.unwrap().as_deref(), Some(&b"state"[..]));
    session.set_state(None).await.unwrap();
    session.close().await;
    client.close().await;
}
