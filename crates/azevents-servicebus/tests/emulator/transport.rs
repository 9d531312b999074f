//! The same client over TLS, in WebSockets, through a proxy, at an address that is not the namespace's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use azevents_emulator::{Emulator, Queue, Tls};
use azevents_servicebus::{
    ClientOptions, ConnectionString, ErrorKind, Proxy, ServiceBusAdministrationClient, ServiceBusClient,
    ServiceBusMessage, TransportType,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{connection_string, id, message, options, port, soon};

async fn emulator_with_tls() -> Emulator {
    Emulator::builder()
        .queue(Queue::new("q"))
        .tls(Tls::generate(&[]).unwrap())
        .start()
        .await
        .unwrap()
}

/// What the portal would hand out: no word of an emulator, so that nothing but TLS will do.
fn as_in_azure(emulator: &Emulator) -> String {
    let key = connection_string(emulator)
        .split(';')
        .filter(|part| part.starts_with("SharedAccessKey"))
        .collect::<Vec<_>>()
        .join(";");
    format!("Endpoint=sb://shop.servicebus.windows.net/;{key}")
}

/// Connects to the emulator in place of the namespace, trusting its authority.
fn encrypted(emulator: &Emulator) -> ClientOptions {
    let ca = &emulator.ready().tls.as_ref().unwrap().ca_pem;
    options()
        .with_proxy(Proxy::Direct)
        .with_trusted_ca(ca)
        .with_custom_endpoint(format!("localhost:{}", port(emulator)))
}

async fn works(text: &str, options: ClientOptions) {
    let client = ServiceBusClient::from_connection_string_with(text, options).unwrap();
    let large = ServiceBusMessage::new("x".repeat(100_000)).with_message_id("1");
    soon(client.create_sender("q").send(&large)).await.unwrap();
    let receiver = client.create_receiver("q");
    let received = soon(receiver.receive()).await.unwrap();
    assert_eq!(id(&received), "1");
    soon(receiver.complete(&received)).await.unwrap();
    soon(client.close()).await;
}

#[tokio::test]
async fn tls_and_websockets_carry_the_same() {
    let emulator = emulator_with_tls().await;
    works(&as_in_azure(&emulator), encrypted(&emulator)).await;
    let sockets = encrypted(&emulator).with_transport(TransportType::WebSockets);
    works(&as_in_azure(&emulator), sockets).await;
    // An emulator is spoken to without TLS.
    let plain = options().with_transport(TransportType::WebSockets);
    works(connection_string(&emulator), plain).await;
}

#[tokio::test]
async fn an_authority_that_nobody_trusts_is_refused() {
    let emulator = emulator_with_tls().await;
    let mut options = encrypted(&emulator);
    options.retry.policy = options.retry.policy.with_retries(0);
    // Another emulator's.
    options.trusted_ca = Some(Tls::generate(&[]).unwrap().ca_pem().to_owned());
    let client = ServiceBusClient::from_connection_string_with(&as_in_azure(&emulator), options).unwrap();
    let error = soon(client.create_sender("q").send(&message(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// A proxy that lets those through who know the password, and counts them.
async fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    client.read_line(&mut head).await.unwrap();
                }
                if !head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    return client.write_all(refusal).await.unwrap();
                }
                let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n").await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address.to_string(), tunnels)
}

#[tokio::test]
async fn a_proxy_is_gone_through_by_those_it_lets_in() {
    let emulator = emulator_with_tls().await;
    let (address, tunnels) = proxy().await;
    let through = |proxy: String, transport| {
        encrypted(&emulator)
            .with_proxy(Proxy::Http(proxy))
            .with_transport(transport)
    };
    for transport in [TransportType::WebSockets, TransportType::Tcp] {
        let proxy = format!("http://user:pass@{address}");
        works(&as_in_azure(&emulator), through(proxy, transport)).await;
    }
    assert_eq!(tunnels.load(Ordering::Relaxed), 2);
    // So does administration.
    let endpoint = ConnectionString::parse(&emulator.ready().administration.connection_string).unwrap();
    let way = through(format!("http://user:pass@{address}"), TransportType::Tcp)
        .with_custom_endpoint(format!("localhost:{}", endpoint.port()));
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&as_in_azure(&emulator), way).unwrap();
    assert!(soon(admin.queue_exists("q")).await.unwrap());
    assert_eq!(tunnels.load(Ordering::Relaxed), 3);

    let stranger = through(address, TransportType::WebSockets);
    let client = ServiceBusClient::from_connection_string_with(&as_in_azure(&emulator), stranger).unwrap();
    let error = soon(client.create_sender("q").send(&message(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("proxy"), "{error}");
}
