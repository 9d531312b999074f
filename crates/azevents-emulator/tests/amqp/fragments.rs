//! Messages of several frames, both ways.

use fe2o3_amqp_types::{
    definitions::{ErrorCondition, LinkError},
    messaging::DeliveryState,
    performatives::{Performative, Transfer},
};

use super::peer::{Address, HUB, Peer, READ, emulator, message, transfer};

fn fragment(id: u32, first: bool, more: bool) -> Transfer {
    let mut transfer = transfer(id);
    if !first {
        transfer.delivery_id = None;
        transfer.delivery_tag = None;
        transfer.message_format = None;
    }
    transfer.more = more;
    transfer
}

#[tokio::test]
async fn a_message_comes_back_whole_in_frames_no_larger_than_the_peer_takes() {
    let emulator = emulator().await;
    let address = Address::of(&emulator);
    let mut peer = Peer::login(&emulator, &address.key_name, &address.key)
        .await
        .expect("logged in");
    peer.open(512).await;
    peer.begin(1000).await;
    peer.sender(HUB).await;
    let body: Vec<u8> = (0..5000_u32).map(|n| (n % 251) as u8).collect();
    let whole = message(&body);
    let pieces: Vec<&[u8]> = whole.chunks(400).collect();
    for (n, piece) in pieces.iter().enumerate() {
        let frame = fragment(0, n == 0, n + 1 < pieces.len());
        peer.send(Performative::Transfer(frame), piece).await;
    }
    let settled = peer.settled(0).await;
    assert!(matches!(settled.state, Some(DeliveryState::Accepted(_))));

    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    let (mut received, mut frames) = (Vec::new(), 0);
    loop {
        let (size, frame, payload) = peer.next_sized().await;
        assert!(size <= 512, "a frame of {size} bytes");
        if let Performative::Transfer(transfer) = frame {
            assert_eq!(transfer.delivery_id.is_some(), frames == 0);
            received.extend(payload);
            frames += 1;
            if !transfer.more {
                break;
            }
        }
    }
    assert!(frames > 10);
    assert!(received.ends_with(&whole));
}

#[tokio::test]
async fn an_aborted_message_leaves_nothing_behind() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    peer.send(Performative::Transfer(fragment(0, true, true)), &message(b"begun")[..4])
        .await;
    let mut abort = fragment(0, false, false);
    abort.aborted = true;
    peer.send(Performative::Transfer(abort), &[]).await;
    peer.transfer(1, &message(b"next")).await;
    assert_eq!(peer.settled(1).await.first, 1);
    peer.receiver(READ).await;
    peer.credit(0, 5, false).await;
    assert!(peer.received().await.1.ends_with(b"next"));
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_a_message_stores_nothing_of_it() {
    let emulator = emulator().await;
    let mut lost = Peer::logged_in(&emulator).await;
    lost.sender(HUB).await;
    lost.transfer(0, &message(b"whole")).await;
    lost.settled(0).await;
    lost.send(Performative::Transfer(fragment(1, true, true)), &message(b"half"))
        .await;
    drop(lost);

    let mut peer = Peer::logged_in(&emulator).await;
    peer.publish(1).await;
    peer.receiver(READ).await;
    peer.credit(0, 5, false).await;
    assert!(peer.received().await.1.ends_with(b"whole"));
    assert!(peer.received().await.1.ends_with(b"0"));
}

/// Begins a message of 18 or more frames of 60,000 bytes on a link that takes 1 MiB.
async fn send_too_much(peer: &mut Peer, frames: u32, ended: bool) {
    let piece = vec![0; 60_000];
    for n in 0..frames {
        let more = !ended || n + 1 < frames;
        peer.send(Performative::Transfer(fragment(0, n == 0, more)), &piece)
            .await;
    }
}

#[tokio::test]
async fn a_message_larger_than_the_link_takes_is_refused_and_the_link_goes_on() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    send_too_much(&mut peer, 18, true).await;
    let Some(DeliveryState::Rejected(rejected)) = peer.settled(0).await.state else {
        panic!("not rejected");
    };
    assert_eq!(
        rejected.error.expect("why").condition,
        ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
    );
    peer.transfer(1, &message(b"next")).await;
    peer.settled(1).await;
    peer.receiver(READ).await;
    peer.credit(0, 5, false).await;
    assert!(peer.received().await.1.ends_with(b"next"));
}

#[tokio::test]
async fn a_message_without_end_ends_the_link_and_not_the_connection() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    send_too_much(&mut peer, 290, false).await;
    loop {
        match peer.next().await {
            (Performative::Detach(detach), _) => {
                let error = detach.error.expect("why");
                assert_eq!(
                    error.condition,
                    ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
                );
                break;
            }
            (Performative::Flow(_), _) => {}
            other => panic!("not a detach: {other:?}"),
        }
    }
    peer.receiver(READ).await;
}
