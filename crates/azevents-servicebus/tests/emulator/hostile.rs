//! Servers and senders that send what nobody should: the client neither panics nor hangs, and others' messages get through.

use std::time::Duration;

use azevents_core::RetryPolicy;
use azevents_emulator::Emulator;
use azevents_servicebus::{ClientOptions, ErrorKind, RetryOptions, ServiceBusClient, dead_letter_queue};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::messaging::{Data, Message};
use fe2o3_amqp::types::primitives::Binary;
use fe2o3_amqp::{Connection, Sender, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{client, emulator, id, message, port, soon};

/// Bytes that a generator makes of a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// How a server that speaks the protocol begins: both headers, ANONYMOUS offered, and an outcome of `ok`.
fn greeting() -> Vec<u8> {
    let mut bytes = b"AMQP\x03\x01\x00\x00".to_vec();
    let mechanisms = b"\x00\x53\x40\xc0\x0c\x01\xa3\x09ANONYMOUS";
    let outcome = b"\x00\x53\x44\xc0\x03\x01\x50\x00";
    for body in [&mechanisms[..], &outcome[..]] {
        bytes.extend(u32::try_from(body.len() + 8).unwrap().to_be_bytes());
        bytes.extend([2, 1, 0, 0]);
        bytes.extend(body);
    }
    bytes.extend(b"AMQP\x00\x01\x00\x00");
    bytes
}

/// Sends `bytes` to whoever connects, and then holds still.
async fn server(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _ = socket.write_all(&bytes).await;
                let mut heard = [0; 1024];
                while socket.read(&mut heard).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    format!("Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true")
}

#[tokio::test]
async fn whatever_a_server_sends_a_call_ends_with_an_error() {
    let framed = |seed: u64| {
        let body = noise(seed, 40);
        let mut frame = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        frame.extend([2, 0, 0, 0]);
        frame.extend(body);
        [greeting(), frame].concat()
    };
    let scripts = (1..=12).map(|seed| match seed % 3 {
        0 => noise(seed, 500),
        1 => [greeting(), noise(seed, 300)].concat(),
        _ => framed(seed),
    });
    let calls = scripts.map(|script| async move {
        let text = server(script).await;
        let retry = RetryOptions::default()
            .with_policy(RetryPolicy::none())
            .with_try_timeout(Duration::from_secs(3));
        let options = ClientOptions::default()
            .with_retry(retry)
            .with_open_timeout(Duration::from_secs(2));
        let client = ServiceBusClient::from_connection_string_with(&text, options).unwrap();
        let error = client.create_sender("q").send(&message(1)).await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::LinkLost
            ),
            "{error:?}"
        );
    });
    soon(futures::future::join_all(calls)).await;
}

/// Sends messages as the bytes they are: the broker takes a batch apart (its format is 0x80013700) and looks into no body.
async fn send_raw(emulator: &Emulator, messages: Vec<Vec<u8>>) {
    let ready = &emulator.ready().servicebus.connection_string;
    let key = ready.split(';').find_map(|part| part.strip_prefix("SharedAccessKey="));
    let mut connection = Connection::builder()
        .container_id("raw")
        .sasl_profile(SaslProfile::Plain {
            username: "RootManageSharedAccessKey".to_owned(),
            password: key.unwrap().to_owned(),
        })
        .open(&*format!("amqp://127.0.0.1:{}", port(emulator)))
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "raw", "q").await.unwrap();
    let parts: Vec<_> = messages.into_iter().map(|bytes| Data(Binary::from(bytes))).collect();
    let batch = Message::builder().data_batch(parts).build();
    let batch = fe2o3_amqp::Sendable::builder()
        .message(batch)
        .message_format(0x8001_3700)
        .build();
    let outcome = sender.send(batch).await.unwrap();
    assert!(outcome.is_accepted(), "{outcome:?}");
    connection.close().await.unwrap();
}

/// With an id, and a value as its body.
fn raw(id: &str, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(id.len()).unwrap();
    let properties = [&[0, 0x53, 0x73, 0xc0, length + 3, 1, 0xa1, length][..], id.as_bytes()].concat();
    [&properties, &[0, 0x53, 0x77][..], body].concat()
}

#[tokio::test]
async fn a_message_that_no_stack_could_hold_is_dead_lettered_and_others_get_through() {
    let emulator = emulator().await;
    // Lists in lists, a list32 of one each, in several frames.
    let mut deep = Vec::new();
    for layers_inside in (0..20_000_u32).rev() {
        deep.push(0xd0);
        deep.extend((4 + 9 * layers_inside + 1).to_be_bytes());
        deep.extend(1_u32.to_be_bytes());
    }
    deep.push(0x40);
    let sent = vec![
        raw("before", b"\xa1\x02ok"),
        raw("deep", &deep),
        raw("behind", b"\xa1\x02ok"),
    ];
    soon(send_raw(&emulator, sent)).await;
    let client = client(&emulator);
    let receiver = client.create_receiver("q");
    let peeked = soon(receiver.peek(0, 10)).await.unwrap();
    assert_eq!(peeked.iter().map(id).collect::<Vec<_>>(), ["before", "deep", "behind"]);
    assert!(peeked[1].body().is_empty());
    for expected in ["before", "behind"] {
        let received = soon(receiver.receive()).await.unwrap();
        assert_eq!(id(&received), expected);
        soon(receiver.complete(&received)).await.unwrap();
    }
    let dead = soon(async {
        loop {
            let dead = client
                .create_receiver(&dead_letter_queue("q"))
                .peek(0, 10)
                .await
                .unwrap();
            if !dead.is_empty() {
                return dead;
            }
        }
    })
    .await;
    assert_eq!(
        (id(&dead[0]), dead[0].dead_letter_reason()),
        ("deep", Some("Undecodable"))
    );
}
