//! `fe2o3-amqp` with nothing around it: what the protocol engine that we build on carries by itself, and the
//! plain AMQP client that drives brokers here.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fe2o3_amqp::link::delivery::{Delivery, DeliveryFut, Sendable};
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::link::{Receiver, SendError, Sender};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::types::definitions::{ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::message::__private::Serializable;
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Batch, Body, Data, Message, MessageId, Outcome, Properties, Source,
};
use fe2o3_amqp::types::primitives::{Binary, OrderedMap, Symbol, Value};
use fe2o3_amqp::{Connection, Session, connection::ConnectionHandle, session::SessionHandle};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// Marks a transfer whose data sections are encoded messages (Azure Service Bus AMQP protocol guide).
const BATCH_FORMAT: u32 = 0x8001_3700;
/// Well-formed, which is all that the emulator asks of one.
const TOKEN: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.";
const SESSION_FILTER: &str = "com.microsoft:session-filter";
/// Whoever is silent for so long has hung up.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Payload = Sendable<Body<Value>>;
type Waiting = DeliveryFut<Result<Outcome, SendError>>;

/// A connection with a session for links.
pub(crate) struct Bare {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
}

impl Bare {
    /// Connects to the emulator's Service Bus, and may use `entity` from then on.
    pub(crate) async fn servicebus(address: &str, entity: &str) -> Result<Self> {
        let mut bare = Self::connect(address, SaslProfile::Anonymous).await?;
        let mut requests = Sender::attach(&mut bare.session, "cbs-requests", "$cbs").await?;
        let mut responses = Receiver::builder()
            .name("cbs-responses")
            .source("$cbs")
            .target("bench")
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut bare.session)
            .await?;
        let request = Message::builder()
            .properties(Properties {
                message_id: Some(MessageId::from(1_u64)),
                reply_to: Some("bench".to_owned()),
                ..Properties::default()
            })
            .application_properties(
                ApplicationProperties::builder()
                    .insert("operation", "put-token")
                    .insert("type", "jwt")
                    .insert("name", format!("amqps://{address}/{entity}"))
                    .build(),
            )
            .body(Body::Value(AmqpValue(Value::String(TOKEN.to_owned()))))
            .build();
        accepted(requests.send(request).await?)?;
        let answer = responses.recv::<Body<Value>>().await?;
        responses.accept(&answer).await?;
        requests.close().await?;
        responses.close().await?;
        Ok(bare)
    }

    /// Connects to another broker.
    pub(crate) async fn connect(address: &str, sasl: SaslProfile) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let open = Connection::builder()
            .container_id("bench")
            .hostname("127.0.0.1")
            .scheme("amqp")
            .sasl_profile(sasl)
            .max_frame_size(64 * 1024)
            .open_with_stream(stream);
        let mut connection = tokio::time::timeout(PATIENCE, open).await??;
        let session = Session::begin(&mut connection).await?;
        Ok(Self { connection, session })
    }

    pub(crate) async fn sender(&mut self, entity: &str) -> Result<Sender> {
        Ok(Sender::builder()
            .name(format!("send-{entity}"))
            .target(entity)
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut self.session)
            .await?)
    }

    /// A receiver that settles second, as peek-lock clients do, or first.
    pub(crate) async fn receiver(
        &mut self,
        entity: &str,
        settle: ReceiverSettleMode,
        credit: CreditMode,
        any_session: bool,
    ) -> Result<Receiver> {
        let mut source = Source::builder().address(entity);
        if any_session {
            source = source.filter(OrderedMap::from_iter([(Symbol::from(SESSION_FILTER), Value::Null)]));
        }
        Ok(Receiver::builder()
            .name(format!("receive-{entity}"))
            .source(source.build())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .receiver_settle_mode(settle)
            .credit_mode(credit)
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut self.session)
            .await?)
    }

    pub(crate) async fn close(mut self) -> Result<()> {
        self.session.end().await?;
        self.connection.close().await?;
        Ok(())
    }
}

/// A message of 1 KB, which may belong to a session.
pub(crate) fn message(number: usize, body: &[u8], session: Option<&str>) -> Message<Body<Value>> {
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(Properties {
            message_id: Some(MessageId::String(number.to_string())),
            group_id: session.map(str::to_owned),
            ..Properties::default()
        }),
        application_properties: None,
        body: Body::Data(Batch::from(vec![Data(Binary::from(body.to_vec()))])),
        footer: None,
    }
}

/// Messages as one transfer.
pub(crate) fn batch(messages: impl IntoIterator<Item = Message<Body<Value>>>) -> Result<Payload> {
    let encoded: Result<Vec<_>> = messages
        .into_iter()
        .map(|message| Ok(Data(Binary::from(serde_amqp::to_vec(&Serializable(message))?))))
        .collect();
    Ok(Sendable {
        message: Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: None,
            application_properties: None,
            body: Body::Data(Batch::from(encoded?)),
            footer: None,
        },
        message_format: BATCH_FORMAT,
        settled: None,
    })
}

/// Sends all of it, so many transfers at once waiting for their outcomes.
pub(crate) async fn send_all(
    sender: &mut Sender,
    payloads: impl Iterator<Item = Result<Payload>>,
    in_flight: usize,
) -> Result<()> {
    let mut waiting: FuturesUnordered<Pin<Box<Waiting>>> = FuturesUnordered::new();
    for payload in payloads {
        if waiting.len() >= in_flight {
            accepted(waiting.next().await.context("one is waiting")??)?;
        }
        waiting.push(Box::pin(sender.send_batchable_ref(&payload?).await?));
    }
    while let Some(outcome) = waiting.next().await {
        accepted(outcome?)?;
    }
    Ok(())
}

/// Receives so many messages and accepts them, up to `page` with one disposition.
pub(crate) async fn receive_all(receiver: &mut Receiver, count: usize, page: usize, refill: bool) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let wanted = page.min(left);
        if refill {
            receiver.set_credit(u32::try_from(wanted)?).await?;
        }
        let mut received = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let delivery: Delivery<Body<Value>> = tokio::time::timeout(PATIENCE, receiver.recv()).await??;
            ensure!(delivery.message().body.is_data(), "a message without its body");
            received.push(delivery.into_parts().0);
        }
        receiver.accept_all(received).await?;
        left -= wanted;
    }
    Ok(())
}

fn accepted(outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Accepted(_) => Ok(()),
        other => bail!("not accepted: {other:?}"),
    }
}
