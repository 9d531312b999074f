//! Records until they are finished: handled, at once or one by one, or parked.

use std::sync::Arc;

use azevents_core::dead_letter::{PARKED_OFFSET, PARKED_SOURCE};
use azevents_core::gather::Gather;
use azevents_core::leasing::{Delivered, Redelivery, Ticket};
use azevents_core::{BatchLimits, DeadLetter, Message};
use futures::stream;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::completion::Completion;
use super::session::Session;

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
    pub(super) redelivery: Redelivery,
}

impl Worker {
    pub(super) async fn run(self, mut lane: mpsc::UnboundedReceiver<(Ticket, Received)>) {
        let lane = stream::poll_fn(move |cx| lane.poll_recv(cx));
        let limits = self.redelivery.pipeline.batch_limits();
        let limits = limits.unwrap_or(BatchLimits::default().with_messages(1));
        let mut lane = Gather::new(lane, limits, |(_, received): &(Ticket, Received)| {
            received.message.size()
        });
        loop {
            let batch = tokio::select! {
                biased;
                () = self.redelivery.halted() => return,
                batch = lane.next() => batch,
            };
            let Some(batch) = batch else { return };
            // A record left unfinished also ends its lane: what follows may have the same key.
            if !self.finish_all(batch).await {
                return;
            }
        }
    }

    /// Finishes records at once where that works, else one by one. `false` if one of them is unfinished.
    async fn finish_all(&self, batch: Vec<(Ticket, Received)>) -> bool {
        let messages: Vec<_> = batch.iter().map(|(_, received)| &received.message).collect();
        let at_once = self.redelivery.deliver_batch(&messages, batch[0].1.enqueued_at).await;
        for (ticket, received) in batch {
            if !at_once && (self.redelivery.is_halted() || !self.finish(received).await) {
                return false;
            }
            self.completion.finished(ticket);
        }
        true
    }

    /// Handles or parks a record. `false` if neither was possible before the partition was lost or the
    /// consumer stopped.
    async fn finish(&self, received: Received) -> bool {
        let delivered = self.redelivery.deliver(&received.message, received.enqueued_at).await;
        match delivered {
            Delivered::Handled => true,
            Delivered::DeadLetter(why) => self.park(received, &why).await,
            Delivered::Halted => false,
        }
    }

    /// Parks a record, with where it came from. Another member has a partition that was lost: it is not waited for.
    async fn park(&self, received: Received, why: &DeadLetter) -> bool {
        let Session { topic, group, .. } = &*self.session;
        let mut message = received.message;
        let source = format!("kafka/{topic}/{group}/{}", self.partition);
        message.headers.insert(PARKED_SOURCE.to_owned(), source);
        message
            .headers
            .insert(PARKED_OFFSET.to_owned(), received.offset.to_string());
        tokio::select! {
            biased;
            () = self.redelivery.lost.cancelled() => false,
            parked = self.redelivery.park(&message, why) => parked,
        }
    }
}
