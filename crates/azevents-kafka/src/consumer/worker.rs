//! One record until it is finished: handled, or parked.

use std::sync::Arc;

use azevents_core::error::chain;
use azevents_core::leasing::Ticket;
use azevents_core::{DeadLetter, Delivery, Message, Settlement};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::completion::Completion;
use super::session::Session;
use crate::message::{PARKED_OFFSET, PARKED_SOURCE};

/// A record on its way to the handler.
pub(super) struct Received {
    pub(super) offset: i64,
    pub(super) message: Message,
    pub(super) enqueued_at: Option<OffsetDateTime>,
}

/// Works through one lane of a partition.
pub(super) struct Worker {
    pub(super) session: Arc<Session>,
    pub(super) partition: i32,
    pub(super) completion: Arc<Completion>,
    /// Cancelled when the partition is no longer ours.
    pub(super) lost: CancellationToken,
}

impl Worker {
    pub(super) async fn run(self, mut lane: mpsc::UnboundedReceiver<(Ticket, Received)>) {
        loop {
            let received = tokio::select! {
                biased;
                () = self.halted() => return,
                received = lane.recv() => received,
            };
            let Some((ticket, received)) = received else { return };
            // A record left unfinished also ends its lane: what follows may have the same key.
            if !self.finish(&received).await {
                return;
            }
            self.completion.finished(ticket);
        }
    }

    /// Handles or parks a record. `false` if neither was possible before the partition was lost or the
    /// consumer stopped.
    async fn finish(&self, received: &Received) -> bool {
        let mut delays = self.session.options.redelivery.delays();
        let mut count = 1;
        loop {
            let mut delivery = Delivery::new(count).lock_lost(self.lost.clone());
            if let Some(at) = received.enqueued_at {
                delivery = delivery.enqueued_at(at);
            }
            match self.session.pipeline.process(&received.message, &delivery).await {
                Settlement::Complete => return true,
                Settlement::DeadLetter(why) => return self.park(received, &why).await,
                Settlement::Abandon => {
                    count = count.saturating_add(1);
                    if !self.wait(delays.next()).await {
                        return false;
                    }
                }
            }
        }
    }

    /// Parks a record, for as long as it takes: a commit must not pass it before.
    async fn park(&self, received: &Received, why: &DeadLetter) -> bool {
        let Session {
            topic, group, parking, ..
        } = &*self.session;
        let mut message = received.message.clone();
        let source = format!("kafka/{topic}/{group}/{}", self.partition);
        message.headers.insert(PARKED_SOURCE.to_owned(), source);
        message
            .headers
            .insert(PARKED_OFFSET.to_owned(), received.offset.to_string());
        let mut delays = self.session.options.redelivery.delays();
        loop {
            let parked = tokio::select! {
                biased;
                () = self.lost.cancelled() => return false,
                parked = parking.set_aside(&message, why) => parked,
            };
            match parked {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(id = message.id, %why, error = chain(&error), "record could not be parked, trying again");
                }
            }
            if !self.wait(delays.next()).await {
                return false;
            }
        }
    }

    async fn halted(&self) {
        tokio::select! {
            () = self.session.halt.cancelled() => {}
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
