//! Claims-based security, with a key and with a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azevents_servicebus::{ErrorKind, ServiceBusClient};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::support::{client, connection_string, emulator, message, options, soon};

#[tokio::test]
async fn a_wrong_key_is_refused_with_what_to_check_and_without_the_key() {
    let emulator = emulator().await;
    let good = connection_string(&emulator);
    let bad: Vec<String> = good
        .split(';')
        .map(|part| match part.strip_prefix("SharedAccessKey=") {
            Some(_) => "SharedAccessKey=d3Jvbmc=".to_owned(),
            None => part.to_owned(),
        })
        .collect();
    let client = ServiceBusClient::from_connection_string_with(&bad.join(";"), options()).unwrap();
    let error = soon(client.create_sender("q").send(&message(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(
        error.to_string().contains("check the key or role assignment"),
        "{error}"
    );
    assert!(!format!("{error} {error:?} {client:?}").contains("d3Jvbmc="));
}

/// Gives a token that looks like one of Microsoft Entra ID, good for so long.
#[derive(Debug)]
pub(crate) struct ShortLived {
    lifetime: Duration,
    asked: AtomicUsize,
}

impl ShortLived {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            asked: AtomicUsize::new(0),
        }
    }
}

#[async_trait::async_trait]
impl TokenCredential for ShortLived {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://servicebus.azure.net/.default"]);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let expires = OffsetDateTime::now_utc() + self.lifetime;
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let claims = format!(
            r#"{{"aud":"https://servicebus.azure.net","exp":{}}}"#,
            expires.unix_timestamp()
        );
        let token = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#.to_owned()), part(claims));
        Ok(AccessToken::new(token, expires))
    }
}

/// A connection string with a token that its holder cannot renew, good for an hour, instead of the key.
pub(crate) fn with_signature(text: &str) -> String {
    let value = |name: &str| {
        let part = text
            .split(';')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        part.expect("an emulator's connection string has it")
    };
    let resource = "sb%3A%2F%2F127.0.0.1%2F";
    let end = OffsetDateTime::now_utc().unix_timestamp() + 3600;
    let mut mac = Hmac::<Sha256>::new_from_slice(value("SharedAccessKey").as_bytes()).unwrap();
    mac.update(format!("{resource}\n{end}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    format!(
        "Endpoint={};SharedAccessSignature=SharedAccessSignature sr={resource}&sig={signature}&se={end}&skn={};\
         UseDevelopmentEmulator=true;",
        value("Endpoint"),
        value("SharedAccessKeyName"),
    )
}

#[tokio::test]
async fn a_signature_opens_the_connection_without_the_key() {
    let emulator = emulator().await;
    let text = with_signature(connection_string(&emulator));
    let client = ServiceBusClient::from_connection_string_with(&text, options()).unwrap();
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    soon(client.create_receiver("q").receive()).await.unwrap();
}

#[tokio::test]
async fn a_token_credential_opens_the_connection_and_is_asked_again_before_the_token_expires() {
    let emulator = emulator().await;
    let credential = Arc::new(ShortLived::new(Duration::from_secs(12)));
    let client = ServiceBusClient::for_emulator(connection_string(&emulator), credential.clone(), options()).unwrap();
    let sender = client.create_sender("q");
    soon(sender.send(&message(1))).await.unwrap();
    assert_eq!(credential.asked.load(Ordering::Relaxed), 1);
    soon(async {
        while credential.asked.load(Ordering::Relaxed) < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    soon(sender.send(&message(2))).await.unwrap();
}

#[tokio::test]
async fn a_token_is_put_once_for_all_links_to_an_entity() {
    let emulator = emulator().await;
    let credential = Arc::new(ShortLived::new(Duration::from_secs(3600)));
    let client = ServiceBusClient::for_emulator(connection_string(&emulator), credential.clone(), options()).unwrap();
    let (one, two, three) = (
        client.create_sender("q"),
        client.create_sender("q"),
        client.create_receiver("q"),
    );
    let (first, second) = (message(1), message(2));
    let (a, b, c) = soon(async { tokio::join!(one.send(&first), two.send(&second), three.receive()) }).await;
    a.and(b).and(c.map(drop)).unwrap();
    assert_eq!(credential.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_a_connection_error() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let text =
        format!("Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;");
    let mut options = options();
    options.retry.policy = options.retry.policy.with_retries(1);
    let client = ServiceBusClient::from_connection_string_with(&text, options).unwrap();
    let error = soon(client.create_sender("q").send(&message(1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(
        error.to_string().starts_with("send q: cannot connect to 127.0.0.1"),
        "{error}"
    );
}

#[tokio::test]
async fn the_same_connection_serves_several_entities() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(client.create_sender("q").send(&message(1))).await.unwrap();
    soon(client.create_sender("t").send(&message(1).with_session_id("s")))
        .await
        .unwrap();
    soon(client.create_receiver("q").receive()).await.unwrap();
}
