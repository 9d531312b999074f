//! Who gets in: SASL PLAIN, put-token, and nobody else.

use azevents_emulator::{AuthorizationRule, Emulator, EventHub, Queue};
use fe2o3_amqp_types::{
    definitions::{AmqpError, ErrorCondition, Fields},
    messaging::{AmqpValue, ApplicationProperties, Body, Message, Properties, message::__private::Serializable},
    performatives::Performative,
    primitives::{OrderedMap, SimpleValue},
};
use serde_amqp::Value;

use super::peer::{Address, HUB, Peer, emulator, receiver, sender, transfer};

#[tokio::test]
async fn a_login_with_the_key_opens_every_entity() {
    let emulator = emulator().await;
    let mut peer = Peer::logged_in(&emulator).await;
    assert!(peer.sender(HUB).await > 0);
}

#[tokio::test]
async fn a_login_with_a_wrong_key_is_refused() {
    let emulator = emulator().await;
    let name = Address::of(&emulator).key_name;
    let refused = Peer::login(&emulator, &name, "wrong").await;
    assert_eq!(refused.err().as_deref(), Some("Auth"));
}

#[tokio::test]
async fn a_link_without_a_token_is_refused_and_told_what_is_missing() {
    let emulator = emulator().await;
    let mut peer = Peer::anonymous(&emulator).await;
    let attach = peer.attach(sender(0, HUB)).await;
    assert!(attach.target.is_none());
    let error = refusal(&mut peer).await;
    assert_eq!(
        error.condition,
        ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess)
    );
    assert!(error.description.expect("a sentence").contains("$cbs"));
}

#[tokio::test]
async fn a_signature_of_the_key_opens_its_entity_and_no_other() {
    let emulator = emulator().await;
    let address = Address::of(&emulator);
    let mut peer = Peer::anonymous(&emulator).await;
    let token = sign(&address.key_name, &address.key, "sb://host/hub");
    assert_eq!(put_token(&mut peer, &token).await, 202);
    let accepted = peer.attach(sender(0, "amqps://host:5671/HUB")).await;
    assert!(accepted.target.is_some());
    let refused = peer.attach(sender(5, "hub2")).await;
    assert!(refused.target.is_none());
}

