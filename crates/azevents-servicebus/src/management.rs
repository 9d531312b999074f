//! The operations of an entity's `$management` node (Azure Service Bus AMQP request-response operations).

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::types::messaging::ApplicationProperties;
use fe2o3_amqp::types::primitives::{Array, Binary, OrderedMap, SimpleValue, Uuid as AmqpUuid, Value};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::amqp::connection::AmqpConnection;
use crate::amqp::link;
use crate::amqp::rpc::{Request, Response, RpcLink};
use crate::amqp::values::{entry, instant, integer, map, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{ReceivedMessage, ServiceBusMessage, wire};
use crate::retry::RetryOptions;

type Map = OrderedMap<Value, Value>;

/// What a settlement through `$management` makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DispositionStatus {
    Completed,
    Abandoned,
    /// Spelled with one r on the wire.
    Deferred,
    Suspended,
}

impl DispositionStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::Deferred => "defered",
            Self::Suspended => "suspended",
        }
    }
}

/// A session and the link that holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldSession<'a> {
    pub(crate) id: &'a str,
    pub(crate) link: &'a str,
}

/// The management node of one entity, over one pair of links that is opened by the first use.
#[derive(Debug)]
pub(crate) struct Management {
    connection: Arc<AmqpConnection>,
    entity: String,
    retry: RetryOptions,
    link: Mutex<Option<Arc<RpcLink>>>,
}

impl Management {
    pub(crate) fn new(connection: Arc<AmqpConnection>, entity: &str, retry: RetryOptions) -> Self {
        Self {
            connection,
            entity: entity.to_owned(),
            retry,
            link: Mutex::default(),
        }
    }

    /// Renews a message's lock; gives its new end.
    pub(crate) async fn renew_lock(&self, token: Uuid) -> Result<OffsetDateTime> {
        let body = map([("lock-tokens", uuids([token]))]);
        let answer = self.call("renew lock", "com.microsoft:renew-lock", body, None).await?;
        let end = match field(&answer, "expirations") {
            Some(Value::Array(array)) => array.0.first().and_then(instant),
            Some(Value::List(list)) => list.first().and_then(instant),
            _ => None,
        };
        end.ok_or_else(|| malformed("renew lock", &self.entity))
    }

    pub(crate) async fn renew_session_lock(&self, session: HeldSession<'_>) -> Result<OffsetDateTime> {
        let body = map([("session-id", Value::String(session.id.to_owned()))]);
        let answer = self
            .call(
                "renew session lock",
                "com.microsoft:renew-session-lock",
                body,
                Some(session),
            )
            .await?;
        field(&answer, "expiration")
            .and_then(instant)
            .ok_or_else(|| malformed("renew session lock", &self.entity))
    }

    pub(crate) async fn session_state(&self, session: HeldSession<'_>) -> Result<Option<Vec<u8>>> {
        let body = map([("session-id", Value::String(session.id.to_owned()))]);
        let answer = self
            .call(
                "get session state",
                "com.microsoft:get-session-state",
                body,
                Some(session),
            )
            .await?;
        Ok(match field(&answer, "session-state") {
            Some(Value::Binary(state)) => Some(state.to_vec()),
            _ => None,
        })
    }

    pub(crate) async fn set_session_state(&self, session: HeldSession<'_>, state: Option<&[u8]>) -> Result<()> {
        let state = state.map_or(Value::Null, |state| Value::Binary(Binary::from(state.to_vec())));
        let body = map([
            ("session-id", Value::String(session.id.to_owned())),
            ("session-state", state),
        ]);
        self.call(
            "set session state",
            "com.microsoft:set-session-state",
            body,
            Some(session),
        )
        .await
        .map(drop)
    }

    /// Settles a message whose link was lost; its lock outlives the link.
    pub(crate) async fn update_disposition(
        &self,
        token: Uuid,
        status: DispositionStatus,
        dead_letter: Option<(&str, &str)>,
    ) -> Result<()> {
        let mut body = map([
            ("disposition-status", Value::String(status.as_str().to_owned())),
            ("lock-tokens", uuids([token])),
        ]);
        if let Some((reason, description)) = dead_letter {
            let text = |text: &str| Value::String(text.to_owned());
            body.insert(text("deadletter-reason"), text(reason));
            body.insert(text("deadletter-description"), text(description));
        }
        self.call("settle", "com.microsoft:update-disposition", body, None)
            .await
            .map(drop)
    }

