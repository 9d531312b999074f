//! One lane: publishes what comes down it, in order, and sets aside what cannot be published.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lag::Page;
use super::parked::ParkedStreams;
use super::reader::Item;
use crate::dead_letter::DeadLetter;
use crate::error::{Error, ErrorKind, Result, chain};
use crate::leasing::{Completion, Ticket};
use crate::message::Message;
use crate::publisher::PublishError;

/// Dead-letter reason: the destination can never take this event.
pub const UNPUBLISHABLE: &str = "Unpublishable";
/// Dead-letter reason: an earlier event of the same stream was set aside.
pub const BEHIND_PARKED_EVENT: &str = "BehindParkedEvent";

/// What waits for a message to be dealt with.
type Waiting = (Ticket, OwnedSemaphorePermit);

pub(super) struct Lane {
    shared: Arc<Shared>,
    completion: Arc<Completion<Page>>,
    parked: Arc<ParkedStreams>,
    give_back: CancellationToken,
}

impl Lane {
    pub(super) fn new(
        shared: Arc<Shared>,
        completion: Arc<Completion<Page>>,
        parked: Arc<ParkedStreams>,
        give_back: CancellationToken,
    ) -> Self {
        Self {
            shared,
            completion,
            parked,
            give_back,
        }
    }

    /// Publishes what comes, as many messages at a time as wait there.
    ///
    /// When the range is to be given back it still publishes what is queued, but no longer waits for a
    /// broker that is away.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Item>) -> Result<()> {
        let mut items = Vec::new();
        while queue.recv_many(&mut items, self.shared.options.batch).await > 0 {
            let mut messages = Vec::with_capacity(items.len());
            let mut waiting = Vec::with_capacity(items.len());
            for Item { message, ticket, room } in items.drain(..) {
                messages.push(message);
                waiting.push((ticket, room));
            }
            if !self.publish(messages, waiting).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deals with all messages. `false` where that wasn't possible before the range was to be given back.
    async fn publish(&self, mut messages: Vec<Message>, mut waiting: Vec<Waiting>) -> Result<bool> {
        let mut delays = self.shared.options.retry.delays();
        loop {
            if !self.set_aside_those_behind(&mut messages, &mut waiting).await? {
                return Ok(false);
            }
            if messages.is_empty() {
                return Ok(true);
            }
            let (accepted, error) = match self.shared.publisher.publish(&messages).await {
                Ok(()) => (messages.len(), None),
                Err(PublishError { accepted, error }) => (accepted.min(messages.len()), Some(error)),
            };
            self.shared.published.fetch_add(accepted as u64, Ordering::Relaxed);
            messages.drain(..accepted);
            self.finish(waiting.drain(..accepted));
            let Some(error) = error else { continue };
            if accepted > 0 {
                delays = self.shared.options.retry.delays();
            }
            if !error.is_transient() {
                let why = self.blame(&messages, error)?;
                if !self.park(&messages[0], why).await? {
                    return Ok(false);
                }
                self.parked.stop(&messages.remove(0));
                self.finish(waiting.drain(..1));
                continue;
            }
            let wait = error
                .retry_after()
                .or_else(|| delays.next())
                .unwrap_or(Duration::from_secs(1));
            tracing::warn!(
                relay = self.shared.name,
                ?wait,
                error = chain(&error),
                "publish failed, trying again"
            );
            if !self.wait(wait).await {
                return Ok(false);
            }
        }
    }

    fn finish(&self, dealt_with: impl IntoIterator<Item = Waiting>) {
        for (ticket, _room) in dealt_with {
            self.completion.finish(ticket);
        }
    }

    /// Why the first message is set aside. Ends the relay where there is no place for it, or where no message
    /// is to blame: a topic that doesn't exist would have every event set aside.
    fn blame(&self, messages: &[Message], error: Error) -> Result<DeadLetter> {
        let its_fault = matches!(
            error.kind(),
            ErrorKind::TooLarge | ErrorKind::InvalidInput | ErrorKind::Corrupt
        );
        if !its_fault || self.shared.parking.is_none() || messages.is_empty() {
            return Err(error);
        }
        Ok(DeadLetter::new(UNPUBLISHABLE, chain(&error)))
    }

    /// Sets aside, in order, the messages of streams that were stopped before.
    async fn set_aside_those_behind(&self, messages: &mut Vec<Message>, waiting: &mut Vec<Waiting>) -> Result<bool> {
        while let Some(place) = self.parked.first_held(messages) {
            let message = messages.remove(place);
            let waits = waiting.remove(place);
            let why = DeadLetter::new(
                BEHIND_PARKED_EVENT,
                "an earlier event of the stream could not be published",
            );
            if !self.park(&message, why).await? {
                return Ok(false);
            }
            self.finish([waits]);
        }
        Ok(true)
    }

    /// Sets one message aside, however long that takes; `false` when the range is to be given back first.
    async fn park(&self, message: &Message, why: DeadLetter) -> Result<bool> {
        let Some(parking) = &self.shared.parking else {
            return Err(Error::new(ErrorKind::Other, "set aside", &message.id).with_message(
                "an earlier event of its stream was set aside, and now the relay has no parking: give it one",
            ));
        };
        let mut delays = self.shared.options.retry.delays();
        while let Err(error) = parking.set_aside(message, &why).await {
            self.shared.tolerate(error)?;
            if !self.wait(delays.next().unwrap_or(Duration::from_secs(1))).await {
                return Ok(false);
            }
        }
        self.parked.passed(message);
        tracing::error!(relay = self.shared.name, id = message.id, key = message.key, %why, "event set aside");
        Ok(true)
    }

    /// Waits before another try; `false` when there is to be none.
    async fn wait(&self, delay: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.give_back.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}
