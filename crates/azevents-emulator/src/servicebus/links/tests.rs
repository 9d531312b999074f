//! The broker as a client library of others sees it, over a socket.

mod operations;
mod rules;
mod transactions;

use std::{sync::Arc, time::Duration};

use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::{CreditMode, ReceiverAttachError, delivery::Delivery},
    session::SessionHandle,
    types::{
        definitions::{Error, ErrorCondition, Fields, ReceiverSettleMode, SenderSettleMode},
        messaging::{AmqpValue, ApplicationProperties, Body, Message, Modified, Outcome, Properties, Source},
        primitives::{Array, OrderedMap, SimpleValue, Symbol, Uuid, Value},
    },
};
use tokio::time::timeout;

use super::ServiceBus;
use crate::{
    Clock,
    amqp::{Listener, ListenerOptions, SharedAccessKey},
    faults::Faults,
    servicebus::{Namespace, NamespaceConfig, config::QueueConfig},
};

const LOCK: Duration = Duration::from_millis(500);
/// Longer than anything here takes that isn't stuck.
const PATIENCE: Duration = Duration::from_secs(20);

struct Broker {
    namespace: Arc<Namespace>,
    service: Arc<ServiceBus>,
    listener: Listener,
}

impl Broker {
    fn start() -> Self {
        Self::with_limits(NamespaceConfig::default())
    }

    fn with_limits(limits: NamespaceConfig) -> Self {
        let namespace = Arc::new(Namespace::new(limits, Clock::start(), Faults::none()));
        let mut config = QueueConfig::new("q");
        config.lock_duration = LOCK;
        namespace.create_queue(&config).unwrap();
        config = QueueConfig::new("sessions");
        config.requires_session = true;
        namespace.create_queue(&config).unwrap();
        let key = SharedAccessKey::new("Root", "key");
        let service = Arc::new(ServiceBus::new(Arc::clone(&namespace), key));
        let options = ListenerOptions {
            max_message_size: limits.max_message_size,
            require_token: false,
            ..ListenerOptions::default()
        };
        let address = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind(address, Arc::<ServiceBus>::clone(&service), options).unwrap();
        Self {
            namespace,
            service,
            listener,
        }
    }

    async fn connect(&self) -> Client {
        let url = format!("amqp://{}", self.listener.local_addr());
        let mut connection = Connection::open("client", url.as_str()).await.unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        Client { connection, session }
    }
}

impl Broker {
    /// The error in the detach that refuses a link.
    async fn refusal(&self, from: Source) -> Error {
        for _ in 0..20 {
            let mut client = self.connect().await;
            match client.attach("refused", from.clone()).await {
                Err(ReceiverAttachError::RemoteClosedWithError(error)) => return error,
                // The client library lost the error: it read the detach, which follows at once,
                // before it had finished with the attach.
                Err(ReceiverAttachError::IllegalState) => {}
                Err(other) => panic!("refused with {other:?}"),
                Ok(_) => panic!("the link was accepted"),
            }
        }
        panic!("no refusal came through");
    }
}

struct Client {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
}

impl Client {
    async fn send(&mut self, to: &str, session: Option<&str>, bodies: &[&str]) -> Vec<Outcome> {
        let mut sender = Sender::attach(&mut self.session, format!("to-{to}"), to).await.unwrap();
        let mut outcomes = Vec::new();
        for body in bodies {
            let message = Message::builder()
                .properties(Properties {
                    group_id: session.map(Into::into),
                    ..Properties::default()
                })
                .value(Value::String((*body).into()))
                .build();
            outcomes.push(sender.send(message).await.unwrap());
        }
        sender.close().await.unwrap();
        outcomes
    }

    async fn receiver(&mut self, name: &str, from: &str) -> Receiver {
        self.attach(name, source(from, None)).await.unwrap()
    }

    /// A receiver for a session, or for the next one within a second.
    async fn session_receiver(&mut self, name: &str, session: Value) -> Receiver {
        self.attach(name, source("sessions", Some(session))).await.unwrap()
    }

    async fn attach(&mut self, name: &str, source: Source) -> Result<Receiver, ReceiverAttachError> {
        let mut properties = Fields::default();
        properties.insert(Symbol::from("com.microsoft:timeout"), Value::Uint(1000));
        let attached = Receiver::builder()
            .name(name)
            .source(source)
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(ReceiverSettleMode::Second)
            .credit_mode(CreditMode::Auto(10))
            .properties(properties)
            .attach(&mut self.session);
        timeout(PATIENCE, attached).await.unwrap()
    }

