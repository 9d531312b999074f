//! Another hub as the place for dead letters, and the way back.

use async_trait::async_trait;
use azevents_core::parked::unmark;
use azevents_core::{DeadLetter, DeadLetterSink, Delivery, Handled, Handler, HandlerError, Message, Publisher, Result};

use crate::publisher::EventHubPublisher;

/// Keeps dead letters in an event hub, with the reason in two headers, under the same key: those of one key lie in
/// order, in one partition. Mind the hub's retention: what is not redriven until then is gone.
#[derive(Debug)]
pub struct EventHubDeadLetters(EventHubPublisher);

impl EventHubDeadLetters {
    /// Dead letters through a publisher of your own.
    pub fn new(publisher: EventHubPublisher) -> Self {
        Self(publisher)
    }
}

#[async_trait]
impl DeadLetterSink for EventHubDeadLetters {
    async fn set_aside(&self, message: &Message, why: &DeadLetter) -> Result<()> {
        self.0
            .publish(&[why.mark(message)])
            .await
            .map_err(|failed| failed.error)
    }
}

/// A handler that publishes what was parked again, without the marks of parking.
///
/// Run a [`Consumer`](azevents_core::Consumer) of the parking lot with it (of a hub, in a group for this purpose): each event is
/// published and acknowledged before the next one of its key, and only then passed by a checkpoint. So they arrive in
/// order per key, none is lost, and after a crash some arrive twice.
pub struct Redrive<P> {
    publisher: P,
}

impl<P: Publisher> Redrive<P> {
    /// Publishes to where the events were before.
    pub fn new(publisher: P) -> Self {
        Self { publisher }
    }
}

#[async_trait]
impl<P: Publisher> Handler for Redrive<P> {
    async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
        let mut message = message.clone();
        unmark(&mut message);
        match self.publisher.publish(&[message]).await {
            Ok(()) => Ok(Handled::Done),
            Err(failed) => Err(failed.error.into()),
        }
    }
}
