//! Events until they are finished: handled, at once or one by one, or parked.

use std::pin::pin;
use std::sync::Arc;

use azevents_core::dead_letter::{PARKED_OFFSET, PARKED_SEQUENCE_NUMBER, PARKED_SOURCE};
use azevents_core::gather::Gather;
use azevents_core::leasing::{Completion, Delivered, Redelivery, Ticket};
use azevents_core::{BatchLimits, DeadLetter, Message};
use futures::stream;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::Shared;
use super::position::Position;

/// An event on its way to the handler.
pub(super) struct Received {
    pub(super) ticket: Ticket,
    pub(super) position: Position,
    pub(super) message: Message,
    pub(super) enqueued_at: Option<OffsetDateTime>,
    /// Set when the event cannot even be decoded.
    pub(super) undecodable: Option<DeadLetter>,
}

/// Works through one lane.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: Arc<str>,
    pub(super) progress: Arc<Completion<Position>>,
    pub(super) redelivery: Redelivery,
}

impl Worker {
    pub(super) async fn run(self, mut lane: mpsc::Receiver<Received>) {
        let lane = stream::poll_fn(move |cx| lane.poll_recv(cx));
        let limits = self.redelivery.pipeline.batch_limits();
        let limits = limits.unwrap_or(BatchLimits::default().with_messages(1));
        let mut lane = Gather::new(lane, limits, |received: &Received| received.message.size());
        let mut halted = pin!(self.redelivery.halted());
        loop {
            let batch = tokio::select! {
                biased;
                () = &mut halted => return,
                batch = lane.next() => batch,
            };
            let Some(batch) = batch else { return };
            // An event left unfinished also ends its lane: what follows may have the same key.
            if !self.finish_all(batch).await {
                return;
            }
        }
    }

    /// Finishes events at once where that works, else one by one. `false` if one of them is unfinished.
    async fn finish_all(&self, batch: Vec<Received>) -> bool {
        let at_once = self.at_once(&batch).await;
        for received in batch {
            let ticket = received.ticket;
            if !at_once && (self.redelivery.is_halted() || !self.finish(received).await) {
                return false;
            }
            self.progress.finish(ticket);
        }
        true
    }

    async fn at_once(&self, batch: &[Received]) -> bool {
        let takes_batches = self.redelivery.pipeline.batch_limits().is_some();
        if !takes_batches || batch.iter().any(|received| received.undecodable.is_some()) {
            return false;
        }
        let messages: Vec<_> = batch.iter().map(|received| &received.message).collect();
        self.redelivery.deliver_batch(&messages, batch[0].enqueued_at).await
    }

    /// Handles or parks an event. `false` if neither was possible before the partition was lost or the
    /// consumer stopped.
    async fn finish(&self, mut received: Received) -> bool {
        let delivered = match received.undecodable.take() {
            Some(why) => Delivered::DeadLetter(why),
            None => self.redelivery.deliver(&received.message, received.enqueued_at).await,
        };
        match delivered {
            Delivered::Handled => true,
            Delivered::DeadLetter(why) => self.park(received, &why).await,
            Delivered::Halted => false,
        }
    }

    /// Parks an event, with where it came from.
    async fn park(&self, received: Received, why: &DeadLetter) -> bool {
        let Shared { hub, group, .. } = &*self.shared;
        let Received {
            position, mut message, ..
        } = received;
        let coordinates = [
            (PARKED_SOURCE, format!("eventhub/{hub}/{group}/{}", self.partition)),
            (PARKED_SEQUENCE_NUMBER, position.sequence_number.to_string()),
            (PARKED_OFFSET, position.offset),
        ];
        message
            .headers
            .extend(coordinates.map(|(name, value)| (name.to_owned(), value)));
        self.redelivery.park(&message, why).await
    }
}
