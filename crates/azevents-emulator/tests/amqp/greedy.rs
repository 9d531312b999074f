//! Peers that ask for more than their share: what each of them can have us keep is bounded.

use azevents_emulator::{Emulator, EventHub, Queue};
use fe2o3_amqp_types::{
    definitions::{AmqpError, ErrorCondition, Handle, Role},
    messaging::{ApplicationProperties, Body, DeliveryState, Message, Properties, message::__private::Serializable},
    performatives::{Disposition, Flow, Performative},
    primitives::SimpleValue,
};
use serde_amqp::Value;

use super::peer::{HUB, Peer, READ, emulator, message, receiver, sender, transfer};

const LIMIT: ErrorCondition = ErrorCondition::AmqpError(AmqpError::ResourceLimitExceeded);

/// So many lists, each in the one before.
fn nested(layers: usize) -> Vec<u8> {
    let mut value = vec![0x40];
    for _ in 0..layers {
        let mut list = vec![0xd0];
        list.extend((value.len() as u32 + 4).to_be_bytes());
        list.extend(1_u32.to_be_bytes());
        list.append(&mut value);
        value = list;
    }
    value
}

/// Behind its sender's link properties, in a frame.
fn attach_with(properties: &[u8]) -> Vec<u8> {
    let mut fields = vec![0xa1, 1, b'l', 0x43, 0x42];
    fields.extend([0x40; 10]);
    fields.push(0xd1);
    fields.extend((properties.len() as u32 + 4 + 3).to_be_bytes());
    fields.extend(2_u32.to_be_bytes());
    fields.extend([0xa3, 1, b'a']);
    fields.extend(properties);
    let mut body = vec![0x00, 0x53, 0x12, 0xd0];
    body.extend((fields.len() as u32 + 4).to_be_bytes());
    body.extend(16_u32.to_be_bytes());
    body.extend(fields);
    body
}

#[tokio::test]
async fn values_in_values_in_values_do_not_use_up_the_stack() {
    let emulator = emulator().await;
    // Nobody has to log in for it.
    let mut peer = Peer::anonymous(&emulator).await;
    peer.send_raw(0, 0, &attach_with(&nested(7000))).await;
    match peer.next().await {
        (Performative::Close(close), _) => {
            let error = close.error.expect("why");
            assert!(error.description.expect("a sentence").contains("nested too deep"));
        }
        other => panic!("not a close: {other:?}"),
    }
    // In a message: its annotations are the broker's to read.
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    let mut annotations = vec![0x00, 0x53, 0x72, 0xd1];
    let value = nested(6000);
    annotations.extend((value.len() as u32 + 4 + 3).to_be_bytes());
    annotations.extend(2_u32.to_be_bytes());
    annotations.extend([0xa3, 1, b'a']);
    annotations.extend(value);
    annotations.extend(message(b"x"));
    peer.transfer(0, &annotations).await;
    let refused = peer.settled(0).await.state;
    assert!(matches!(refused, Some(DeliveryState::Rejected(_))), "{refused:?}");
    peer.transfer(1, &message(b"next")).await;
    peer.settled(1).await;
}

#[tokio::test]
async fn messages_that_are_never_finished_hold_only_so_much() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    let piece = vec![0; 60_000];
    let mut begun = 0_usize;
    // Nearly a megabyte on each of many links.
    let refused = 'links: loop {
        let handle = u32::try_from(begun).expect("few");
        assert!(begun < 100, "{begun} links with a megabyte each, and no end");
        peer.attach(sender(handle, HUB)).await;
        begun += 1;
        for n in 0..16 {
            let mut fragment = transfer(handle);
            fragment.handle = Handle(handle);
            fragment.more = true;
            if n > 0 {
                fragment.delivery_id = None;
                fragment.delivery_tag = None;
            }
            peer.send(Performative::Transfer(fragment), &piece).await;
        }
        // Its credit, and the answer to this, which comes behind what the listener has to say of the above.
        peer.echo(handle).await;
        let mut flows = 0;
        while flows < 2 {
            match peer.next().await {
                (Performative::Detach(detach), _) => break 'links detach,
                (Performative::Flow(flow), _) => flows += u32::from(flow.handle == Some(Handle(handle))),
                other => panic!("not a flow: {other:?}"),
            }
        }
    };
    assert_eq!(refused.error.expect("why").condition, LIMIT);
    assert!(begun > 60, "64 MB are allowed, and it ended at {begun} links");
    // Whoever finishes has room again.
    let mut last = transfer(0);
    last.delivery_id = None;
    last.delivery_tag = None;
    peer.send(Performative::Transfer(last), &[]).await;
    peer.settled(0).await;
}

#[tokio::test]
async fn a_message_of_endless_empty_pieces_costs_nothing() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    peer.sender(HUB).await;
    for n in 0..20_000 {
        let mut fragment = transfer(0);
        fragment.more = true;
        if n > 0 {
            fragment.delivery_id = None;
            fragment.delivery_tag = None;
        }
        peer.send(Performative::Transfer(fragment), &[]).await;
        if n % 1000 == 0 {
            // Within the session's window.
            peer.echo(0).await;
            peer.flow().await;
        }
    }
    let mut last = transfer(0);
    last.delivery_id = None;
    last.delivery_tag = None;
    peer.send(Performative::Transfer(last), &message(b"at last")).await;
    peer.settled(0).await;
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(b"at last"));
}

