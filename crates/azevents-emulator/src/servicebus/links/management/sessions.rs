//! Session locks, session state, and which sessions there are.

use fe2o3_amqp_types::primitives::Binary;
use serde_amqp::{
    Value,
    primitives::{Array, OrderedMap, Timestamp},
};

use super::{Answer, Call, field};
use crate::servicebus::BrokerError;

impl Call<'_> {
    pub(super) fn renew_session_lock(&self) -> Answer {
        let session = self.arguments.required_text("session-id")?;
        let holder = self.holder_of(session)?;
        let until = self.node.queue.renew_session(session, holder)?;
        let until = Timestamp::from_milliseconds(until.as_millis());
        Ok(Some(field("expiration", Value::Timestamp(until))))
    }

    pub(super) fn get_session_state(&self) -> Answer {
        let session = self.arguments.required_text("session-id")?;
        let holder = self.holder_of(session)?;
        let state = match self.node.queue.session_state(session, holder)? {
            Some(state) => Value::Binary(Binary::from(state.to_vec())),
            None => Value::Null,
        };
        Ok(Some(field("session-state", state)))
    }

    pub(super) fn set_session_state(&self) -> Answer {
        let session = self.arguments.required_text("session-id")?;
        let holder = self.holder_of(session)?;
        let state = self.arguments.binary("session-state")?;
        self.node.queue.set_session_state(session, holder, state)?;
        Ok(Some(OrderedMap::new()))
    }

    pub(super) fn get_message_sessions(&self) -> Answer {
        let number = |name| {
            let value = self.arguments.required_integer(name)?;
            usize::try_from(value).map_err(|_| BrokerError::Malformed(format!("'{name}' is negative.")))
        };
        let (skip, top) = (number("skip")?, number("top")?);
        let ids = self.node.queue.session_ids(skip, top);
        if ids.is_empty() {
            return Ok(None);
        }
        let next = i32::try_from(skip + ids.len()).unwrap_or(i32::MAX);
        let ids = ids.iter().map(|id| Value::String(id.to_string())).collect();
        let mut answer = field("skip", Value::Int(next));
        // The plural of "session" is the service's own.
        answer.insert(Value::String("sessions-ids".into()), Value::Array(Array(ids)));
        Ok(Some(answer))
    }
}
