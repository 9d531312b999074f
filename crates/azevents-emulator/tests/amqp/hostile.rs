//! Peers that mean harm, or are broken: none of them stops the others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use azevents_emulator::Emulator;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::io::AsyncWriteExt;

use super::peer::{HUB, Peer, READ, emulator, message};

/// How many half-open peers; the emulator is asked for a thousand, the test needs fewer files.
fn crowd() -> usize {
    let asked = std::env::var("AZEVENTS_EMULATOR_PEERS").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(200)
}

/// A client that behaves still gets everything done.
async fn serves(emulator: &Emulator) {
    let mut peer = Peer::logged_in(emulator).await;
    peer.publish(1).await;
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    peer.received().await;
}

/// What a peer may send after it has chosen a protocol.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(sasl, body)| {
        let mut frame = ((body.len() + 8) as u32).to_be_bytes().to_vec();
        frame.extend([2, u8::from(sasl), 0, 0]);
        frame.extend(body);
        frame
    });
    // A performative's descriptor, and a list that is not what it says.
    let performative =
        (0x10_u8..0x19, any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(code, count, fields)| {
            let mut body = vec![0x00, 0x53, code, 0xc0, (fields.len() + 1) as u8, count];
            body.extend(fields);
            let mut frame = ((body.len() + 8) as u32).to_be_bytes().to_vec();
            frame.extend([2, 0, 0, 0]);
            frame.extend(body);
            frame
        });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..300), frame, performative]
}

/// Counts panics of the emulator's tasks, which would otherwise end with their connection unseen.
fn watch_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (count, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        // Other tests of this program may fail at the same time.
        if panic
            .location()
            .is_none_or(|place| !place.file().contains("tests/amqp"))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        before(panic);
    }));
    panics
}

#[test]
fn whatever_bytes_a_peer_sends_others_are_served() {
    let panics = watch_panics();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let emulator = runtime.block_on(emulator());
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let attack = (0..3_u8, prop::collection::vec(garbage(), 1..4));
    runner
        .run(&attack, |(stage, pieces)| {
            runtime.block_on(async {
                let mut peer = match stage {
                    0 => Peer::connect(&emulator).await,
                    1 => {
                        let mut peer = Peer::connect(&emulator).await;
                        peer.amqp_header().await;
                        peer
                    }
                    _ => Peer::logged_in(&emulator).await,
                };
                for piece in pieces {
                    // The listener may have hung up already, as it should.
                    let _ = peer.socket.write_all(&piece).await;
                    let _ = peer.socket.flush().await;
                }
            });
            Ok(())
        })
        .expect("no attack succeeds");
    runtime.block_on(async {
        serves(&emulator).await;
        emulator.shutdown().await;
    });
    assert_eq!(panics.load(Ordering::Relaxed), 0, "the emulator panicked");
}

#[tokio::test]
async fn a_crowd_that_never_finishes_its_handshake_keeps_nobody_out() {
    let emulator = emulator().await;
    let mut waiting = Vec::new();
    for n in 0..crowd() {
        let mut peer = Peer::connect(&emulator).await;
        // Nothing, half a header, a header, half a frame.
        // The same of TLS and of a WebSocket.
        let said: &[u8] = match n % 6 {
            0 => b"",
            1 => b"AMQP",
            2 => b"AMQP\x00\x01\x00\x00",
            3 => b"\x16\x03\x01\x02\x00\x01",
            4 => b"GET /$servicebus/websocket HTTP/1.1\r\nHost:",
            _ => b"AMQP\x00\x01\x00\x00\x00\x00\xff\xff\x02",
        };
        peer.socket.write_all(said).await.expect("sent");
        waiting.push(peer);
    }
    serves(&emulator).await;
}

#[tokio::test]
async fn whoever_does_not_finish_his_handshake_is_let_go_of() {
    let emulator = emulator().await;
    for said in [
        &b"AMQP"[..],
        b"AMQP\x03\x01\x00\x00",
        b"\x16\x03\x01",
        b"GET /$servicebus",
    ] {
        let mut peer = Peer::connect(&emulator).await;
        peer.socket.write_all(said).await.expect("sent");
        // Its patience is ten seconds; the clock jumps there because nobody has anything to do.
        tokio::time::pause();
        peer.hung_up().await;
        tokio::time::resume();
    }
    serves(&emulator).await;
}

#[tokio::test]
async fn a_request_that_is_never_finished_is_let_go_of() {
    let emulator = emulator().await;
    let endpoint = emulator.ready().management.endpoint.clone();
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    // Nothing, what may become HTTP/2, half a head, half a body.
    let begun = [
        "",
        "PRI",
        "GET /health HTTP/1.1\r\nHost:",
        "PUT /faults HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{",
    ];
    for said in begun {
        let socket = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        let mut peer = Peer::on(socket);
        peer.socket.write_all(said.as_bytes()).await.expect("sent");
        tokio::time::pause();
        peer.hung_up().await;
        tokio::time::resume();
    }
    serves(&emulator).await;
}

#[tokio::test]
async fn a_reader_that_gives_no_credit_or_reads_nothing_holds_up_itself_alone() {
    let emulator = emulator().await;
    let mut idle = Peer::logged_in(&emulator).await;
    idle.receiver(READ).await;
    let mut deaf = Peer::logged_in(&emulator).await;
    deaf.receiver(READ).await;
    deaf.credit(0, 1_000_000, false).await;
    // More than the deaf one's socket takes.
    let mut writer = Peer::logged_in(&emulator).await;
    writer.sender(HUB).await;
    let body = vec![7; 50_000];
    for n in 0..200 {
        writer.transfer(n, &message(&body)).await;
        writer.settled(n).await;
    }
    serves(&emulator).await;
    // It was not forgotten: with credit it gets what there is.
    idle.credit(0, 1, false).await;
    assert!(idle.received().await.1.ends_with(&body));
}
