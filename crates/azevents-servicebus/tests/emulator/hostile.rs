//! Servers that send what no server should: the client neither panics nor hangs.

use std::time::Duration;

use azevents_core::RetryPolicy;
use azevents_servicebus::{ClientOptions, ErrorKind, RetryOptions, ServiceBusClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{message, soon};

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
