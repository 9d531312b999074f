//! A session while one worker has it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use azevents_core::BatchSettlement;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handler::{ErrorSource, MessageHandler, ProcessorError};
use super::held::{HeldMessage, Holder};
use super::options::SessionProcessorOptions;
use super::renewal;
use super::waiting::{Next, Waiting};
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
    /// So it is after several messages at once.
    AllGoOn(Vec<BoxFuture<'a, bool>>),
    /// Several messages did not work at once: each comes alone.
    Apart(Vec<ReceivedMessage>),
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
        let mut waiting = Waiting::new(self.handler.batch_limits());
        let mut ending = false;
        let mut failure = Ok(());
        let mut idle_at = Instant::now() + self.options.idle_timeout;
        loop {
            ending |= self.lock_lost.is_cancelled();
            while !ending
                && running.len() < calls
                && settling.len() < MAX_SETTLING
                && let Some(next) = waiting.next()
            {
                self.set_busy(Instant::now().checked_add(self.options.max_lock_renewal));
                running.push(self.handle_next(next));
            }
            if ending && running.is_empty() {
                break;
            }
            // What is still waiting when a call is free waits for others to come with it.
            let hungry = !ending && running.len() < calls && settling.len() < MAX_SETTLING;
            let until = waiting.lingers_until().unwrap_or(idle_at);
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
                        Handled::AllGoOn(rest) => settling.extend(rest),
                        Handled::Apart(messages) => waiting.take_apart(messages),
                        Handled::GivenBack => ending = true,
                    }
                }
                // A completion that failed was reported; the message comes again in its place, so what
                // follows it must not be handled before it.
                Some(settled) = settling.next() => ending |= !settled,
                received = self.receive(waiting.room(), until), if hungry => match received {
                    Ok(messages) if messages.is_empty() => ending |= waiting.is_empty() && running.is_empty(),
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
        self.session.release(waiting.into_messages()).await;
        failure
    }

    async fn receive(&self, room: usize, until: Instant) -> Result<Vec<ReceivedMessage>> {
        let max = (self.options.prefetch as usize)
            .max(self.options.calls_per_session)
            .max(room)
            .max(1);
        let wait = until.saturating_duration_since(Instant::now());
        // With several calls a busy session is not idle, however long its next message takes.
        self.session
            .receive_batch(max, wait.max(Duration::from_millis(1)))
            .await
    }

    async fn handle_next(&self, next: Next) -> Handled<'a> {
        match next {
            Next::One(message) => self.handle(message).await,
            Next::Several(messages) => self.handle_all(messages).await,
        }
    }

    /// Handles several messages at once where that works.
    async fn handle_all(&self, messages: Vec<ReceivedMessage>) -> Handled<'a> {
        let hold = |message| HeldMessage::new(message, Holder::Session(self.session), self.lock_lost.clone());
        let held: Vec<_> = messages.into_iter().map(hold).collect();
        let settlement = HeldMessage::run_batch(&held, self.handler).await;
        if self.lock_lost.is_cancelled() {
            return Handled::GivenBack;
        }
        let open = held.into_iter().filter(HeldMessage::is_open);
        if settlement == BatchSettlement::OneByOne {
            return Handled::Apart(open.map(HeldMessage::into_message).collect());
        }
        if !self.options.auto_complete {
            return Handled::GoOn(None);
        }
        let handler = self.handler;
        let complete = |held: HeldMessage<'a>| async move { held.finish(handler, &Settlement::Complete).await }.boxed();
        Handled::AllGoOn(open.map(complete).collect())
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
