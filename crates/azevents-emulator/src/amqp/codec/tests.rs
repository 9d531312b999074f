//! Frames we write are read back, by our own reader and by an independent one.

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::{
    definitions::{AmqpError, Error, Fields, ReceiverSettleMode, Role, SenderSettleMode},
    messaging::{Accepted, DeliveryState, FilterSet, Outcome, Rejected, Source, Target, TargetArchetype},
    performatives as reference,
    sasl::SaslInit,
    transaction::TransactionalState,
};
use proptest::prelude::*;
use serde_amqp::{Value, primitives::Binary};

use super::{Encoder, FlowOut, Frame, Performative, TransferOut, next_frame};
use crate::amqp::error;

fn written(encoder: &mut Encoder) -> BytesMut {
    let mut bytes = BytesMut::new();
    let expected = encoder.len();
    for chunk in encoder.take() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes.len(), expected, "the encoder counts what it writes");
    bytes
}

fn frames(mut bytes: BytesMut, max_size: u32) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(&mut bytes, max_size).expect("well-formed") {
        frames.push(frame);
    }
    assert!(bytes.is_empty());
    frames
}

/// One of each as a peer may send it, with everything in it that is read by types.
fn performatives() -> Vec<Vec<u8>> {
    let mut filter = FilterSet::new();
    filter.insert("com.microsoft:session-filter".into(), Value::Null);
    filter.insert(
        "apache.org:selector-filter:string".into(),
        Value::from("amqp.annotation.x-opt-offset > '-1'"),
    );
    let mut info = Fields::new();
    info.insert("DeadLetterReason".into(), Value::from("why"));
    let rejected = DeliveryState::Rejected(Rejected {
        error: Some(Error::new(
            AmqpError::InternalError,
            Some("why".to_owned()),
            Some(info.clone()),
        )),
    });
    let transactional = DeliveryState::TransactionalState(TransactionalState {
        txn_id: Binary::from(vec![1, 2, 3, 4]),
        outcome: Some(Outcome::Accepted(Accepted {})),
    });
    let mut source = Source::builder().address("queue").build();
    source.filter = Some(filter);
    let attach = reference::Attach {
        name: "link".to_owned(),
        handle: 1.into(),
        role: Role::Receiver,
        snd_settle_mode: SenderSettleMode::Unsettled,
        rcv_settle_mode: ReceiverSettleMode::Second,
        source: Some(Box::new(source)),
        target: Some(Box::new(TargetArchetype::Target(
            Target::builder().address("here").build(),
        ))),
        unsettled: None,
        incomplete_unsettled: false,
        initial_delivery_count: Some(0),
        max_message_size: Some(1000),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: Some(info),
    };
    let transfer = reference::Transfer {
        handle: 1.into(),
        delivery_id: Some(1),
        delivery_tag: Some(Binary::from(vec![7; 16])),
        message_format: Some(0),
        settled: Some(false),
        more: true,
        rcv_settle_mode: None,
        state: Some(transactional),
        resume: false,
        aborted: false,
        batchable: true,
    };
    let disposition = reference::Disposition {
        role: Role::Receiver,
        first: 1,
        last: Some(9),
        settled: false,
        state: Some(rejected),
        batchable: false,
    };
    let error = Some(Error::new(AmqpError::NotFound, Some("gone".to_owned()), None));
    let detach = reference::Detach {
        handle: 1.into(),
        closed: true,
        error: error.clone(),
    };
    let init = SaslInit {
        mechanism: "PLAIN".into(),
        initial_response: Some(Binary::from(b"\0name\0key".to_vec())),
        hostname: Some("localhost".to_owned()),
    };
    let all = [
        reference::Performative::Attach(attach),
        reference::Performative::Transfer(transfer),
        reference::Performative::Disposition(disposition),
        reference::Performative::Detach(detach),
        reference::Performative::End(reference::End { error: error.clone() }),
        reference::Performative::Close(reference::Close { error }),
    ];
    let mut all: Vec<Vec<u8>> = all
        .iter()
        .map(|one| serde_amqp::to_vec(one).expect("encoded"))
        .collect();
    all.push(serde_amqp::to_vec(&init).expect("encoded"));
    all
}

