//! A session while one worker has it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handler::{ErrorSource, MessageHandler, ProcessorError};
use super::held::{HeldMessage, Holder};
use super::options::SessionProcessorOptions;
use super::renewal;
use crate::error::Result;
use crate::message::ReceivedMessage;
use crate::receiver::Settlement;
use crate::session::SessionReceiver;

/// Completions of a session that may wait for the broker's word while the next message is handled.
const MAX_SETTLING: usize = 64;

/// Handles a session's messages until it is idle, a message was given back, or `enough` is done.
pub(super) async fn serve(
    session: SessionReceiver,
    options: &SessionProcessorOptions,
    handler: &dyn MessageHandler,
    enough: impl Future<Output = ()>,
) -> Result<()> {
    // Cancelled by a lost link, or by a renewal that came too late.
    let lock_lost = session.lock_lost();
    let hold = Hold {
        session: &session,
        options,
        handler,
        lock_lost: &lock_lost,
        busy_until: Mutex::default(),
    };
    let keeping = renewal::keep(
        session.locked_until(),
        || hold.busy_until(),
        lock_lost.clone(),
        || session.renew_lock(),
        |error| handler.on_error(&hold.error(ErrorSource::RenewLock, error)),
    );
    tokio::select! {
        biased;
        served = hold.serve(enough) => served,
        () = keeping => unreachable!("renewal waits to be dropped"),
    }
}

struct Hold<'a> {
    session: &'a SessionReceiver,
    options: &'a SessionProcessorOptions,
    handler: &'a dyn MessageHandler,
    lock_lost: &'a CancellationToken,
    /// Until when the lock is renewed for the messages that are being handled.
    busy_until: Mutex<Option<Instant>>,
}

/// What one call of the handler means for the session.
enum Handled<'a> {
    /// The next message may follow, while this one's completion is confirmed.
    GoOn(Option<BoxFuture<'a, bool>>),
    /// The message comes again: what follows it must not overtake it.
    GivenBack,
}

impl<'a> Hold<'a> {
    fn busy_until(&self) -> Option<Instant> {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_busy(&self, until: Option<Instant>) {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn error(&self, source: ErrorSource, error: crate::Error) -> ProcessorError {
        ProcessorError::new(source, self.session.entity(), error).in_session(Some(self.session.session_id()))
    }

    async fn serve(&self, enough: impl Future<Output = ()>) -> Result<()> {
        let calls = self.options.calls_per_session.max(1);
        let mut enough = std::pin::pin!(enough);
        let mut running = FuturesUnordered::new();
        let mut settling = FuturesUnordered::new();
        let mut waiting: VecDeque<ReceivedMessage> = VecDeque::new();
        let mut ending = false;
        let mut failure = Ok(());
        let mut idle_at = Instant::now() + self.options.idle_timeout;
        loop {
            ending |= self.lock_lost.is_cancelled();
            while !ending
                && running.len() < calls
                && settling.len() < MAX_SETTLING
                && let Some(message) = waiting.pop_front()
            {
                self.set_busy(Instant::now().checked_add(self.options.max_lock_renewal));
                running.push(self.handle(message));
            }
            if ending && running.is_empty() {
                break;
            }
            let hungry = !ending && waiting.is_empty() && running.len() < calls;
            tokio::select! {
                biased;
                () = &mut enough, if !ending => ending = true,
                () = self.lock_lost.cancelled(), if !ending => ending = true,
                Some(handled) = running.next() => {
                    if running.is_empty() {
                        self.set_busy(None);
                        idle_at = Instant::now() + self.options.idle_timeout;
                    }
                    match handled {
                        Handled::GoOn(rest) => settling.extend(rest),
                        Handled::GivenBack => ending = true,
                    }
                }
                // A completion that failed was reported; the message comes again in its place, so what
                // follows it must not be handled before it.
                Some(settled) = settling.next() => ending |= !settled,
                received = self.receive(idle_at), if hungry => match received {
                    Ok(messages) if messages.is_empty() => ending |= running.is_empty(),
                    Ok(messages) => waiting.extend(messages),
                    Err(error) => {
                        self.handler.on_error(&self.error(ErrorSource::Receive, error.clone()));
                        failure = Err(error);
                        ending = true;
                    }
                },
            }
        }
        drop(running);
        // Done is done: it is settled also when stopping, or when another message failed.
        while settling.next().await.is_some() {}
        // Fetched and not handled: given back, so that they do not count as delivered.
        self.session.release(waiting).await;
        failure
    }

    async fn receive(&self, idle_at: Instant) -> Result<Vec<ReceivedMessage>> {
        let max = (self.options.prefetch as usize)
            .max(self.options.calls_per_session)
            .max(1);
        let wait = idle_at.saturating_duration_since(Instant::now());
        // With several calls a busy session is not idle, however long its next message takes.
        self.session
            .receive_batch(max, wait.max(Duration::from_millis(1)))
            .await
    }

    /// Handles one message. Its completion may be left to be done; anything else is carried out here,
    /// before the next message is looked at.
    async fn handle(&self, message: ReceivedMessage) -> Handled<'a> {
        let held = HeldMessage::new(message, Holder::Session(self.session), self.lock_lost.clone());
        let rest = held.run(self.handler, self.options.auto_complete).await;
        if self.lock_lost.is_cancelled() {
            // The session is somebody else's by now; what was not completed comes again there.
            return Handled::GivenBack;
        }
        match rest {
            Some(Settlement::Complete) => {
                let handler = self.handler;
                Handled::GoOn(Some(Box::pin(async move {
                    held.finish(handler, &Settlement::Complete).await
                })))
            }
            Some(settlement) => {
                held.finish(self.handler, &settlement).await;
                Handled::GivenBack
            }
            None if held.settled() == Some(Settlement::Abandon) => Handled::GivenBack,
            None => Handled::GoOn(None),
        }
    }
}
