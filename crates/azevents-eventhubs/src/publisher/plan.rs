//! What one call sends on one lane, and what came of it.

use std::collections::HashMap;

use azevents_core::{Error, ErrorKind, Message, PublishError};
use azure_core_amqp::AmqpMessage;

use crate::message::encode;

/// An encoded message and its place in the caller's slice.
pub(super) struct Outgoing {
    pub(super) index: usize,
    pub(super) id: String,
    /// As core counts it, for error texts.
    pub(super) size: usize,
    pub(super) message: AmqpMessage,
}

/// Messages of one key, in order.
pub(super) struct Run {
    pub(super) key: String,
    pub(super) messages: Vec<Outgoing>,
}

/// The runs of one lane, in the order their keys first appear.
#[derive(Default)]
pub(super) struct Plan {
    runs: Vec<Run>,
    by_key: HashMap<String, usize>,
}

impl Plan {
    pub(super) fn add(&mut self, index: usize, message: &Message) {
        let run = *self.by_key.entry(message.key.clone()).or_insert_with(|| {
            self.runs.push(Run {
                key: message.key.clone(),
                messages: Vec::new(),
            });
            self.runs.len() - 1
        });
        let outgoing = Outgoing {
            index,
            id: message.id.clone(),
            size: message.size(),
            message: encode(message),
        };
        self.runs[run].messages.push(outgoing);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn into_runs(self) -> Vec<Run> {
        self.runs
    }
}

/// What one lane has done.
#[derive(Default)]
pub(super) struct Sent {
    /// Indexes that the service has acknowledged.
    pub(super) acknowledged: Vec<usize>,
    /// Messages that can never be sent.
    pub(super) refused: Vec<(usize, Error)>,
    /// Why the lane gave up on the rest.
    pub(super) stopped: Option<Error>,
}

/// What all lanes have done, in terms of the caller's slice.
pub(super) struct Report {
    acknowledged: Vec<bool>,
    refused: HashMap<usize, Error>,
    stopped: Option<Error>,
}

impl Report {
    pub(super) fn new(messages: usize) -> Self {
        Self {
            acknowledged: vec![false; messages],
            refused: HashMap::new(),
            stopped: None,
        }
    }

    pub(super) fn merge(&mut self, sent: Sent) {
        for index in sent.acknowledged {
            self.acknowledged[index] = true;
        }
        self.refused.extend(sent.refused);
        if let Some(error) = sent.stopped {
            self.stopped(error);
        }
    }

    pub(super) fn stopped(&mut self, error: Error) {
        self.stopped.get_or_insert(error);
    }

    /// The answer to the caller: the first message that was not acknowledged decides, so that a
    /// permanent error always stands for the message at `accepted`.
    pub(super) fn into_result(mut self, hub: &str) -> Result<(), PublishError> {
        let Some(accepted) = self.acknowledged.iter().position(|done| !done) else {
            return Ok(());
        };
        let error = self.refused.remove(&accepted).or(self.stopped).unwrap_or_else(|| {
            Error::new(ErrorKind::OutcomeUnknown, "publish", hub).with_message("a lane ended without an answer")
        });
        Err(PublishError::after(accepted, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "publish", "hub")
    }

    fn result(
        messages: usize,
        acknowledged: &[usize],
        refused: Option<usize>,
        stopped: bool,
    ) -> Option<(usize, ErrorKind)> {
        let mut report = Report::new(messages);
        report.merge(Sent {
            acknowledged: acknowledged.to_vec(),
            refused: refused
                .map(|index| (index, error(ErrorKind::TooLarge)))
                .into_iter()
                .collect(),
            stopped: stopped.then(|| error(ErrorKind::Unavailable)),
        });
        report.into_result("hub").err().map(|e| (e.accepted, e.error.kind()))
    }

    #[test]
    fn accepted_is_the_length_of_the_acknowledged_beginning() {
        assert_eq!(result(3, &[0, 1, 2], None, false), None);
        assert_eq!(result(4, &[0, 2, 3], None, true), Some((1, ErrorKind::Unavailable)));
    }

    #[test]
    fn a_permanent_error_always_blames_the_message_at_accepted() {
        assert_eq!(result(3, &[0, 2], Some(1), false), Some((1, ErrorKind::TooLarge)));
        // Message 0 may well go through next time; only then is it message 1's turn.
        assert_eq!(result(3, &[2], Some(1), true), Some((0, ErrorKind::Unavailable)));
    }

    #[test]
    fn messages_of_a_key_form_one_run_in_order() {
        let message = |key: &str, id: &str| Message {
            id: id.into(),
            key: key.into(),
            event_type: String::new(),
            content_type: String::new(),
            body: bytes::Bytes::new(),
            headers: std::collections::BTreeMap::new(),
        };
        let mut plan = Plan::default();
        for (index, (key, id)) in [("a", "1"), ("b", "2"), ("a", "3")].into_iter().enumerate() {
            plan.add(index, &message(key, id));
        }
        let runs: Vec<_> = plan
            .into_runs()
            .into_iter()
            .map(|run| (run.key, run.messages.iter().map(|m| m.index).collect::<Vec<_>>()))
            .collect();
        assert_eq!(runs, [("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![1])]);
    }
}
