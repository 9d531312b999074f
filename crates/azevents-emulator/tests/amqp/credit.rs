//! Flow control: nothing beyond credit and windows, and drain.

use fe2o3_amqp_types::performatives::{Flow, Performative};

use super::peer::{HUB, Peer, READ, emulator, receiver, receiver_from, session_flow};

#[tokio::test]
async fn a_receiver_gets_as_many_as_it_gave_credit_for() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(5).await;
    peer.receiver(READ).await;
    peer.credit(0, 3, false).await;
    for _ in 0..3 {
        peer.received().await;
    }
    // An echo of the flow comes after everything that was sent before it.
    let flow = Flow {
        handle: Some(1.into()),
        delivery_count: Some(3),
        link_credit: Some(0),
        echo: true,
        ..session_flow(1000)
    };
    peer.send(Performative::Flow(flow), &[]).await;
    let echo = peer.flow().await;
    assert_eq!((echo.delivery_count, echo.link_credit), (Some(3), Some(0)));
    // The rest comes with more credit, once.
    peer.credit(3, 10, false).await;
    let (_, fourth) = peer.received().await;
    let (_, fifth) = peer.received().await;
    assert!(fourth.ends_with(b"3") && fifth.ends_with(b"4"));
}

#[tokio::test]
async fn a_drain_brings_what_there_is_and_uses_up_the_credit() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(2).await;
    peer.receiver(READ).await;
    peer.credit(0, 10, true).await;
    peer.received().await;
    peer.received().await;
    let drained = peer.flow().await;
    assert!(drained.drain);
    assert_eq!((drained.delivery_count, drained.link_credit), (Some(10), Some(0)));
    // The link goes on with new credit.
    peer.transfer(2, &super::peer::message(b"late")).await;
    peer.settled(2).await;
    peer.credit(10, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"late"));
}

#[tokio::test]
async fn a_drain_of_an_empty_source_is_answered_at_once() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.receiver(READ).await;
    peer.credit(0, 7, true).await;
    let drained = peer.flow().await;
    assert_eq!((drained.delivery_count, drained.link_credit), (Some(7), Some(0)));
}

#[tokio::test]
async fn credit_given_before_the_attach_is_answered_counts() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(1).await;
    peer.send(Performative::Attach(receiver(1, READ)), &[]).await;
    peer.credit(0, 1, false).await;
    let (attach, _) = peer.next().await;
    assert!(matches!(attach, Performative::Attach(_)), "{attach:?}");
    peer.received().await;
}

#[tokio::test]
async fn the_session_window_holds_transfers_back_until_it_opens() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(4).await;
    peer.receiver(READ).await;
    let flow = |window, next, echo| Flow {
        next_incoming_id: Some(next),
        handle: Some(1.into()),
        delivery_count: Some(0),
        link_credit: Some(10),
        echo,
        ..session_flow(window)
    };
    peer.send(Performative::Flow(flow(2, 0, false)), &[]).await;
    peer.received().await;
    peer.received().await;
    // Closed: the echo comes and no transfer before it.
    peer.send(Performative::Flow(flow(0, 2, true)), &[]).await;
    let (echo, _) = peer.next().await;
    assert!(matches!(echo, Performative::Flow(_)), "{echo:?}");
    peer.send(Performative::Flow(flow(5, 2, false)), &[]).await;
    peer.received().await;
    peer.received().await;
}

#[tokio::test]
async fn a_publisher_gets_credit_again_when_it_has_used_half() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    let credit = peer.sender(HUB).await;
    let mut sent = 0;
    for _ in 0..3 {
        for _ in 0..credit / 2 {
            peer.transfer(sent, &super::peer::message(b"x")).await;
            sent += 1;
        }
        let flow = peer.flow().await;
        assert_eq!(flow.delivery_count, Some(sent));
        assert_eq!(flow.link_credit, Some(credit));
    }
}

#[tokio::test]
async fn a_reader_starts_where_its_selector_says() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(4).await;
    let after_one = "amqp.annotation.x-opt-sequence-number > '1'";
    let attach = peer.attach(receiver_from(1, READ, after_one)).await;
    assert!(attach.source.is_some());
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"2"));
}
