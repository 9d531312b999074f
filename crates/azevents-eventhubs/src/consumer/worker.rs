//! One event until it is finished: handled, or parked.

use std::sync::Arc;

use azevents_core::error::chain;
use azevents_core::leasing::{Completion, Ticket};
use azevents_core::{DeadLetter, Delivery, Message, Pipeline, Settlement};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::position::Position;
use crate::message::{PARKED_OFFSET, PARKED_SEQUENCE_NUMBER, PARKED_SOURCE};

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
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) progress: Arc<Completion<Position>>,
    /// Cancelled when no further event is to be begun; the running one is finished.
    pub(super) halt: CancellationToken,
    /// Cancelled when the partition is no longer ours.
    pub(super) lost: CancellationToken,
}

impl Worker {
    pub(super) async fn run(self, mut lane: mpsc::Receiver<Received>) {
        loop {
            let received = tokio::select! {
                biased;
                () = self.halted() => return,
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
    async fn finish(&self, received: Received) -> bool {
        if let Some(why) = &received.undecodable {
            return self.park(&received, why).await;
        }
        let mut delays = self.shared.options.redelivery.delays();
        let mut count = 1;
        loop {
            let mut delivery = Delivery::new(count).lock_lost(self.lost.clone());
            if let Some(at) = received.enqueued_at {
                delivery = delivery.enqueued_at(at);
            }
            match self.pipeline.process(&received.message, &delivery).await {
                Settlement::Complete => return true,
                Settlement::DeadLetter(why) => return self.park(&received, &why).await,
                Settlement::Abandon => {
                    count = count.saturating_add(1);
                    if !self.wait(delays.next()).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Parks an event, for as long as it takes: a checkpoint must not pass it before.
    async fn park(&self, received: &Received, why: &DeadLetter) -> bool {
        let Shared {
            hub, group, parking, ..
        } = &*self.shared;
        let mut message = received.message.clone();
        let coordinates = [
            (PARKED_SOURCE, format!("eventhub/{hub}/{group}/{}", self.partition)),
            (PARKED_SEQUENCE_NUMBER, received.position.sequence_number.to_string()),
            (PARKED_OFFSET, received.position.offset.clone()),
        ];
        message
            .headers
            .extend(coordinates.map(|(name, value)| (name.to_owned(), value)));
        let mut delays = self.shared.options.redelivery.delays();
        loop {
            match parking.set_aside(&message, why).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(id = message.id, %why, error = chain(&error), "event could not be parked, trying again");
                }
            }
            if !self.wait(delays.next()).await {
                return false;
            }
        }
    }

    async fn halted(&self) {
        tokio::select! {
            () = self.halt.cancelled() => {}
            () = self.lost.cancelled() => {}
        }
    }

    /// Waits before another try. `false` if there is to be none.
    async fn wait(&self, delay: Option<std::time::Duration>) -> bool {
        tokio::select! {
            biased;
            () = self.halted() => false,
            () = tokio::time::sleep(delay.unwrap_or_default()) => true,
        }
    }
}
