//! The same protocol under TLS and over WebSockets, on the same port.

#![cfg(feature = "tls")]

use std::{io, sync::Arc};

use azevents_emulator::{Emulator, EventHub, Tls};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::peer::{Address, HUB, Peer, READ, Wire, message};

const WEBSOCKET: &str = "/$servicebus/websocket";

async fn emulator() -> Emulator {
    Emulator::builder()
        .event_hub(EventHub::new(HUB).with_partition_count(1))
        .tls(Tls::generate(&["events.example"]).expect("a certificate"))
        .start()
        .await
        .expect("the emulator starts")
}

async fn tcp(emulator: &Emulator) -> TcpStream {
    TcpStream::connect(Address::of(emulator).socket)
        .await
        .expect("a connection")
}

async fn tls(emulator: &Emulator, name: &'static str) -> io::Result<TlsStream<TcpStream>> {
    tls_on(tcp(emulator).await, emulator, name).await
}

/// A client that trusts the emulator's authority and nobody else, and calls it `name`.
async fn tls_on(socket: TcpStream, emulator: &Emulator, name: &'static str) -> io::Result<TlsStream<TcpStream>> {
    let pem = &emulator.ready().tls.as_ref().expect("TLS is on").ca_pem;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"))
        .expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(name.try_into().expect("a name"), socket)
        .await
}

async fn websocket(socket: impl Wire + 'static, path: &str, subprotocol: &str) -> Result<Box<dyn Wire>, Error> {
    let mut request = format!("ws://localhost{path}").into_client_request()?;
    request
        .headers_mut()
        .insert("sec-websocket-protocol", subprotocol.parse().expect("a name"));
    let socket: Box<dyn Wire> = Box::new(socket);
    let (socket, _) = client_async(request, socket).await?;
    let (write, read) = socket.split();
    let read = read.map(|message| message.map(Message::into_data).map_err(io::Error::other));
    let write = write
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| std::future::ready(io::Result::Ok(Message::Binary(bytes))));
    let write = SinkWriter::new(CopyToBytes::new(write));
    Ok(Box::new(tokio::io::join(StreamReader::new(read), write)))
}

/// Publishes on the connection and reads back what is there by then.
async fn works(emulator: &Emulator, socket: impl Wire + 'static, events: usize) {
    let mut peer = Peer::on(socket).logged_in_on(emulator).await;
    peer.publish(1).await;
    peer.receiver(READ).await;
    peer.credit(0, 100, false).await;
    for _ in 0..events {
        peer.received().await;
    }
}

#[tokio::test]
async fn one_port_takes_every_transport() {
    let emulator = emulator().await;
    works(&emulator, tcp(&emulator).await, 1).await;
    works(&emulator, tls(&emulator, "localhost").await.expect("TLS"), 2).await;
    let plain = websocket(tcp(&emulator).await, WEBSOCKET, "amqp").await;
    works(&emulator, plain.expect("a WebSocket"), 3).await;
    // What Microsoft's clients for Python and JavaScript ask for.
    let secured = tls(&emulator, "localhost").await.expect("TLS");
    let both = websocket(secured, "/$servicebus/websocket/?x=1", "AMQPWSB10").await;
    works(&emulator, both.expect("a WebSocket"), 4).await;
}

#[tokio::test]
async fn a_large_message_passes_a_websocket_in_pieces() {
    let emulator = emulator().await;
    let socket = websocket(tcp(&emulator).await, WEBSOCKET, "amqp")
        .await
        .expect("a WebSocket");
    let mut peer = Peer::on(socket).logged_in_on(&emulator).await;
    peer.sender(HUB).await;
    let body = vec![7; 60_000];
    peer.transfer(0, &message(&body)).await;
    peer.receiver(READ).await;
    peer.credit(0, 1, false).await;
    assert!(peer.received().await.1.ends_with(&body));
}

#[tokio::test]
async fn the_certificate_is_good_for_localhost_and_the_names_asked_for_only() {
    let emulator = emulator().await;
    for name in ["localhost", "127.0.0.1", "events.example"] {
        tls(&emulator, name).await.expect(name);
    }
    let other = tls(&emulator, "other.example").await.expect_err("another name");
    assert!(other.to_string().contains("not valid for name"), "{other}");
}

#[tokio::test]
async fn a_websocket_elsewhere_or_of_another_protocol_is_refused_with_a_reason() {
    let emulator = emulator().await;
    let refusal = async |path: &str, subprotocol: &str| match websocket(tcp(&emulator).await, path, subprotocol)
        .await
        .map(|_| ())
    {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refusal("/mqtt", "amqp").await, 404);
    assert_eq!(refusal(WEBSOCKET, "mqtt").await, 400);
}

#[tokio::test]
async fn a_client_that_wants_tls_where_it_is_off_is_turned_away_and_others_go_on() {
    let plain = super::peer::emulator().await;
    let mut peer = Peer::logged_in(&plain).await;
    let mut hello = tcp(&plain).await;
    tokio::io::AsyncWriteExt::write_all(&mut hello, &[22, 3, 1, 0, 0])
        .await
        .expect("sent");
    Peer::on(hello).hung_up().await;
    peer.publish(1).await;
}

#[cfg(feature = "cosmos")]
#[tokio::test]
async fn an_account_names_the_address_it_was_reached_at() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let emulator = emulator().await;
    let endpoint = emulator.ready().cosmos.as_ref().expect("Cosmos DB").endpoint.clone();
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let socket = TcpStream::connect(&address).await.expect("a connection");
    let mut socket = tls_on(socket, &emulator, "127.0.0.1").await.expect("TLS");
    let token = "type=aad&ver=1.0&sig=e30.e30.c2ln";
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: {token}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(&format!("https://{address}")), "{answer}");
    assert!(!answer.contains("http://"), "{answer}");
}
