//! `<entity>/$management`: what goes beyond receiving and settling on a link.
//!
//! Operations and their fields are those of "AMQP 1.0 in Azure Service Bus: request-response-based
//! operations", in the service's documentation.

mod arguments;
mod locks;
mod messages;
mod rules;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use fe2o3_amqp_types::{
    messaging::{AmqpValue, ApplicationProperties, Body},
    primitives::SimpleValue,
};
use serde_amqp::{
    Value,
    primitives::{OrderedMap, Symbol},
};

use self::arguments::Arguments;
use super::session::SessionLinks;
use crate::{
    amqp::{Request, RequestHandler, RequestMessage, Right, Rights, error},
    servicebus::{BrokerError, NamespaceConfig, engine::HolderId, queue::Queue, topic::Topic},
};

/// There were no such messages.
const NOTHING_FOUND: &str = "com.microsoft:message-not-found";

/// What an operation answers: a body, or nothing to be had (status 204).
type Answer = Result<Option<OrderedMap<Value, Value>>, BrokerError>;

/// The management node of one entity.
pub(super) struct ManagementNode {
    queue: Arc<Queue>,
    /// Whose rules can be changed: topic and name, if the entity is a subscription.
    subscription: Option<(Arc<Topic>, String)>,
    limits: NamespaceConfig,
    /// What the client may do here.
    rights: Rights,
    sessions: Arc<SessionLinks>,
}

impl ManagementNode {
    pub(super) fn new(
        queue: Arc<Queue>,
        subscription: Option<(Arc<Topic>, String)>,
        limits: NamespaceConfig,
        rights: Rights,
        sessions: Arc<SessionLinks>,
    ) -> Self {
        Self {
            queue,
            subscription,
            limits,
            rights,
            sessions,
        }
    }

    fn perform(&self, request: &Request) -> Answer {
        let property = |name| property(request, name);
        let operation =
            operation(request).ok_or_else(|| BrokerError::Malformed("The request names no operation.".into()))?;
        self.check_right(operation)?;
        self.queue.usage().touch();
        let arguments = Arguments::read(&request.message)?;
        let holder = property("associated-link-name").and_then(|link| self.sessions.holder(request.connection, link));
        let call = Call {
            node: self,
            arguments,
            holder,
        };
        match operation {
            "renew-lock" => call.renew_lock(),
            "update-disposition" => call.update_disposition(),
            "schedule-message" => call.schedule_message(),
            "cancel-scheduled-message" => call.cancel_scheduled_message(),
            "peek-message" => call.peek_message(),
            "receive-by-sequence-number" => call.receive_by_sequence_number(),
            "renew-session-lock" => call.renew_session_lock(),
            "get-session-state" => call.get_session_state(),
            "set-session-state" => call.set_session_state(),
            "add-rule" => call.add_rule(),
            "remove-rule" => call.remove_rule(),
            "enumerate-rules" => call.enumerate_rules(),
            "batch-delete-messages" => call.batch_delete_messages(),
            "get-message-sessions" => call.get_message_sessions(),
            _ => Err(BrokerError::NotSupported(format!("The operation '{operation}'"))),
        }
    }

    /// Scheduling is sending; all else is for those who receive, rules of a subscription too: what the rule managers of the
    /// official clients are there for is that they need no more.
    fn check_right(&self, operation: &str) -> Result<(), BrokerError> {
        let needed = match operation {
            "schedule-message" | "cancel-scheduled-message" => Right::Send,
            _ => Right::Listen,
        };
        if self.rights.has(needed) {
            return Ok(());
        }
        Err(BrokerError::Unauthorized(error::lacking(needed, &self.queue.path())))
    }
}

/// One request, with what it is about.
struct Call<'a> {
    node: &'a ManagementNode,
    arguments: Arguments<'a>,
    /// The session receiver whose link the request is associated with.
    holder: Option<HolderId>,
}

impl Call<'_> {
    /// Who asks about a session: the receiver whose link is named. Clients that name none are taken
    /// for whoever holds the session.
    fn holder_of(&self, session: &str) -> Result<HolderId, BrokerError> {
        match self.holder {
            Some(holder) => Ok(holder),
            None => self.node.queue.session_holder(session),
        }
    }
}

#[async_trait]
impl RequestHandler for ManagementNode {
    async fn handle(&self, request: Request) -> RequestMessage {
        let answer = match self.perform(&request) {
            Ok(answer) => self.queue.kept().written().await.map(|()| answer),
            Err(why) => Err(why),
        };
        let mut properties = ApplicationProperties::default();
        let (code, description) = match &answer {
            Ok(Some(_)) => (200, "OK".to_owned()),
            Ok(None) => (204, "No content".to_owned()),
            Err(why) => (why.status_code(), why.to_string()),
        };
        properties.insert("statusCode".into(), SimpleValue::Int(code));
        properties.insert("statusDescription".into(), SimpleValue::String(description));
        let condition = match &answer {
            Err(why) => Some(why.condition()),
            // JavaScript's client takes nothing for an answer only with its reason.
            Ok(None) if operation(&request) == Some("batch-delete-messages") => Some(NOTHING_FOUND),
            Ok(_) => None,
        };
        if let Some(condition) = condition {
            let condition = SimpleValue::Symbol(Symbol::from(condition));
            properties.insert("errorCondition".into(), condition);
        }
        let body = match answer {
            Ok(Some(map)) => Value::Map(map),
            _ => Value::Null,
        };
        RequestMessage {
            header: None,
            delivery_annotations: None,
            message_annotations: None,
            properties: None,
            application_properties: Some(properties),
            body: Body::Value(AmqpValue(body)),
            footer: None,
        }
    }
}

fn operation(request: &Request) -> Option<&str> {
    let operation = property(request, "operation")?;
    Some(operation.strip_prefix("com.microsoft:").unwrap_or(operation))
}

fn property<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    match request.message.application_properties.as_ref()?.0.get(name)? {
        SimpleValue::String(text) => Some(text),
        _ => None,
    }
}

/// A body with one field.
fn field(name: &str, value: Value) -> OrderedMap<Value, Value> {
    let mut map = OrderedMap::new();
    map.insert(Value::String(name.into()), value);
    map
}