proptest! {
    #[test]
    fn a_message_of_any_size_survives_fragmentation_by_any_frame_size(
        body in proptest::collection::vec(any::<u8>(), 0..20_000),
        split in any::<prop::sample::Index>(),
        max_frame in 512_usize..9_000,
        id in any::<u32>(),
        handle in any::<u32>(),
        settled in any::<bool>(),
    ) {
        let mut pieces = {
            let whole = Bytes::from(body.clone());
            let at = split.index(whole.len() + 1);
            [whole.slice(..at), whole.slice(at..)]
        };
        let mut encoder = Encoder::default();
        let tag = [7; 16];
        let mut first = true;
        loop {
            let head = TransferOut {
                handle,
                first: first.then_some((id, &tag, 0)),
                settled,
                more: false,
            };
            first = false;
            if encoder.transfer(3, max_frame, head, &mut pieces) {
                break;
            }
        }
        let frames = frames(written(&mut encoder), u32::MAX);
        let last = frames.len() - 1;
        let mut joined = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            prop_assert!(frame.body.len() + 8 <= max_frame);
            prop_assert_eq!(frame.channel, 3);
            let Performative::Transfer(transfer) = Performative::decode(&frame.body).expect("a transfer") else {
                panic!("not a transfer");
            };
            prop_assert_eq!(transfer.handle, handle);
            prop_assert_eq!(transfer.settled, settled);
            prop_assert_eq!(transfer.more, n < last);
            prop_assert_eq!(transfer.delivery_id, (n == 0).then_some(id));
            prop_assert!(n == 0 || !transfer.has_tag);
            joined.extend_from_slice(&transfer.payload);
        }
        prop_assert_eq!(joined, body);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Performative::decode(&Bytes::from(bytes.clone()));
        let _ = super::raw_sections(&bytes);
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = next_frame(&mut buffer, 256) {
            let _ = Performative::decode(&frame.body);
        }
    }

    #[test]
    fn no_changes_to_what_peers_send_make_the_reader_panic(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let real = performatives();
        let mut bytes = real[which.index(real.len())].clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = Performative::decode(&Bytes::from(bytes.clone()));
        // A login is read by the same means.
        let _ = super::from_slice::<SaslInit>(&bytes);
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut(cuts in proptest::collection::vec(1_usize..40, 1..60)) {
        let mut encoder = Encoder::default();
        for n in 0..10 {
            encoder.detach(n, u32::from(n), true, None);
        }
        encoder.heartbeat();
        let mut rest = written(&mut encoder).freeze();
        let (mut buffer, mut channels) = (BytesMut::new(), Vec::new());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            buffer.extend_from_slice(&rest.split_to(cut.min(rest.len())));
            while let Some(frame) = next_frame(&mut buffer, 1000).expect("well-formed") {
                channels.push((frame.channel, frame.body.is_empty()));
            }
        }
        let expected: Vec<(u16, bool)> = (0..10).map(|n| (n, false)).chain([(0, true)]).collect();
        prop_assert_eq!(channels, expected);
    }
}

#[test]
fn what_peers_send_is_understood() {
    let all = performatives();
    let (login, frames) = all.split_last().expect("some");
    for frame in frames {
        Performative::decode(&Bytes::from(frame.clone())).expect("a performative");
    }
    super::from_slice::<SaslInit>(login).expect("a login");
}

#[test]
fn an_independent_reader_understands_our_frames() {
    let mut encoder = Encoder::default();
    encoder.open("us", 1000, 5, 30_000);
    let flow = FlowOut {
        next_incoming_id: 1,
        incoming_window: 2,
        next_outgoing_id: 3,
        outgoing_window: 4,
        link: Some((9, 10, 11, true)),
    };
    encoder.begin(1, 1, flow, 7);
    encoder.flow(1, flow);
    encoder.close(Some(&error::with(AmqpError::NotFound, "nothing here")));
    let read: Vec<reference::Performative> = frames(written(&mut encoder), 1000)
        .iter()
        .map(|frame| serde_amqp::from_slice(&frame.body).expect("understood"))
        .collect();
    let [
        reference::Performative::Open(open),
        reference::Performative::Begin(begin),
        reference::Performative::Flow(flow),
        reference::Performative::Close(close),
    ] = &read[..]
    else {
        panic!("{read:?}");
    };
    assert_eq!((open.container_id.as_str(), open.idle_time_out), ("us", Some(30_000)));
    assert_eq!((begin.remote_channel, begin.handle_max.0), (Some(1), 7));
    assert_eq!((flow.link_credit, flow.drain), (Some(11), true));
    let error = close.error.as_ref().expect("an error");
    assert_eq!(error.description.as_deref(), Some("nothing here"));
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_is_there() {
    let mut head = BytesMut::from(&[0, 0, 4, 1, 2, 0, 0, 0][..]);
    assert!(next_frame(&mut head, 1024).is_err());
    let mut tiny = BytesMut::from(&[0, 0, 0, 7, 2, 0, 0, 0][..]);
    assert!(next_frame(&mut tiny, 1024).is_err());
}
