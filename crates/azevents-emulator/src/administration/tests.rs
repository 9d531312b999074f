//! What the official clients don't send, over a socket.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::AdministrationServer;
use crate::{
    amqp::{Right, SharedAccessKey},
    clock::Clock,
    faults::Faults,
    servicebus::{AuthorizationRule, Namespace, NamespaceConfig, QueueConfig},
    transport::Acceptor,
};

/// A bearer token, which is good for everything.
const BEARER: &str = "Bearer e30.e30.c2ln";

struct World {
    namespace: Arc<Namespace>,
    server: AdministrationServer,
    address: String,
}

impl World {
    async fn new(limits: NamespaceConfig) -> Self {
        let namespace = Namespace::open(limits, Clock::start(), Faults::none(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let key = SharedAccessKey::new("Root", "key");
        let server = AdministrationServer::start(listener, Acceptor::from(None), Arc::clone(&namespace), key);
        Self {
            namespace,
            server,
            address,
        }
    }

    /// The status and the body.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        let headers: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = headers.concat();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, &[("Authorization", BEARER)], "").await
    }
}

fn signed(resource: &str, name: &str, key: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let resource = encode(resource);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("{resource}\n4102444800").as_bytes());
    let signature = encode(&STANDARD.encode(mac.finalize().into_bytes()));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=4102444800&skn={name}")
}

const DESCRIPTION: &str = "<entry><content><QueueDescription></QueueDescription></content></entry>";

#[tokio::test]
async fn an_update_says_that_any_version_will_do() {
    let world = World::new(NamespaceConfig::default()).await;
    let put = |condition: &'static str| {
        let headers = [("Authorization", BEARER), ("If-Match", condition)];
        let headers = if condition.is_empty() {
            headers[..1].to_vec()
        } else {
            headers.to_vec()
        };
        let world = &world;
        async move { world.ask("PUT", "/q", &headers, DESCRIPTION).await }
    };
    assert_eq!(put("*").await.0, 404);
    assert_eq!(put("").await.0, 201);
    assert_eq!(put("").await.0, 409);
    assert_eq!(put("*").await.0, 200);
    let (status, why) = put("\"7\"").await;
    assert!(status == 412 && why.contains("an update says '*'"), "{status} {why}");
    world.server.shutdown().await;
}

#[tokio::test]
async fn a_page_has_what_skip_and_top_ask_for_and_never_more_than_a_hundred() {
    let world = World::new(NamespaceConfig::default()).await;
    for n in 0..102 {
        world
            .namespace
            .create_queue(&QueueConfig::new(format!("q{n:03}")))
            .unwrap();
    }
    let (_, page) = world.get("/$Resources/queues?$skip=1&$top=2").await;
    assert_eq!(page.matches("<entry>").count(), 2);
    assert!(
        page.contains("/q001</id>") && page.contains("$skip=3&amp;$top=2"),
        "{page}"
    );
    let (_, page) = world.get("/$Resources/queues?%24skip=101").await;
    assert!(
        page.matches("<entry>").count() == 1 && !page.contains("rel=\"next\""),
        "{page}"
    );
    let (_, page) = world.get("/$Resources/queues?$top=5000").await;
    assert_eq!(page.matches("<entry>").count(), 100);
    let (status, why) = world.get("/$Resources/queues?$top=all").await;
    assert!(status == 400 && why.contains("$top must be a number"), "{status} {why}");
    let (status, feed) = world.get("/missing").await;
    assert!(
        status == 200 && !feed.contains("<entry>"),
        "as the service answers: {status} {feed}"
    );
    world.server.shutdown().await;
}

#[tokio::test]
async fn a_key_with_manage_administers_its_entity_and_one_without_does_not() {
    let world = World::new(NamespaceConfig::default()).await;
    let rule = |name: &str, rights: &[Right]| AuthorizationRule {
        key_name: name.into(),
        primary_key: name.into(),
        secondary_key: String::new(),
        rights: rights.to_vec(),
        created: 0,
        modified: 0,
    };
    let authorization = vec![
        rule("owner", &[Right::Manage, Right::Send, Right::Listen]),
        rule("sender", &[Right::Send]),
    ];
    let config = QueueConfig {
        authorization,
        ..QueueConfig::new("mine")
    };
    world.namespace.create_queue(&config).unwrap();
    world.namespace.create_queue(&QueueConfig::new("other")).unwrap();
    for (key, signed_for, path, status, says) in [
        ("owner", "mine", "/mine", 200, "<KeyName>owner</KeyName>"),
        ("owner", "mine", "/other", 401, "InvalidAudience"),
        ("owner", "", "/mine", 401, "there is no key named"),
        ("sender", "mine", "/mine", 401, "'Manage' claim(s) are required"),
    ] {
        let token = signed(&format!("http://{}/{signed_for}", world.address), key, key);
        let answer = world.ask("GET", path, &[("Authorization", &token)], "").await;
        assert!(answer.0 == status && answer.1.contains(says), "{key} {path} {answer:?}");
    }
    world.server.shutdown().await;
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let world = World::new(NamespaceConfig::default()).await;
    for name in ["EnableSubscriptionPartitioning", "FilteringMessagesBeforePublishing"] {
        let topic = format!("<entry><TopicDescription><{name}>true</{name}></TopicDescription></entry>");
        let (status, why) = world.ask("PUT", "/t", &[("Authorization", BEARER)], &topic).await;
        let said = format!("{name} (true) is not supported by this emulator");
        assert!(status == 501 && why.contains(&said), "{status} {why}");
    }
    world.server.shutdown().await;
}

#[tokio::test]
async fn a_namespace_with_large_messages_is_a_premium_one() {
    let world = World::new(NamespaceConfig::with_largest_message(Some(1 << 20))).await;
    let (_, info) = world.get("/$namespaceinfo").await;
    assert!(
        info.contains("<MessagingSKU>Premium</MessagingSKU><MessagingUnits>1</MessagingUnits>"),
        "{info}"
    );
    for name in ["EnableExpress", "EnablePartitioning"] {
        let set = format!("<entry><QueueDescription><{name}>true</{name}></QueueDescription></entry>");
        let (status, why) = world.ask("PUT", "/q", &[("Authorization", BEARER)], &set).await;
        assert!(status == 400 && why.contains("Premium"), "{status} {why}");
    }
    world.server.shutdown().await;
}
