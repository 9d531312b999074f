//! What stands in the place of telemetry where it is not compiled: nothing.

use std::borrow::Cow;

use crate::client::ClientOptions;
use crate::connection_string::Endpoint;
use crate::error::Result;
use crate::message::{MessageBatch, ReceivedMessage, ServiceBusMessage};
use crate::receiver::Settlement;

#[derive(Debug, Clone)]
pub(crate) struct Observer;

#[derive(Debug)]
pub(crate) struct Watched;

#[derive(Debug)]
pub(crate) struct Receiving;

#[derive(Debug, Clone, Default)]
pub(crate) struct Creation(());

#[expect(clippy::unused_self, reason = "as its twin that does something")]
impl Observer {
    pub(crate) fn new(_: &ClientOptions, _: &Endpoint) -> Self {
        Self
    }

    pub(crate) fn sending(&self, _: &'static str, _: &str, _: &[ServiceBusMessage]) -> Watched {
        Watched
    }

    pub(crate) fn sending_batch(&self, _: &str, _: &MessageBatch) -> Watched {
        Watched
    }

    pub(crate) fn creation(&self, _: &str) -> Creation {
        Creation(())
    }

    pub(crate) fn settling(&self, _: &Settlement, _: &str, _: &ReceivedMessage) -> Watched {
        Watched
    }

    pub(crate) fn other(&self, _: &'static str, _: &str, _: usize) -> Watched {
        Watched
    }

    pub(crate) fn receiving(&self, _: &'static str, _: &str) -> Receiving {
        Receiving
    }
}

#[expect(clippy::unused_self, reason = "as its twin that does something")]
impl Watched {
    pub(crate) fn stamped<'a>(&self, messages: &'a [ServiceBusMessage]) -> Cow<'a, [ServiceBusMessage]> {
        Cow::Borrowed(messages)
    }

    pub(crate) fn watch<F: Future>(self, future: F) -> F {
        future
    }
}

#[expect(clippy::unused_self, reason = "as its twin that does something")]
impl Receiving {
    pub(crate) fn end(self, _: &Result<Vec<ReceivedMessage>>) {}
}

#[expect(clippy::unused_self, reason = "as its twin that does something")]
impl Creation {
    pub(crate) fn stamped(&self, _: &ServiceBusMessage) -> Option<ServiceBusMessage> {
        None
    }

    pub(crate) fn added(&mut self, _: &ServiceBusMessage) {}
}