    /// Status, error condition and body of the answer.
    async fn request(
        &mut self,
        entity: &str,
        operation: &str,
        body: Vec<(&str, Value)>,
    ) -> (i32, Option<String>, Value) {
        let node = format!("{entity}/$management");
        let mut requests = Sender::attach(&mut self.session, "requests", &*node).await.unwrap();
        let mut responses = Receiver::attach(&mut self.session, "responses", &*node).await.unwrap();
        let mut properties = ApplicationProperties::default();
        properties.insert("operation".into(), SimpleValue::String(operation.into()));
        let body: OrderedMap<Value, Value> = body
            .into_iter()
            .map(|(name, value)| (Value::String(name.into()), value))
            .collect();
        let request = Message::builder()
            .properties(Properties {
                message_id: Some("1".to_owned().into()),
                ..Properties::default()
            })
            .application_properties(properties)
            .value(Value::Map(body))
            .build();
        requests.send(request).await.unwrap();
        let response = recv(&mut responses).await;
        requests.close().await.unwrap();
        responses.close().await.unwrap();
        let message = response.into_message();
        let properties = message.application_properties.unwrap().0;
        let Some(SimpleValue::Int(status)) = properties.get("statusCode") else {
            panic!("no statusCode in {properties:?}");
        };
        let condition = properties.get("errorCondition").map(|condition| match condition {
            SimpleValue::Symbol(condition) => condition.0.clone(),
            other => panic!("errorCondition {other:?}"),
        });
        let Body::Value(AmqpValue(body)) = message.body else {
            panic!("a management answer has a value for a body");
        };
        (*status, condition, body)
    }
}

async fn recv(receiver: &mut Receiver) -> Delivery<Body<Value>> {
    timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap()
}

fn text(delivery: &Delivery<Body<Value>>) -> &str {
    match &delivery.message().body {
        Body::Value(AmqpValue(Value::String(text))) => text,
        other => panic!("unexpected body {other:?}"),
    }
}

fn delivery_count(delivery: &Delivery<Body<Value>>) -> u32 {
    delivery.message().header.as_ref().unwrap().delivery_count
}

fn condition(error: &Error) -> String {
    match &error.condition {
        ErrorCondition::Custom(condition) => condition.0.clone(),
        other => format!("{other:?}"),
    }
}

/// A source at the entity, with a session filter if one is asked for.
fn source(address: &str, session: Option<Value>) -> Source {
    let mut source = Source::builder().address(address).build();
    if let Some(session) = session {
        let filters = source.filter.get_or_insert_default();
        filters.insert(Symbol::from("com.microsoft:session-filter"), session);
    }
    source
}

fn lock_token(delivery: &Delivery<Body<Value>>) -> Uuid {
    let tag: [u8; 16] = delivery.delivery_tag().as_ref().try_into().unwrap();
    Uuid::from(uuid::Uuid::from_bytes_le(tag).into_bytes())
}

#[tokio::test]
async fn what_a_receiver_had_not_settled_stays_locked_when_its_link_ends() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    client.send("q", None, &["a"]).await;
    let mut first = client.receiver("first", "q").await;
    let delivery = recv(&mut first).await;
    assert_eq!(delivery_count(&delivery), 0);
    let locked_at = tokio::time::Instant::now();
    first.close().await.unwrap();
    let mut second = client.receiver("second", "q").await;
    let again = recv(&mut second).await;
    assert!(locked_at.elapsed() > LOCK / 2, "only when the lock had run out");
    assert_eq!(delivery_count(&again), 1);
    assert_ne!(again.delivery_tag(), delivery.delivery_tag());
}

#[tokio::test]
async fn a_session_is_free_at_once_when_its_receivers_connection_is_gone() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    client.send("sessions", Some("A"), &["1", "2", "3"]).await;
    let mut doomed = broker.connect().await;
    let mut receiver = doomed.session_receiver("r", "A".into()).await;
    for _ in 0..3 {
        recv(&mut receiver).await;
    }
    let held = broker.refusal(source("sessions", Some("A".into()))).await;
    assert_eq!(condition(&held), "com.microsoft:session-cannot-be-locked");
    doomed.connection.close().await.unwrap();
    // The lock has a minute to go.
    let mut receiver = client.session_receiver("late", Value::Null).await;
    for expected in ["1", "2", "3"] {
        let delivery = recv(&mut receiver).await;
        assert_eq!((text(&delivery), delivery_count(&delivery)), (expected, 0));
    }
    assert!(receiver.properties(|properties| {
        let until = Symbol::from("com.microsoft:locked-until-utc");
        properties
            .as_ref()
            .is_some_and(|all| matches!(all.get(&until), Some(Value::Long(_))))
    }));
}

