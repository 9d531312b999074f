//! One event until it is finished: handled, or parked.

use std::sync::Arc;

use azevents_core::dead_letter::{PARKED_OFFSET, PARKED_SOURCE};
use azevents_core::leasing::{Completion, Delivered, Redelivery, Ticket};
use azevents_core::{DeadLetter, Message};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::Shared;
use super::position::Position;
use crate::message::PARKED_SEQUENCE_NUMBER;

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
        loop {
            let received = tokio::select! {
                biased;
                () = self.redelivery.halted() => return,
                received = lane.recv() => received,
            };
            let Some(received) = received else { return };
            let ticket = received.ticket;
            // An event left unfinished also ends its lane: what follows may have the same key.
            if !self.finish(received).await {
                return;
            }
            self.progress.finish(ticket);
        }
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
