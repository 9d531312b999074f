//! One call for several messages, without sessions: a batch where that works, one by one where it doesn't.

use std::sync::Arc;

use azevents_core::{BatchLimits, BatchSettlement};
use futures::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handler::{ErrorSource, ProcessorError};
use super::held::{HeldMessage, Holder};
use super::locks::Locks;
use super::messages::Shared;
use super::waiting::{Next, Waiting};
use crate::message::ReceivedMessage;
use crate::receiver::{Receiver, Settlement};

/// A turn to receive: while one call waits for others to fill its batch, nobody else takes them.
pub(super) type Turn = OwnedSemaphorePermit;

/// Handles messages that were received together, and those that come while the first of them may wait for others.
pub(super) async fn handle(
    messages: Vec<ReceivedMessage>,
    limits: BatchLimits,
    receiver: Arc<Receiver>,
    shared: Arc<Shared>,
    turn: Option<Turn>,
    stop: CancellationToken,
) {
    let call = Call {
        locks: Locks::new(shared.options.max_lock_renewal),
        receiver: &receiver,
        shared: &shared,
    };
    let failed = |error| {
        let report = ProcessorError::new(ErrorSource::RenewLock, receiver.entity(), error);
        shared.handler.on_error(&report);
    };
    let work = async {
        let waiting = call.gather(messages, limits, turn, &stop).await;
        call.handle(waiting).await;
    };
    tokio::select! {
        biased;
        () = work => {}
        () = call.locks.keep(&receiver, failed) => unreachable!("renewal waits to be dropped"),
    }
}

struct Call<'a> {
    locks: Locks,
    receiver: &'a Receiver,
    shared: &'a Shared,
}

impl Call<'_> {
    /// Waits for others, as long as the limits say; stopping ends that, too.
    async fn gather(
        &self,
        messages: Vec<ReceivedMessage>,
        limits: BatchLimits,
        turn: Option<Turn>,
        stop: &CancellationToken,
    ) -> Waiting {
        let mut waiting = Waiting::new(Some(limits));
        self.locks.add(&messages);
        waiting.extend(messages);
        while turn.is_some()
            && let Some(until) = waiting.lingers_until()
        {
            let wait = until.saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                () = stop.cancelled() => waiting.hurry(),
                received = self.receiver.receive_batch(waiting.room(), wait) => match received {
                    Ok(messages) => {
                        self.locks.add(&messages);
                        waiting.extend(messages);
                    }
                    // Whoever receives next meets it again, and reports it.
                    Err(_) => waiting.hurry(),
                },
            }
        }
        waiting.hurry();
        waiting
    }

    async fn handle(&self, mut waiting: Waiting) {
        while let Some(next) = waiting.next() {
            match next {
                // It comes again, to whoever has it by now.
                Next::One(message) if self.locks.is_lost(&message) => {}
                Next::One(message) => self.handle_one(message).await,
                Next::Several(messages) => {
                    let apart = self.handle_several(messages).await;
                    waiting.take_apart(apart);
                }
            }
        }
    }

    async fn handle_one(&self, message: ReceivedMessage) {
        let messages = [message];
        let lost = self.locks.watch(&messages);
        let [message] = messages;
        let held = HeldMessage::new(message, Holder::Receiver(self.receiver), lost);
        let started = Instant::now();
        let rest = held
            .run(self.shared.handler.as_ref(), self.shared.options.auto_complete)
            .await;
        self.shared.sizing.handled(started.elapsed());
        self.locks.forget(held.message());
        if let Some(settlement) = rest {
            held.finish(self.shared.handler.as_ref(), &settlement).await;
        }
    }

    /// Handles a batch; gives those that are to come one by one.
    async fn handle_several(&self, messages: Vec<ReceivedMessage>) -> Vec<ReceivedMessage> {
        let (handler, count) = (self.shared.handler.as_ref(), messages.len());
        let lost = self.locks.watch(&messages);
        let hold = |message| HeldMessage::new(message, Holder::Receiver(self.receiver), lost.clone());
        let held: Vec<_> = messages.into_iter().map(hold).collect();
        let started = Instant::now();
        let settlement = HeldMessage::run_batch(&held, handler).await;
        let each = started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
        self.shared.sizing.handled(each);
        let (settled, rest): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.settled().is_some());
        for held in settled {
            self.locks.forget(held.message());
        }
        if settlement == BatchSettlement::OneByOne {
            return rest.into_iter().map(HeldMessage::into_message).collect();
        }
        if self.shared.options.auto_complete {
            join_all(rest.iter().map(|held| self.complete(held))).await;
        }
        Vec::new()
    }

    async fn complete(&self, held: &HeldMessage<'_>) {
        // Whose lock is lost is somebody else's by now.
        if held.is_open() && !self.locks.is_lost(held.message()) {
            self.locks.forget(held.message());
            held.finish(self.shared.handler.as_ref(), &Settlement::Complete).await;
        }
    }
}
