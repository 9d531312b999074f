//! Service Bus: what was accepted stays, what was settled stays settled.

use std::collections::BTreeSet;

use fe2o3_amqp::{
    Connection, Receiver, Sender, Session,
    connection::ConnectionHandle,
    link::{CreditMode, delivery::Delivery},
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::{ReceiverSettleMode, SenderSettleMode},
        messaging::{AmqpValue, ApplicationProperties, Body, Message, Outcome, Properties},
        primitives::{Array, OrderedMap, SimpleValue, Uuid, Value},
    },
};

use super::{Known, Program, Scratch, moments};

const CONFIG: &str = r#"
[[queue]]
name = "q"
[[topic]]
name = "t"
[[topic.subscriptions]]
name = "s"
"#;

/// Texts, each `<sender/round/number>`.
#[derive(Default)]
struct Messages {
    accepted: BTreeSet<String>,
    /// Settling them was asked for, and perhaps done.
    tried: BTreeSet<String>,
    settled: BTreeSet<String>,
}

struct Client {
    _connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
}

impl Client {
    /// `None` if the program is gone.
    async fn connect(connection_string: &str) -> Option<Self> {
        let part = |name: &str| {
            let found = connection_string.split(';').find_map(|part| part.strip_prefix(name));
            found.expect(name)
        };
        let address = part("Endpoint=sb://").trim_end_matches('/');
        let mut connection = Connection::builder()
            .container_id("client")
            .sasl_profile(SaslProfile::Plain {
                username: part("SharedAccessKeyName=").to_owned(),
                password: part("SharedAccessKey=").to_owned(),
            })
            .open(&*format!("amqp://{address}"))
            .await
            .ok()?;
        let session = Session::begin(&mut connection).await.ok()?;
        Some(Self {
            _connection: connection,
            session,
        })
    }

    async fn requests(&mut self, entity: &str) -> Option<Requests> {
        let node = format!("{entity}/$management");
        Some(Requests {
            requests: Sender::attach(&mut self.session, "requests", &*node).await.ok()?,
            responses: Receiver::attach(&mut self.session, "responses", &*node).await.ok()?,
        })
    }
}

struct Requests {
    requests: Sender,
    responses: Receiver,
}

impl Requests {
    /// Status and body of the answer.
    async fn send(&mut self, operation: &str, body: Vec<(&str, Value)>) -> Option<(i32, Value)> {
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
        self.requests.send(request).await.ok()?;
        let response: Delivery<Body<Value>> = self.responses.recv().await.ok()?;
        self.responses.accept(&response).await.ok()?;
        let message = response.into_message();
        let status = match message.application_properties?.0.get("statusCode")? {
            SimpleValue::Int(status) => *status,
            other => panic!("status {other:?}"),
        };
        let body = match message.body {
            Body::Value(AmqpValue(body)) => body,
            _ => Value::Null,
        };
        Some((status, body))
    }

    /// Everything there is, in order.
    async fn all(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let from = texts.last().map_or(0, |(number, _)| number + 1);
            let page = vec![
                ("from-sequence-number", Value::Long(from)),
                ("message-count", Value::Int(250)),
            ];
            let answer = self.send("com.microsoft:peek-message", page).await;
            let (200, Value::Map(body)) = answer.expect("it runs") else {
                return texts.into_iter().map(|(_, text)| text).collect();
            };
            let Some(Value::List(messages)) = body.get(&Value::String("messages".into())) else {
                panic!("no messages");
            };
            for message in messages {
                let Value::Map(message) = message else { panic!("no map") };
                let Some(Value::Binary(bytes)) = message.get(&Value::String("message".into())) else {
                    panic!("no message");
                };
                texts.push((number(bytes), text(bytes)));
            }
        }
    }
}

/// The text in an encoded message.
fn text(bytes: &[u8]) -> String {
    let start = bytes.windows(3).rposition(|start| start == b"<q/" || start == b"<t/");
    let start = start.expect("a text");
    let end = bytes.iter().rposition(|byte| *byte == b'>').expect("its end");
    String::from_utf8(bytes[start..=end].to_vec()).unwrap()
}