#[tokio::test]
async fn a_connection_ends_with_the_token_that_was_not_renewed() {
    let emulator = emulator().await;
    let address = Address::of(&emulator);
    let mut peer = Peer::anonymous(&emulator).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("after 1970").as_secs() + 2;
    let token = sign_until(&address.key_name, &address.key, "sb://host/hub", soon);
    assert_eq!(put_token(&mut peer, &token).await, 202);
    loop {
        match peer.next().await {
            (Performative::Close(close), _) => {
                let unauthorized = ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess);
                assert_eq!(close.error.expect("why").condition, unauthorized);
                break;
            }
            (Performative::Flow(_) | Performative::Disposition(_), _) => {}
            other => panic!("not a close: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_forged_signature_is_answered_with_401_and_opens_nothing() {
    let emulator = emulator().await;
    let address = Address::of(&emulator);
    let mut peer = Peer::anonymous(&emulator).await;
    let token = sign(&address.key_name, "another key", "sb://host/hub");
    assert_eq!(put_token(&mut peer, &token).await, 401);
    assert!(peer.attach(sender(0, HUB)).await.target.is_none());
}

#[tokio::test]
async fn a_bearer_token_needs_the_claims_that_are_required() {
    let emulator = Emulator::builder()
        .event_hub(EventHub::new(HUB))
        .require_claim("tid", "bank")
        .start()
        .await
        .expect("an emulator");
    for (claims, status) in [("{}", 401), (r#"{"tid":"bank"}"#, 202)] {
        let mut peer = Peer::anonymous(&emulator).await;
        assert_eq!(put(&mut peer, &jwt(claims), "jwt").await, status, "{claims}");
        let opened = peer.attach(sender(0, HUB)).await.target.is_some();
        assert_eq!(opened, status == 202, "{claims}");
    }
}

#[tokio::test]
async fn a_key_of_a_queue_opens_it_for_what_its_rule_allows_and_is_no_way_to_another() {
    let rule = AuthorizationRule::new("sender", "secret").with_send();
    let emulator = Emulator::builder()
        .queue(Queue::new("q").with_authorization_rule(rule))
        .queue("other")
        .start()
        .await
        .expect("an emulator");
    let mut peer = Peer::anonymous_at_servicebus(&emulator).await;
    let token = sign("sender", "secret", "sb://host/q");
    assert_eq!(put_for(&mut peer, "sb://host/q", &token, SAS).await, 202);
    assert!(peer.attach(sender(5, "q")).await.target.is_some());
    let by_way_of_q = {
        let mut attach = sender(6, "q");
        let mut properties = Fields::default();
        let destination = Value::String("amqps://host/other".to_owned());
        properties.insert("com.microsoft:transfer-destination-address".into(), destination);
        attach.properties = Some(properties);
        attach
    };
    for (attach, says) in [
        (receiver(7, "q"), "'Listen' claim(s) are required"),
        (by_way_of_q, "'Send' claim(s) are required"),
        (sender(8, "other"), "no token for 'other'"),
    ] {
        peer.attach(attach).await;
        let error = refusal(&mut peer).await;
        let unauthorized = ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess);
        assert_eq!(error.condition, unauthorized);
        let description = error.description.unwrap_or_default();
        assert!(description.contains(says), "{description}");
    }
}

async fn refusal(peer: &mut Peer) -> fe2o3_amqp_types::definitions::Error {
    match peer.next().await {
        (Performative::Detach(detach), _) => detach.error.expect("why"),
        other => panic!("not a detach: {other:?}"),
    }
}

fn jwt(claims: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

async fn put_token(peer: &mut Peer, token: &str) -> i32 {
    put(peer, token, SAS).await
}

async fn put(peer: &mut Peer, token: &str, kind: &str) -> i32 {
    put_for(peer, "sb://host/hub", token, kind).await
}

const SAS: &str = "servicebus.windows.net:sastoken";

/// Puts a token as the Python clients do, without a reply-to address, and returns the status.
async fn put_for(peer: &mut Peer, audience: &str, token: &str, kind: &str) -> i32 {
    peer.attach(receiver(1, "$cbs")).await;
    peer.credit(0, 10, false).await;
    let mut attach = sender(2, "$cbs");
    "cbs".clone_into(&mut attach.name);
    peer.attach(attach).await;
    let text = |text: &str| SimpleValue::String(text.to_owned());
    let mut properties = OrderedMap::new();
    properties.insert("operation".to_owned(), text("put-token"));
    properties.insert("type".to_owned(), text(kind));
    properties.insert("name".to_owned(), text(audience));
    let request = Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties::builder().message_id(7_u64).build()),
        application_properties: Some(ApplicationProperties(properties)),
        body: Body::Value(AmqpValue(Value::String(token.to_owned()))),
        footer: None,
    };
    let mut frame = transfer(0);
    frame.handle = 2.into();
    let payload = serde_amqp::to_vec(&Serializable(&request)).expect("encoded");
    peer.send(Performative::Transfer(frame), &payload).await;
    let (_, response) = peer.received().await;
    let response: fe2o3_amqp_types::messaging::message::__private::Deserializable<Message<Body<Value>>> =
        serde_amqp::from_slice(&response).expect("a message");
    let response = response.0;
    let correlation = response.properties.and_then(|properties| properties.correlation_id);
    assert_eq!(correlation, Some(7_u64.into()));
    match response
        .application_properties
        .expect("properties")
        .0
        .get("status-code")
    {
        Some(SimpleValue::Int(code)) => *code,
        other => panic!("status-code {other:?}"),
    }
}

/// A shared access signature that is good until the year 2100.
fn sign(name: &str, key: &str, resource: &str) -> String {
    sign_until(name, key, resource, 4_102_444_800)
}

/// The same with an end of its own, in unix seconds.
fn sign_until(name: &str, key: &str, resource: &str, end: u64) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use hmac::Mac;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let resource = encode(resource);
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    mac.update(format!("{resource}\n{end}").as_bytes());
    let signature = encode(&STANDARD.encode(mac.finalize().into_bytes()));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={end}&skn={name}")
}