    /// Looks at up to `count` messages from a sequence number on, without receiving them.
    pub(crate) async fn peek(
        &self,
        from: i64,
        count: u32,
        session: Option<HeldSession<'_>>,
    ) -> Result<Vec<ReceivedMessage>> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let mut body = map([
            ("from-sequence-number", Value::Long(from)),
            ("message-count", Value::Int(count)),
        ]);
        with_session(&mut body, session);
        let answer = self.call("peek", "com.microsoft:peek-message", body, session).await?;
        messages(&answer)?
            .map(|(bytes, _)| Ok(wire::from_amqp(wire::decode(bytes)?, None, None)))
            .collect()
    }

    /// Receives deferred messages, with a lock each.
    pub(crate) async fn receive_deferred(
        &self,
        sequence_numbers: &[i64],
        peek_lock: bool,
        session: Option<HeldSession<'_>>,
    ) -> Result<Vec<ReceivedMessage>> {
        let numbers = Array::from(sequence_numbers.iter().copied().map(Value::Long).collect::<Vec<_>>());
        let mut body = map([
            ("sequence-numbers", Value::Array(numbers)),
            // As in attach: 0 settles first, 1 second.
            ("receiver-settle-mode", Value::Uint(peek_lock.into())),
        ]);
        with_session(&mut body, session);
        let answer = self
            .call(
                "receive deferred",
                "com.microsoft:receive-by-sequence-number",
                body,
                session,
            )
            .await?;
        messages(&answer)?
            .map(|(bytes, entry)| {
                let token = match entry.and_then(|entry| self::entry(entry, "lock-token")) {
                    Some(Value::Uuid(token)) if peek_lock => Some(Uuid::from_bytes(*token.as_inner())),
                    _ => None,
                };
                Ok(wire::from_amqp(wire::decode(bytes)?, token, None))
            })
            .collect()
    }

    pub(crate) async fn schedule(&self, message: &ServiceBusMessage, at: OffsetDateTime) -> Result<i64> {
        let message = message.clone().with_scheduled_enqueue_time(at);
        let text = |text: &str| Value::String(text.to_owned());
        let mut item = map([(
            "message",
            Value::Binary(Binary::from(wire::encode(&wire::to_amqp(&message))?)),
        )]);
        // The id is required; the service goes by it for duplicate detection.
        let id = message
            .message_id
            .clone()
            .unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        item.insert(text("message-id"), Value::String(id));
        if let Some(session) = &message.session_id {
            item.insert(text("session-id"), text(session));
        }
        if let Some(key) = &message.partition_key {
            item.insert(text("partition-key"), text(key));
        }
        let body = map([("messages", Value::List(vec![Value::Map(item)]))]);
        let answer = self
            .call("schedule", "com.microsoft:schedule-message", body, None)
            .await?;
        let number = match field(&answer, "sequence-numbers") {
            Some(Value::Array(array)) => array.0.first().and_then(integer),
            Some(Value::List(list)) => list.first().and_then(integer),
            _ => None,
        };
        number.ok_or_else(|| malformed("schedule", &self.entity))
    }

    pub(crate) async fn cancel_scheduled(&self, sequence_number: i64) -> Result<()> {
        let numbers = Value::Array(Array::from(vec![Value::Long(sequence_number)]));
        let body = map([("sequence-numbers", numbers)]);
        self.call("cancel scheduled", "com.microsoft:cancel-scheduled-message", body, None)
            .await
            .map(drop)
    }

    async fn call(
        &self,
        operation: &'static str,
        name: &str,
        body: Map,
        session: Option<HeldSession<'_>>,
    ) -> Result<Response> {
        let mut properties = ApplicationProperties::builder()
            .insert("operation", name)
            .insert(
                "com.microsoft:server-timeout",
                SimpleValue::Uint(millis(self.server_timeout())),
            )
            .build();
        if let Some(session) = session {
            properties.insert(
                "associated-link-name".to_owned(),
                SimpleValue::String(session.link.to_owned()),
            );
        }
        let request = Request {
            properties,
            body: Value::Map(body),
        };
        self.retry
            .run(operation, &self.entity, || async {
                // Boxed, as opening is large and happens once.
                let link = Box::pin(self.link()).await?;
                link.call(request.clone()).await?.into_result()
            })
            .await
    }

    /// A little less than our own patience, so that the service's answer is heard.
    fn server_timeout(&self) -> Duration {
        let allowance = (self.retry.try_timeout / 10).min(Duration::from_secs(1));
        self.retry.try_timeout.saturating_sub(allowance)
    }

    async fn link(&self) -> Result<Arc<RpcLink>> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| !link.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let (connection, entity) = (Arc::clone(&self.connection), self.entity.clone());
        let open = async move {
            let session = connection.session_for(&entity).await?;
            RpcLink::open(session, &format!("{entity}/$management")).await
        };
        let opened = Arc::new(link::to_its_end(open).await?);
        *link = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

fn uuids<const N: usize>(ids: [Uuid; N]) -> Value {
    Value::Array(Array::from(
        ids.map(|id| Value::Uuid(AmqpUuid::from(id.into_bytes()))).to_vec(),
    ))
}

fn with_session(body: &mut Map, session: Option<HeldSession<'_>>) {
    if let Some(session) = session {
        body.insert(
            Value::String("session-id".to_owned()),
            Value::String(session.id.to_owned()),
        );
    }
}

fn field<'a>(answer: &'a Response, name: &str) -> Option<&'a Value> {
    match &answer.body {
        Value::Map(body) => entry(body, name),
        _ => None,
    }
}

/// The encoded messages of a response, each with the map it stood in; 204 has none.
fn messages(answer: &Response) -> Result<impl Iterator<Item = (&[u8], Option<&Map>)>> {
    let list = match field(answer, "messages") {
        Some(Value::List(list)) => list.as_slice(),
        Some(Value::Array(array)) => array.0.as_slice(),
        None if answer.status() == Some(204) => &[],
        None => &[],
        Some(_) => return Err(Error::new(ErrorKind::Other, "the response holds no list of messages")),
    };
    Ok(list.iter().filter_map(|item| match item {
        Value::Map(item) => match entry(item, "message") {
            Some(Value::Binary(bytes)) => Some((bytes.as_slice(), Some(item))),
            _ => None,
        },
        _ => None,
    }))
}

fn malformed(operation: &'static str, entity: &str) -> Error {
    Error::new(ErrorKind::Other, "the response lacks what was asked for").during(operation, entity)
}
