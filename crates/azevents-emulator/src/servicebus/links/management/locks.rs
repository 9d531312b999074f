//! Renewing message locks, and settling without the link a message came on.

use serde_amqp::{
    Value,
    primitives::{Array, OrderedMap, Timestamp},
};

use super::{Answer, Call, field};
use crate::servicebus::{
    BrokerError, engine::Settlement, links::settlement::property_changes, message::PropertyChanges,
};

impl Call<'_> {
    pub(super) fn renew_lock(&self) -> Answer {
        let tokens = self.arguments.lock_tokens()?;
        let mut expirations = Vec::with_capacity(tokens.len());
        for token in tokens {
            let until = self.node.queue.renew_lock(token)?;
            expirations.push(Value::Timestamp(Timestamp::from_milliseconds(until.as_millis())));
        }
        Ok(Some(field("expirations", Value::Array(Array(expirations)))))
    }

    pub(super) fn update_disposition(&self) -> Answer {
        let properties = match self.arguments.get("properties-to-modify") {
            None => PropertyChanges::default(),
            Some(Value::Map(map)) => property_changes(map.iter().filter_map(|(name, value)| match name {
                Value::String(name) => Some((name.as_str(), value)),
                Value::Symbol(name) => Some((name.0.as_str(), value)),
                _ => None,
            }))?,
            Some(_) => {
                return Err(BrokerError::Malformed(
                    "The field 'properties-to-modify' must be a map.".into(),
                ));
            }
        };
        let text = |name| self.arguments.text(name).map(|text| text.map(str::to_owned));
        let settlement = match self.arguments.required_text("disposition-status")? {
            "completed" => Settlement::Complete,
            "abandoned" => Settlement::Abandon(properties),
            // The service's own spelling.
            "defered" => Settlement::Defer(properties),
            "suspended" => Settlement::DeadLetter {
                reason: text("deadletter-reason")?,
                description: text("deadletter-description")?,
                properties,
            },
            other => {
                return Err(BrokerError::Malformed(format!(
                    "'{other}' is not a disposition status."
                )));
            }
        };
        if let Some(session) = self.arguments.text("session-id")? {
            let holder = self.holder_of(session)?;
            if self.node.queue.session_holder(session)? != holder {
                return Err(BrokerError::SessionLockLost);
            }
        }
        for token in self.arguments.lock_tokens()? {
            self.node.queue.settle(token, &settlement)?;
        }
        Ok(Some(OrderedMap::new()))
    }
}
