//! Request and response: a sending and a receiving link to one node, answers matched by correlation id.
//! `$cbs` and `$management` both work this way (AMQP Management 1.0, working draft, section 3).

use std::collections::HashMap;

use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::types::messaging::{ApplicationProperties, Body, Message, MessageId, Outcome, Properties};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use fe2o3_amqp::{Receiver, Sender};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::conditions;
use super::guard;
use super::link::{self, LinkSession};
use crate::error::{Error, ErrorKind, Result};

/// Answers that may be on their way at once.
const CREDIT: u32 = 200;

/// Shared by any number of callers; requests overlap. Dropping it closes the links.
#[derive(Debug)]
pub(crate) struct RpcLink {
    calls: mpsc::Sender<Call>,
}

struct Call {
    request: Request,
    reply: oneshot::Sender<Result<Response>>,
}

/// What is asked: the operation and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) properties: ApplicationProperties,
    pub(crate) body: Value,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Response {
    properties: ApplicationProperties,
    pub(crate) body: Value,
}

impl Response {
    fn property(&self, names: [&str; 2]) -> Option<&SimpleValue> {
        names.iter().find_map(|name| self.properties.get(*name))
    }

    /// The status, spelled one way by `$cbs` and another by `$management`.
    pub(crate) fn status(&self) -> Option<i32> {
        match self.property(["statusCode", "status-code"])? {
            SimpleValue::Int(status) => Some(*status),
            SimpleValue::Uint(status) => i32::try_from(*status).ok(),
            SimpleValue::Long(status) => i32::try_from(*status).ok(),
            _ => None,
        }
    }

    fn text(&self, names: [&str; 2]) -> Option<&str> {
        match self.property(names)? {
            SimpleValue::String(text) => Some(text),
            SimpleValue::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// The error that a status outside 2xx stands for.
    pub(crate) fn into_result(self) -> Result<Self> {
        match self.status() {
            Some(200..=299) => Ok(self),
            Some(status) => Err(conditions::from_status(
                status,
                self.text(["errorCondition", "error-condition"]),
                self.text(["statusDescription", "status-description"]),
            )),
            None => Err(Error::new(ErrorKind::Other, "the response carries no status")),
        }
    }
}

impl RpcLink {
    /// Opens the pair of links to `node`.
    pub(crate) async fn open(mut session: LinkSession, node: &str) -> Result<Self> {
        let client = format!("{node}-{}", Uuid::new_v4().simple());
        let sender = Sender::builder()
            .name(format!("{client}-requests"))
            .target(node)
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut session.handle)
            .await?;
        let receiver = Receiver::builder()
            .name(format!("{client}-responses"))
            .source(node)
            // The node sends answers to whoever has this address (AMQP Management, section 3.1).
            .target(client.as_str())
            .credit_mode(CreditMode::Auto(CREDIT))
            .auto_accept(true)
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut session.handle)
            .await?;
        let (calls, incoming) = mpsc::channel(64);
        let actor = Actor {
            session,
            sender,
            receiver,
            client,
            pending: HashMap::new(),
            next: 0,
        };
        tokio::spawn(actor.run(incoming));
        Ok(Self { calls })
    }

    /// Whether the links are gone and a new pair must be opened.
    pub(crate) fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Asks and waits for the answer, whatever its status. The caller bounds the wait.
    ///
    /// Cancellation: the request may or may not have been carried out; the link stays usable.
    pub(crate) async fn call(&self, request: Request) -> Result<Response> {
        let (reply, answer) = oneshot::channel();
        let lost = || Error::new(ErrorKind::LinkLost, "the link was lost before the answer came");
        self.calls.send(Call { request, reply }).await.map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }
}

type Outcomes = FuturesUnordered<BoxFuture<'static, (String, Result<Outcome, SendError>)>>;

struct Actor {
    session: LinkSession,
    sender: Sender,
    receiver: Receiver,
    client: String,
    pending: HashMap<String, oneshot::Sender<Result<Response>>>,
    next: u64,
}

impl Actor {
    async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut outcomes = Outcomes::new();
        let error = loop {
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => if let Err(error) = self.send(call, &mut outcomes).await { break Some(error) },
                    None => break None,
                },
                delivery = guard::receiving(self.receiver.recv::<Body<Value>>()) => match delivery {
                    Ok(Ok(delivery)) => self.answer(delivery.into_message()),
                    Ok(Err(error)) => break Some(error.into()),
                    Err(error) => break Some(error),
                },
                Some((id, outcome)) = outcomes.next() => self.on_outcome(&id, outcome),
                error = self.sender.on_detach() => break Some(error.into()),
            }
        };
        calls.close();
        if let Some(error) = error {
            tracing::debug!(%error, client = self.client, "request link lost");
            for (_, reply) in self.pending.drain() {
                let _ = reply.send(Err(error.clone()));
            }
        }
        link::close(self.session, Some(self.sender), Some(self.receiver)).await;
    }

    async fn send(&mut self, call: Call, outcomes: &mut Outcomes) -> Result<()> {
        if call.reply.is_closed() {
            return Ok(());
        }
        // Forget callers that have gone away, now and then.
        if self.pending.len() >= CREDIT as usize {
            self.pending.retain(|_, reply| !reply.is_closed());
        }
        self.next += 1;
        let id = self.next.to_string();
        let message = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: Some(Properties {
                message_id: Some(MessageId::String(id.clone())),
                reply_to: Some(self.client.clone()),
                ..Properties::default()
            }),
            application_properties: Some(call.request.properties),
            body: Body::Value(fe2o3_amqp::types::messaging::AmqpValue(call.request.body)),
            footer: None,
        };
        match self.sender.send_batchable(message).await {
            Ok(outcome) => {
                self.pending.insert(id.clone(), call.reply);
                outcomes.push(Box::pin(async move { (id, outcome.await) }));
                Ok(())
            }
            Err(error) => {
                let error = Error::from(error);
                let _ = call.reply.send(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn answer(&mut self, message: Message<Body<Value>>) {
        let id = match message.properties.and_then(|properties| properties.correlation_id) {
            Some(MessageId::String(id)) => id,
            Some(MessageId::Ulong(id)) => id.to_string(),
            _ => return,
        };
        if let Some(reply) = self.pending.remove(&id) {
            let body = match message.body {
                Body::Value(value) => value.0,
                _ => Value::Null,
            };
            let properties = message.application_properties.unwrap_or_default();
            let _ = reply.send(Ok(Response { properties, body }));
        }
    }

    /// A request that the node refused will never be answered.
    fn on_outcome(&mut self, id: &str, outcome: Result<Outcome, SendError>) {
        let error = match outcome {
            Ok(Outcome::Accepted(_)) => return,
            Ok(Outcome::Rejected(rejected)) => rejected.error.as_ref().map_or_else(
                || Error::new(ErrorKind::Other, "the request was rejected"),
                conditions::from_amqp,
            ),
            Ok(_) => Error::new(ErrorKind::ServiceUnavailable, "the request was handed back"),
            Err(error) => error.into(),
        };
        if let Some(reply) = self.pending.remove(id) {
            let _ = reply.send(Err(error));
        }
    }
}
