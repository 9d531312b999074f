//! Outcomes on the wire and what they mean to the broker.

use fe2o3_amqp_types::{
    definitions::{ErrorCondition, Fields},
    messaging::{DeliveryState, Rejected},
};
use serde_amqp::{Value, primitives::Symbol};

use crate::servicebus::{BrokerError, engine::Settlement, message::PropertyChanges};

/// What a receiver's outcome asks for; `None` for a state that is no outcome.
///
/// The mapping is the one of the service's AMQP protocol guide.
pub(super) fn from_state(state: &DeliveryState) -> Result<Option<Settlement>, BrokerError> {
    Ok(Some(match state {
        DeliveryState::Accepted(_) => Settlement::Complete,
        DeliveryState::Released(_) => Settlement::Release,
        DeliveryState::Modified(modified) => {
            let changes = match &modified.message_annotations {
                Some(fields) => changes(fields, &[])?,
                None => PropertyChanges::default(),
            };
            if modified.undeliverable_here == Some(true) {
                Settlement::Defer(changes)
            } else {
                Settlement::Abandon(changes)
            }
        }
        DeliveryState::Rejected(rejected) => dead_letter(rejected)?,
        DeliveryState::Received(_) => return Ok(None),
        DeliveryState::Declared(_) | DeliveryState::TransactionalState(_) => {
            return Err(BrokerError::Malformed("This state is no outcome.".into()));
        }
    }))
}

/// What the broker answers once the outcome holds: the same outcome, without the reason in it,
/// which clients would take for a failure.
pub(super) fn confirmation(state: DeliveryState) -> DeliveryState {
    match state {
        DeliveryState::Rejected(_) => DeliveryState::Rejected(Rejected { error: None }),
        other => other,
    }
}

/// What the broker answers where the outcome can't be had.
pub(super) fn refusal(error: BrokerError) -> DeliveryState {
    DeliveryState::Rejected(Rejected {
        error: Some(error.into()),
    })
}

const REASON: &str = "DeadLetterReason";
const DESCRIPTION: &str = "DeadLetterErrorDescription";

fn dead_letter(rejected: &Rejected) -> Result<Settlement, BrokerError> {
    let Some(error) = &rejected.error else {
        return Ok(Settlement::DeadLetter {
            reason: None,
            description: None,
            properties: PropertyChanges::default(),
        });
    };
    let info = error.info.as_deref();
    let text = |name: &str| match info.and_then(|info| info.get(&Symbol::from(name))) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    // A client that rejects with an error of its own gets that kept as the reason.
    let own = match &error.condition {
        ErrorCondition::Custom(condition) if condition.0 == "com.microsoft:dead-letter" => None,
        other => Some(condition_text(other)),
    };
    Ok(Settlement::DeadLetter {
        reason: text(REASON).or(own),
        description: text(DESCRIPTION).or_else(|| error.description.clone()),
        properties: match info {
            Some(fields) => changes(fields, &[REASON, DESCRIPTION])?,
            None => PropertyChanges::default(),
        },
    })
}

fn condition_text(condition: &ErrorCondition) -> String {
    let symbol = match condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
        ErrorCondition::TransactionError(condition) => Symbol::from(condition),
    };
    symbol.0
}

fn changes(fields: &Fields, except: &[&str]) -> Result<PropertyChanges, BrokerError> {
    let pairs = fields.iter().map(|(name, value)| (name.0.as_str(), value));
    property_changes(pairs.filter(|(name, _)| !except.contains(name)))
}

/// Encodes properties to set.
pub(super) fn property_changes<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<PropertyChanges, BrokerError> {
    let mut changes = PropertyChanges::default();
    for (name, value) in pairs {
        if matches!(value, Value::List(_) | Value::Map(_) | Value::Array(_)) {
            return Err(BrokerError::Malformed(format!(
                "The application property '{name}' is not of a simple type."
            )));
        }
        let encoded = serde_amqp::to_vec(value)
            .map_err(|why| BrokerError::Malformed(format!("The property '{name}': {why}.")))?;
        changes.set_encoded(name, encoded.into());
    }
    Ok(changes)
}