#[tokio::test]
async fn waiting_for_a_session_ends_when_the_client_said() {
    let broker = Broker::start();
    let nothing = broker.refusal(source("sessions", Some(Value::Null))).await;
    assert_eq!(condition(&nothing), "com.microsoft:timeout");
}

#[tokio::test]
async fn links_that_make_no_sense_are_refused_with_the_services_conditions() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    let missing = broker.refusal(source("nowhere", None)).await;
    assert!(condition(&missing).contains("NotFound"), "{missing:?}");
    let plain = broker.refusal(source("sessions", None)).await;
    assert!(condition(&plain).contains("NotAllowed"), "{plain:?}");
    let outcomes = client.send("sessions", None, &["no session"]).await;
    assert!(matches!(&outcomes[..], [Outcome::Rejected(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn every_outcome_does_what_the_protocol_guide_says() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    let queue = Arc::clone(broker.namespace.resolve("q").unwrap().outlet().unwrap());
    client.send("q", None, &["a"]).await;
    let mut receiver = client.receiver("r", "q").await;

    let delivery = recv(&mut receiver).await;
    let abandon = Modified {
        delivery_failed: Some(true),
        undeliverable_here: Some(false),
        message_annotations: None,
    };
    receiver.modify(&delivery, abandon.clone()).await.unwrap();
    let delivery = recv(&mut receiver).await;
    assert_eq!(delivery_count(&delivery), 1, "abandoned");
    receiver.release(&delivery).await.unwrap();
    let delivery = recv(&mut receiver).await;
    assert_eq!(delivery_count(&delivery), 1, "released");
    let mut info = Fields::default();
    info.insert(Symbol::from("DeadLetterReason"), Value::from("Undecodable"));
    let why = Error::new(
        ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter")),
        None,
        Some(info),
    );
    receiver.reject(&delivery, why).await.unwrap();
    let mut dead = client.receiver("dead", "q/$DeadLetterQueue").await;
    let delivery = recv(&mut dead).await;
    let reason = delivery
        .message()
        .application_properties
        .as_ref()
        .unwrap()
        .0
        .get("DeadLetterReason");
    assert_eq!(reason, Some(&SimpleValue::String("Undecodable".into())));
    dead.accept(&delivery).await.unwrap();

    client.send("q", None, &["b"]).await;
    let delivery = recv(&mut receiver).await;
    let defer = Modified {
        undeliverable_here: Some(true),
        ..abandon
    };
    receiver.modify(&delivery, defer).await.unwrap();
    // A request on the same connection comes after the disposition.
    let (status, _, body) = client
        .request(
            "q",
            "com.microsoft:peek-message",
            vec![
                ("from-sequence-number", Value::Long(0)),
                ("message-count", Value::Int(5)),
            ],
        )
        .await;
    assert_eq!(status, 200);
    assert!(matches!(body, Value::Map(_)));
    let counts = queue.counts();
    assert_eq!((counts.active, counts.deferred), (0, 1));
    assert_eq!(queue.dead_letters().unwrap().counts().active, 0);
}

#[tokio::test]
async fn requests_are_answered_with_the_services_status_and_condition() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    client.send("q", None, &["a"]).await;
    let mut receiver = client.receiver("r", "q").await;
    let delivery = recv(&mut receiver).await;
    let tokens = || {
        vec![(
            "lock-tokens",
            Value::Array(Array(vec![Value::Uuid(lock_token(&delivery))])),
        )]
    };

    let (status, _, body) = client.request("q", "com.microsoft:renew-lock", tokens()).await;
    assert_eq!(status, 200, "{body:?}");
    let mut complete = tokens();
    complete.push(("disposition-status", Value::from("completed")));
    let settle = "com.microsoft:update-disposition";
    let (status, _, _) = client.request("q", settle, complete.clone()).await;
    assert_eq!(status, 200);
    let (status, condition, _) = client.request("q", settle, complete).await;
    assert_eq!(
        (status, condition.as_deref()),
        (410, Some("com.microsoft:message-lock-lost"))
    );
    let (status, condition, _) = client.request("q", "com.microsoft:paint-it", Vec::new()).await;
    assert_eq!((status, condition.as_deref()), (501, Some("amqp:not-implemented")));
    let (status, condition, _) = client.request("q", "com.microsoft:renew-lock", Vec::new()).await;
    assert_eq!(
        (status, condition.as_deref()),
        (400, Some("com.microsoft:argument-error"))
    );
}
