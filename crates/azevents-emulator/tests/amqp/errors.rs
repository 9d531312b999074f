//! What a peer does wrong, and what it is told.

use fe2o3_amqp_types::{
    definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError, SessionError},
    performatives::{Detach, Performative},
};
use serde_amqp::Value;

use super::peer::{HUB, Peer, READ, emulator, message, receiver, receiver_from, sender, with_property};

/// Attaches a link that is refused, and returns why.
async fn refused(peer: &mut Peer, attach: fe2o3_amqp_types::performatives::Attach) -> Error {
    let answer = peer.attach(attach).await;
    assert!(answer.source.is_none() && answer.target.is_none(), "{answer:?}");
    detached(peer).await
}

async fn detached(peer: &mut Peer) -> Error {
    loop {
        match peer.next().await {
            (Performative::Detach(Detach { closed, error, .. }), _) => {
                assert!(closed);
                return error.expect("why");
            }
            (Performative::Flow(_) | Performative::Transfer(_), _) => {}
            other => panic!("not a detach: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_entity_is_named_together_with_what_there_is() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    let error = refused(&mut peer, sender(0, "orders")).await;
    assert_eq!(error.condition, ErrorCondition::AmqpError(AmqpError::NotFound));
    let text = error.description.expect("a sentence");
    assert!(text.contains("'orders'") && text.contains(HUB), "{text}");
    let group = "hub/ConsumerGroups/nobody/Partitions/0";
    let text = refused(&mut peer, receiver(2, group))
        .await
        .description
        .expect("a sentence");
    assert!(text.contains("|nobody'") && text.contains("$Default"), "{text}");
    let text = refused(&mut peer, sender(3, "hub/Partitions/9")).await;
    assert!(text.description.expect("a sentence").contains("'9'"));
}

#[tokio::test]
async fn a_selector_that_is_not_understood_refuses_the_link() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    let error = refused(&mut peer, receiver_from(1, READ, "colour = 'red'")).await;
    assert!(error.description.expect("a sentence").contains("colour"));
}

#[tokio::test]
async fn a_higher_epoch_takes_over_and_a_lower_one_is_refused() {
    let emulator = emulator().await;
    let epoch = |attach, n| with_property(attach, "com.microsoft:epoch", Value::Long(n));
    let mut first = Peer::logged_in(&emulator).await;
    first.attach(epoch(receiver(1, READ), 1)).await;
    let mut second = Peer::logged_in(&emulator).await;
    let accepted = second.attach(epoch(receiver(1, READ), 2)).await;
    assert!(accepted.source.is_some());
    let stolen = ErrorCondition::LinkError(LinkError::Stolen);
    assert_eq!(detached(&mut first).await.condition, stolen);
    let mut third = Peer::logged_in(&emulator).await;
    assert_eq!(refused(&mut third, epoch(receiver(1, READ), 1)).await.condition, stolen);
    assert_eq!(refused(&mut third, receiver(2, READ)).await.condition, stolen);
}

#[tokio::test]
async fn an_unattached_handle_ends_the_session_and_not_the_connection() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.transfer(0, &message(b"x")).await;
    match peer.next().await {
        (Performative::End(end), _) => assert_eq!(
            end.error.expect("why").condition,
            ErrorCondition::SessionError(SessionError::UnattachedHandle)
        ),
        other => panic!("not an end: {other:?}"),
    }
    let end = fe2o3_amqp_types::performatives::End { error: None };
    peer.send(Performative::End(end), &[]).await;
    peer.begin(1000).await;
    assert!(peer.sender(HUB).await > 0);
}

#[tokio::test]
async fn a_handle_in_use_ends_the_session() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    peer.send(Performative::Attach(sender(0, HUB)), &[]).await;
    match peer.next().await {
        (Performative::End(end), _) => assert_eq!(
            end.error.expect("why").condition,
            ErrorCondition::SessionError(SessionError::HandleInUse)
        ),
        other => panic!("not an end: {other:?}"),
    }
}

#[tokio::test]
async fn a_frame_larger_than_agreed_closes_the_connection() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.send_raw(0, 0, &vec![0; 70_000]).await;
    assert_eq!(
        closed(&mut peer).await.condition,
        ErrorCondition::ConnectionError(ConnectionError::FramingError)
    );
    peer.hung_up().await;
}

#[tokio::test]
async fn bytes_that_are_no_performative_close_the_connection() {
    let emulator = emulator().await;
    for body in [
        &b"\x00\x53\x77\x45"[..],
        b"\x00\x53\x14\xd0\xff\xff\xff\xff\x00\x00\x00\x01",
        b"\x41",
    ] {
        let mut peer = Peer::logged_in(&emulator).await;
        peer.send_raw(0, 0, body).await;
        assert_eq!(
            closed(&mut peer).await.condition,
            ErrorCondition::AmqpError(AmqpError::DecodeError)
        );
    }
}

#[tokio::test]
async fn a_transaction_coordinator_is_refused_by_name() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    // An attach as the peer's types can't express it: the target is a coordinator (0x30).
    let body = b"\x00\x53\x12\xc0\x11\x07\xa1\x02tx\x43\x42\x40\x40\x00\x53\x28\x45\x00\x53\x30\x45";
    peer.send_raw(0, 0, body).await;
    let (attach, _) = peer.next().await;
    assert!(matches!(attach, Performative::Attach(_)), "{attach:?}");
    let error = detached(&mut peer).await;
    assert_eq!(error.condition, ErrorCondition::AmqpError(AmqpError::NotImplemented));
}

async fn closed(peer: &mut Peer) -> Error {
    match peer.next().await {
        (Performative::Close(close), _) => close.error.expect("why"),
        other => panic!("not a close: {other:?}"),
    }
}
