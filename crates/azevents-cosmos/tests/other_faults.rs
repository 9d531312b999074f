//! Leases, inbox and dead letters when answers get lost.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use azevents_core::{
    Begin, Checkpoint, Continuation, DeadLetter, DeadLetterSink, ErrorKind, FeedRange, Inbox, InboxKey, LeaseStore,
    Message,
};
use azevents_cosmos::{CosmosDeadLetters, CosmosInbox, CosmosLeases};
use azevents_emulator::{FaultKind, FaultPlan};
use azure_data_cosmos::FeedScope;
use common::{DEAD_LETTERS, INBOX, LEASES, Server};
use futures::TryStreamExt;

const LONG: Duration = Duration::from_secs(60);

fn lost_answers() -> FaultPlan {
    FaultPlan::new(3).with(FaultKind::CosmosLoseResponse, 0.3, 60)
}

#[tokio::test]
async fn an_owner_whose_answers_are_lost_keeps_its_lease_and_its_checkpoint() {
    let server = Server::start().await;
    let leases = CosmosLeases::open(&server.cosmos, LEASES).await.expect("container");
    server.misbehave(lost_answers());
    let range = FeedRange("r/1".into());
    let mut lease = leases
        .acquire("relay", &range, "a", LONG)
        .await
        .expect("acquire")
        .expect("free");
    for n in 0..40 {
        let checkpoint = Checkpoint::new(Continuation(n.to_string()), n);
        lease = leases.renew(&lease, Some(&checkpoint), LONG).await.expect("renew");
    }
    leases.release(&lease).await.expect("release");
    let next = leases
        .acquire("relay", &range, "b", LONG)
        .await
        .expect("acquire")
        .expect("free");
    assert_eq!(next.checkpoint.map(|checkpoint| checkpoint.events), Some(39));
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 5, "answers were lost");
}

#[tokio::test]
async fn a_message_is_granted_once_when_answers_are_lost() {
    let server = Server::start().await;
    let inbox = CosmosInbox::open(&server.cosmos, INBOX).await.expect("container");
    server.misbehave(lost_answers());
    for n in 0..30 {
        let key = InboxKey::new("billing", format!("m{n}"));
        let Begin::Granted(lease) = inbox.begin(&key, LONG).await.expect("begin") else {
            panic!("nobody else has asked for {key}");
        };
        assert!(matches!(inbox.begin(&key, LONG).await, Ok(Begin::InProgress(_))));
        inbox.complete(&lease).await.expect("complete");
        assert_eq!(inbox.begin(&key, LONG).await.expect("begin"), Begin::AlreadyHandled);
    }
    assert!(server.injected(FaultKind::CosmosLoseResponse) > 5, "answers were lost");
}

#[tokio::test]
async fn a_dead_letter_is_kept_once_with_its_reason_and_body() {
    let server = Server::start().await;
    let sink = CosmosDeadLetters::open(&server.cosmos, DEAD_LETTERS, "billing")
        .await
        .expect("container");
    let message = |id: &str, body: Vec<u8>| Message {
        id: id.into(),
        key: "order-1".into(),
        event_type: "LineAdded".into(),
        content_type: "application/json".into(),
        body: body.into(),
        headers: BTreeMap::from([("azevents-version".into(), "1".into())]),
    };
    let why = DeadLetter::new("Undecodable", "no JSON");
    server.misbehave(lost_answers());
    for id in ["a/1", "a/2"] {
        for _ in 0..3 {
            sink.set_aside(&message(id, b"{\"x\":1".to_vec()), &why)
                .await
                .expect("set aside");
        }
    }
    server.emulator.faults().clear();
    let large = message("large", vec![b'x'; 3 * 1024 * 1024]);
    assert_eq!(
        sink.set_aside(&large, &why).await.expect_err("3 MB").kind(),
        ErrorKind::TooLarge
    );
    let container = server.cosmos.container(DEAD_LETTERS).await.expect("container");
    let query = container.query_items::<serde_json::Value>("SELECT * FROM c", FeedScope::partition("billing"), None);
    let kept: Vec<_> = query.await.expect("query").try_collect().await.expect("query");
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0]["reason"], "Undecodable");
    assert_eq!(kept[0]["base64"], "eyJ4Ijox");
}
