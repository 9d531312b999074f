//! How connections begin and end.

use std::time::Duration;

use azevents_emulator::{FaultKind, FaultPlan, FaultRule};
use fe2o3_amqp_types::{
    definitions::{ConnectionError, ErrorCondition, LinkError},
    performatives::{Close, Performative},
};
use tokio::io::AsyncWriteExt;

use super::peer::{HUB, Peer, READ, emulator, message, sender};

#[tokio::test]
async fn another_protocol_is_answered_with_ours_and_the_connection_ends() {
    let emulator = emulator().await;
    let mut peer = Peer::connect(&emulator).await;
    peer.socket.write_all(b"SSH-2.0-").await.expect("sent");
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut peer.socket, &mut answer)
        .await
        .expect("the end");
    assert_eq!(answer, b"AMQP\x00\x01\x00\x00");
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.send(Performative::Close(Close { error: None }), &[]).await;
    let (close, _) = peer.next().await;
    assert!(matches!(close, Performative::Close(Close { error: None })), "{close:?}");
    peer.hung_up().await;
}

#[tokio::test]
async fn a_peer_with_an_idle_timeout_hears_from_us_in_time() {
    let emulator = emulator().await;
    let mut peer = Peer::connect(&emulator).await;
    peer.amqp_header().await;
    peer.open_with(1000, Some(200)).await;
    for _ in 0..2 {
        let heartbeat = tokio::time::timeout(std::time::Duration::from_secs(5), peer.raw_frame()).await;
        let (size, kind, _) = heartbeat.expect("a frame although there is nothing to say");
        assert_eq!((size, kind), (8, 0));
    }
}

#[tokio::test]
async fn a_shutdown_says_goodbye_to_every_connection() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    let stopping = tokio::spawn(emulator.shutdown());
    match peer.next().await {
        (Performative::Close(close), _) => assert_eq!(
            close.error.expect("why").condition,
            ErrorCondition::ConnectionError(ConnectionError::ConnectionForced)
        ),
        other => panic!("not a close: {other:?}"),
    }
    peer.hung_up().await;
    stopping.await.expect("stopped");
}

#[tokio::test]
async fn a_lost_outcome_leaves_the_event_stored() {
    let emulator = emulator().await;
    let mut unlucky = Peer::logged_in(&emulator).await;
    unlucky.sender(HUB).await;
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::LoseOutcome, 1.0, 1));
    unlucky.transfer(0, &message(b"stored")).await;
    unlucky.hung_up().await;

    let mut peer = Peer::logged_in(&emulator).await;
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"stored"));
}

#[tokio::test]
async fn a_dropped_connection_stores_nothing_and_the_next_one_works() {
    let emulator = emulator().await;
    let mut unlucky = Peer::logged_in(&emulator).await;
    unlucky.sender(HUB).await;
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::DropConnection, 1.0, 1));
    unlucky.transfer(0, &message(b"gone")).await;
    unlucky.hung_up().await;

    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(1).await;
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"0"));
}

#[tokio::test]
async fn a_link_is_detached_with_the_condition_asked_for() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    let rule = FaultRule::new(1.0, 1).with_condition("com.microsoft:entity-disabled");
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with_rule(FaultKind::DetachLink, rule));
    peer.transfer(0, &message(b"x")).await;
    match peer.next().await {
        (Performative::Detach(detach), _) => assert_eq!(
            detach.error.expect("why").condition,
            ErrorCondition::Custom("com.microsoft:entity-disabled".into())
        ),
        other => panic!("not a detach: {other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_stalls_says_nothing_until_it_is_cut_and_others_go_on() {
    let emulator = emulator().await;
    let mut stalled = Peer::logged_in(&emulator).await;
    stalled.sender(HUB).await;
    let rule = FaultRule::new(1.0, 1).with_delay(Duration::from_millis(300));
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with_rule(FaultKind::Stall, rule));
    stalled.transfer(0, &message(b"x")).await;
    let mut other = Peer::logged_in(&emulator).await;
    other.publish(1).await;
    // Neither the outcome nor a close: the next there is, is the end.
    stalled.ends_without_a_word().await;
}

#[tokio::test]
async fn a_delayed_message_arrives_late_and_intact() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(1).await;
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::Delay, 1.0, 3));
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"0"));
    assert_eq!(emulator.faults().counts()[&FaultKind::Delay].injected, 1);
}

#[tokio::test]
async fn a_detached_link_can_be_attached_again_on_the_same_session() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    emulator
        .faults()
        .set_plan(FaultPlan::new(1).with(FaultKind::DetachLink, 1.0, 1));
    peer.transfer(0, &message(b"x")).await;
    match peer.next().await {
        (Performative::Detach(detach), _) => {
            assert_eq!(
                detach.error.clone().expect("why").condition,
                ErrorCondition::LinkError(LinkError::DetachForced)
            );
            let answer = fe2o3_amqp_types::performatives::Detach { error: None, ..detach };
            peer.send(Performative::Detach(answer), &[]).await;
        }
        other => panic!("not a detach: {other:?}"),
    }
    assert!(peer.attach(sender(0, HUB)).await.target.is_some());
}
