//! The operations of an entity's `$management` node (Azure Service Bus AMQP request-response operations).

mod locks;
mod messages;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::types::messaging::ApplicationProperties;
use fe2o3_amqp::types::primitives::{Array, OrderedMap, SimpleValue, Value};
use tokio::sync::Mutex;

pub(crate) use self::locks::Renewal;
use crate::amqp::connection::AmqpConnection;
use crate::amqp::link;
use crate::amqp::rpc::{Request, Response, RpcLink};
use crate::amqp::values::{entry, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryOptions;
use crate::telemetry::Observer;

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
    observer: Observer,
    link: Mutex<Option<Arc<RpcLink>>>,
}

impl Management {
    pub(crate) fn new(connection: Arc<AmqpConnection>, entity: &str, retry: RetryOptions, observer: Observer) -> Self {
        Self {
            connection,
            entity: entity.to_owned(),
            retry,
            observer,
            link: Mutex::default(),
        }
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

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn with_session(body: &mut Map, session: Option<HeldSession<'_>>) {
    if let Some(session) = session {
        body.insert(text("session-id"), text(session.id));
    }
}

fn field<'a>(answer: &'a Response, name: &str) -> Option<&'a Value> {
    match &answer.body {
        Value::Map(body) => entry(body, name),
        _ => None,
    }
}

/// The items of a list or an array: peers use either.
fn items<'a>(answer: &'a Response, name: &str) -> Option<&'a [Value]> {
    match field(answer, name)? {
        Value::Array(array) => Some(array.0.as_slice()),
        Value::List(list) => Some(list.as_slice()),
        _ => None,
    }
}

/// One whole number each.
fn longs(numbers: &[i64]) -> Value {
    Value::Array(Array::from(
        numbers.iter().copied().map(Value::Long).collect::<Vec<_>>(),
    ))
}

fn malformed(operation: &'static str, entity: &str) -> Error {
    Error::new(ErrorKind::Other, "the response lacks what was asked for").during(operation, entity)
}