/// The sequence number in an encoded message: a long behind the name of its annotation.
fn number(bytes: &[u8]) -> i64 {
    const NAME: &[u8] = b"x-opt-sequence-number\x81";
    let at = bytes.windows(NAME.len()).position(|window| window == NAME);
    let at = at.expect("a number") + NAME.len();
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Sends until the program is killed.
async fn send(to: &str, address: String, round: usize, known: Known<Messages>) -> Option<()> {
    let mut client = Client::connect(&address).await?;
    let mut sender = Sender::attach(&mut client.session, "sender", to).await.ok()?;
    for n in 0.. {
        let text = format!("<{to}/{round:03}/{n:06}>");
        let message = Message::builder().value(Value::String(text.clone())).build();
        match sender.send(message).await.ok()? {
            Outcome::Accepted(_) => known.learn(|messages| {
                messages.accepted.insert(text);
            }),
            other => panic!("{other:?}"),
        }
    }
    None
}

/// Receives and completes, with an answer to each, until the program is killed.
async fn settle(address: String, known: Known<Messages>) -> Option<()> {
    let mut client = Client::connect(&address).await?;
    let mut requests = client.requests("q").await?;
    let mut receiver = Receiver::builder()
        .name("receiver")
        .source("q")
        .sender_settle_mode(SenderSettleMode::Unsettled)
        .receiver_settle_mode(ReceiverSettleMode::Second)
        .credit_mode(CreditMode::Auto(10))
        .attach(&mut client.session)
        .await
        .ok()?;
    loop {
        let delivery: Delivery<Body<Value>> = receiver.recv().await.ok()?;
        let Body::Value(AmqpValue(Value::String(text))) = &delivery.message().body else {
            panic!("no text");
        };
        let tag: [u8; 16] = delivery.delivery_tag().as_ref().try_into().unwrap();
        let token = Value::Uuid(Uuid::from(uuid::Uuid::from_bytes_le(tag).into_bytes()));
        known.learn(|messages| {
            assert!(!messages.settled.contains(text), "{text} is back");
            messages.tried.insert(text.clone());
        });
        let body = vec![
            ("disposition-status", Value::String("completed".into())),
            ("lock-tokens", Value::Array(Array(vec![token]))),
        ];
        let (status, _) = requests.send("com.microsoft:update-disposition", body).await?;
        assert_eq!(status, 200);
        known.learn(|messages| {
            messages.settled.insert(text.clone());
        });
    }
}

async fn everything(program: &Program, entity: &str) -> Vec<String> {
    let mut client = Client::connect(&program.text("/servicebus/connection_string"))
        .await
        .expect("it runs");
    client.requests(entity).await.expect("it runs").all().await
}

#[tokio::test]
async fn a_killed_emulator_has_what_it_accepted_and_not_what_was_settled() {
    let scratch = Scratch::new("servicebus", CONFIG);
    let known = Known::<Messages>::new();
    for (round, moment) in moments().enumerate() {
        let program = scratch.start();
        let address = program.text("/servicebus/connection_string");
        let mut tasks = tokio::task::JoinSet::new();
        for to in ["q", "t"] {
            let (address, known) = (address.clone(), known.clone());
            tasks.spawn(async move { send(to, address, round, known).await });
        }
        let settling = known.clone();
        tasks.spawn(settle(address, settling));
        known.progress(moment).await;
        drop(program);
        // The client library may wait for ever for an answer on a connection that is gone.
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            assert!(!ended.is_err_and(|error| error.is_panic()));
        }

        let program = scratch.start();
        let (queue, copies) = (
            everything(&program, "q").await,
            everything(&program, "t/Subscriptions/s").await,
        );
        for kept in [&queue, &copies] {
            assert!(kept.is_sorted(), "in order, each once: {kept:?}");
        }
        let known = known.lock();
        let (messages, _) = &*known;
        for text in &messages.accepted {
            let kept = if text.starts_with("<q") { &queue } else { &copies };
            assert!(
                kept.binary_search(text).is_ok() || messages.tried.contains(text),
                "{text} is lost"
            );
        }
        for text in &messages.settled {
            assert!(queue.binary_search(text).is_err(), "{text} is back");
        }
    }
}