#[tokio::test]
async fn a_connection_has_thousands_of_links_and_not_millions() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    // The default session's four thousand, refused ones among them until the peer detaches them too.
    for handle in 0..4096 {
        peer.attach(sender(handle, HUB)).await;
    }
    // The rest on another channel.
    peer.begin_on(1, 1000).await;
    let mut ended = None;
    for handle in 0..1000 {
        let attach = Performative::Attach(sender(handle, HUB));
        let body = serde_amqp::to_vec(&attach).expect("encoded");
        peer.send_raw(0, 1, &body).await;
    }
    while ended.is_none() {
        if let (Performative::End(end), _) = peer.next().await {
            ended = end.error;
        }
    }
    assert_eq!(ended.expect("why").condition, LIMIT);
    // The others work.
    peer.transfer(0, &message(b"x")).await;
    peer.settled(0).await;
}

async fn with_queue() -> Emulator {
    let emulator = Emulator::builder()
        .event_hub(EventHub::new(HUB).with_partition_count(1))
        .queue(Queue::new("work"));
    emulator.start().await.expect("the emulator starts")
}

#[tokio::test]
async fn an_outcome_that_is_named_again_and_again_is_dealt_with_once() {
    let emulator = with_queue().await;
    let mut peer = Peer::logged_in_to_servicebus(&emulator).await;
    peer.sender("work").await;
    for id in 0..50 {
        peer.transfer(id, &message(b"x")).await;
    }
    peer.settled(49).await;
    peer.receiver("work").await;
    peer.credit(0, 50, false).await;
    for _ in 0..50 {
        peer.received().await;
    }
    let named = Disposition {
        role: Role::Receiver,
        first: 0,
        last: Some(u32::MAX),
        settled: false,
        state: Some(DeliveryState::Accepted(fe2o3_amqp_types::messaging::Accepted {})),
        batchable: false,
    };
    for _ in 0..1000 {
        peer.send(Performative::Disposition(named.clone()), &[]).await;
    }
    // Each is settled, once.
    let mut settled = 0;
    while settled < 50 {
        if let (Performative::Disposition(disposition), _) = peer.next().await
            && disposition.role == Role::Sender
            && disposition.last.unwrap_or(disposition.first) < 50
        {
            settled += disposition.last.unwrap_or(disposition.first) - disposition.first + 1;
        }
    }
    assert_eq!(settled, 50);
}

/// Deliveries there may be on a link from its beginning.
fn granted(flow: &Flow) -> u32 {
    flow.delivery_count.expect("a link's") + flow.link_credit.expect("a link's")
}

/// A request to peek, as sent.
fn peek(number: u32) -> Vec<u8> {
    let mut properties = ApplicationProperties::default();
    let operation = SimpleValue::String("com.microsoft:peek-message".to_owned());
    properties.insert("operation".to_owned(), operation);
    let body = [
        ("from-sequence-number", Value::Long(0)),
        ("message-count", Value::Int(1)),
    ];
    let body = body.into_iter().map(|(name, value)| (Value::from(name), value));
    let request = Message::builder()
        .properties(
            Properties::builder()
                .message_id(u64::from(number))
                .reply_to("back")
                .build(),
        )
        .application_properties(properties)
        .body(Body::Value(fe2o3_amqp_types::messaging::AmqpValue(Value::Map(
            body.collect(),
        ))))
        .build();
    serde_amqp::to_vec(&Serializable(&request)).expect("encoded")
}

#[tokio::test]
async fn who_reads_no_responses_runs_out_of_requests() {
    let emulator = with_queue().await;
    let mut peer = Peer::logged_in_to_servicebus(&emulator).await;
    let node = "work/$management";
    let mut back = receiver(1, node);
    back.target = Some(Box::new(fe2o3_amqp_types::messaging::TargetArchetype::Target(
        fe2o3_amqp_types::messaging::Target::builder().address("back").build(),
    )));
    peer.attach(back).await;
    // Some are carried out, some wait for their turn, and no more are taken.
    let (least, most, mut sent, mut credit) = (300, 400, 0, peer.sender(node).await);
    loop {
        while credit > 0 {
            assert!(sent < most, "no end of it");
            peer.transfer(sent, &peek(sent)).await;
            (sent, credit) = (sent + 1, credit - 1);
        }
        if sent >= least {
            // Credit may have been on its way when the first was asked for.
            for _ in 0..2 {
                peer.echo(0).await;
                let flow = peer.flow().await;
                credit = granted(&flow) - sent;
            }
            if credit == 0 {
                break;
            }
        } else {
            let flow = peer.flow().await;
            credit = granted(&flow) - sent;
        }
    }
    // Who reads gets all of them.
    peer.credit(0, sent, false).await;
    for _ in 0..sent {
        peer.received().await;
    }
}
