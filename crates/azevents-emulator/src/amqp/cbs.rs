//! The `$cbs` node: takes tokens (AMQP Claims-based Security 1.0, draft 1, section 5; "Service Bus
//! AMQP protocol guide", claims-based authorization).

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use fe2o3_amqp_types::{
    messaging::{AmqpValue, ApplicationProperties, Body, Message},
    primitives::{OrderedMap, SimpleValue},
};
use serde_amqp::Value;

use super::{
    Credential, Request, RequestHandler, RequestMessage,
    connection::Connection,
    error::{self, Error},
};

/// The official Rust client takes no other status for success, all others take this one too.
const ACCEPTED: i32 = 202;
const BAD_REQUEST: i32 = 400;
const UNAUTHORIZED: i32 = 401;
const FORBIDDEN: i32 = 403;

/// The address of an entity is shorter: its name has at most 260 characters, a subscription's 50 more.
const MAX_AUDIENCE: usize = 2048;

/// Takes the tokens of one connection.
pub(super) struct CbsNode {
    connection: Weak<Connection>,
}

impl CbsNode {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        Self {
            connection: Arc::downgrade(connection),
        }
    }
}

#[async_trait]
impl RequestHandler for CbsNode {
    async fn handle(&self, request: Request) -> RequestMessage {
        let credential = match credential(&request.message) {
            Ok(credential) => credential,
            Err(why) => return status(BAD_REQUEST, &why),
        };
        let Some(connection) = self.connection.upgrade() else {
            return status(BAD_REQUEST, "The connection is gone.");
        };
        let granted = connection
            .service()
            .authorize(&credential)
            .map(|grant| connection.grant(grant));
        match granted {
            Ok(Ok(())) => status(ACCEPTED, "Accepted"),
            Ok(Err(Error { description, .. })) => status(FORBIDDEN, description.as_deref().unwrap_or("Forbidden")),
            Err(Error { description, .. }) => status(UNAUTHORIZED, description.as_deref().unwrap_or("Unauthorized")),
        }
    }
}

/// Reads a put-token request.
fn credential(message: &RequestMessage) -> Result<Credential, String> {
    let property = |name: &str| {
        let properties = message.application_properties.as_ref()?;
        match properties.0.get(name)? {
            SimpleValue::String(text) => Some(text.clone()),
            SimpleValue::Symbol(symbol) => Some(symbol.as_str().to_owned()),
            _ => None,
        }
    };
    let operation = property("operation").unwrap_or_default();
    if operation != "put-token" {
        return Err(format!("$cbs has no operation '{operation}'."));
    }
    let audience = property("name").ok_or("put-token needs the property 'name'.")?;
    if audience.len() > MAX_AUDIENCE {
        return Err(format!("put-token's 'name' is longer than {MAX_AUDIENCE} bytes."));
    }
    let Body::Value(AmqpValue(Value::String(token))) = &message.body else {
        return Err("put-token needs the token as a string value in the body.".to_owned());
    };
    let token = token.clone();
    match property("type").as_deref() {
        // The Python clients announce their signatures as `jwt`.
        Some("jwt") if token.starts_with("SharedAccessSignature ") => Ok(Credential::Sas { audience, token }),
        Some("jwt") => Ok(Credential::Jwt { audience, token }),
        Some("servicebus.windows.net:sastoken") => Ok(Credential::Sas { audience, token }),
        other => Err(format!(
            "'{}' is not a type of token; 'jwt' and 'servicebus.windows.net:sastoken' are.",
            other.unwrap_or("")
        )),
    }
}

fn status(code: i32, description: &str) -> RequestMessage {
    let mut properties = OrderedMap::new();
    properties.insert("status-code".to_owned(), SimpleValue::Int(code));
    properties.insert(
        "status-description".to_owned(),
        SimpleValue::String(description.to_owned()),
    );
    if code == UNAUTHORIZED {
        let condition = serde_amqp::primitives::Symbol::from(error::UNAUTHORIZED_ACCESS);
        properties.insert("error-condition".to_owned(), SimpleValue::Symbol(condition));
    }
    Message::builder()
        .application_properties(ApplicationProperties(properties))
        .body(Body::Empty)
        .build()
}
