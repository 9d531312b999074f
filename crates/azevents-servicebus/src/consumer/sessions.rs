//! Consuming session by session: order within one, many side by side.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Consumer, Pipeline, Settlement as Verdict};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::options::SessionConsumerOptions;
use super::{renewal, settlement};
use crate::client::ServiceBusClient;
use crate::convert;
use crate::error::{Error, Result};
use crate::message::ReceivedMessage;
use crate::session::{SessionReceiver, SessionReceiverOptions};

/// Completions of a session that may wait for the broker's word while the next message is handled.
const MAX_SETTLING: usize = 64;

/// Consumes a queue or subscription with sessions: the messages of one session are handled one after
/// another, in order; several sessions are held at once, and the next one is taken when one has been idle.
///
/// A message that is given back ends the hold on its session, so that what follows it cannot overtake it.
/// The session's lock is renewed while a handler runs; when it is lost, the handler's
/// [`lock_lost`](azevents_core::Delivery::lock_lost) is cancelled.
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_core::{Consumer, Handler, Pipeline};
/// use azevents_servicebus::{ServiceBusClient, SessionConsumer, SessionConsumerOptions, subscription};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(client: ServiceBusClient, handler: Arc<dyn Handler>) -> azevents_core::Result<()> {
/// let options = SessionConsumerOptions::default().with_sessions(16);
/// let consumer = SessionConsumer::new(client, subscription("orders", "fulfilment"), options);
/// consumer.run(Arc::new(Pipeline::new(handler)), CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SessionConsumer {
    client: ServiceBusClient,
    entity: String,
    options: SessionConsumerOptions,
}

impl SessionConsumer {
    /// A consumer of a queue or [`subscription`](crate::subscription) that requires sessions.
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: SessionConsumerOptions) -> Self {
        Self {
            client,
            entity: entity.into(),
            options,
        }
    }
}

#[async_trait]
impl Consumer for SessionConsumer {
    async fn run(&self, pipeline: Arc<Pipeline>, stop: CancellationToken) -> azevents_core::Result<()> {
        // Ours to cancel as well: one worker that gives up stops the others.
        let stop = stop.child_token();
        let mut workers = JoinSet::new();
        for _ in 0..self.options.sessions.max(1) {
            workers.spawn(work(self.clone(), Arc::clone(&pipeline), stop.clone()));
        }
        let mut result = Ok(());
        while let Some(ended) = workers.join_next().await {
            let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            if let Err(error) = ended {
                stop.cancel();
                result = result.and(Err(convert::error(error, "consume", &self.entity)));
            }
        }
        result
    }
}

/// Takes one session after another.
async fn work(consumer: SessionConsumer, pipeline: Arc<Pipeline>, stop: CancellationToken) -> Result<()> {
    let SessionConsumer {
        client,
        entity,
        options,
    } = consumer;
    let receiver_options = SessionReceiverOptions::default()
        .with_prefetch(options.prefetch)
        .with_accept_timeout(options.accept_timeout);
    let mut backoff = Backoff::new(client.retry());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = client.accept_next_session(&entity, &receiver_options) => accepted,
        };
        let served = match accepted {
            Ok(Some(session)) => serve(session, &options, &pipeline, &stop).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match served {
            Ok(()) => backoff.succeeded(),
            Err(error) => backoff.failed(error, &stop).await?,
        }
    }
}

/// Handles a session's messages until it is idle, a message was given back, or the consumer stops.
async fn serve(
    session: SessionReceiver,
    options: &SessionConsumerOptions,
    pipeline: &Pipeline,
    stop: &CancellationToken,
) -> Result<()> {
    // Cancelled by a lost link, or by a renewal that came too late.
    let lock_lost = session.lock_lost();
    let hold = Hold {
        session: &session,
        pipeline,
        lock_lost: &lock_lost,
        busy_until: Mutex::default(),
    };
    let keeping = renewal::keep(
        session.locked_until(),
        || hold.busy_until(),
        lock_lost.clone(),
        || session.renew_lock(),
    );
    tokio::select! {
        biased;
        served = hold.serve(options, stop) => served,
        () = keeping => unreachable!("renewal waits to be dropped"),
    }
}

/// A session while this worker has it.
struct Hold<'a> {
    session: &'a SessionReceiver,
    pipeline: &'a Pipeline,
    lock_lost: &'a CancellationToken,
    /// Until when the lock is renewed for the message that is being handled.
    busy_until: Mutex<Option<Instant>>,
}

type Settling<'a> = FuturesUnordered<BoxFuture<'a, Result<()>>>;

impl Hold<'_> {
    fn busy_until(&self) -> Option<Instant> {
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_busy(&self, limit: Option<Duration>) {
        let until = limit.map(|limit| Instant::now() + limit);
        *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    async fn serve(&self, options: &SessionConsumerOptions, stop: &CancellationToken) -> Result<()> {
        let mut settling = Settling::new();
        let mut waiting: VecDeque<ReceivedMessage> = VecDeque::new();
        let served = loop {
            if stop.is_cancelled() || self.lock_lost.is_cancelled() {
                break Ok(());
            }
            let Some(message) = waiting.pop_front() else {
                match self.receive(options, stop, &mut settling).await {
                    Ok(messages) if messages.is_empty() => break Ok(()),
                    Ok(messages) => waiting.extend(messages),
                    Err(error) => break Err(error),
                }
                continue;
            };
            match self.handle(message, options.max_lock_renewal, &mut settling).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Done is done: it is settled also when stopping, or when another message failed.
        let settled = drain(&mut settling).await;
        // Fetched and not handled: given back, so that they do not count as delivered.
        self.session.release(waiting).await;
        served.and(settled)
    }

    /// The next messages; settlements go on meanwhile.
    async fn receive(
        &self,
        options: &SessionConsumerOptions,
        stop: &CancellationToken,
        settling: &mut Settling<'_>,
    ) -> Result<Vec<ReceivedMessage>> {
        let max = options.prefetch.max(1) as usize;
        let receive = self.session.receive_batch(max, options.idle_timeout);
        tokio::pin!(receive);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Vec::new()),
                () = self.lock_lost.cancelled() => return Ok(Vec::new()),
                received = &mut receive => return received,
                Some(settled) = settling.next() => settled?,
            }
        }
    }

    /// Handles one message; `false` ends the hold.
    async fn handle<'b>(
        &'b self,
        message: ReceivedMessage,
        max_renewal: Duration,
        settling: &mut Settling<'b>,
    ) -> Result<bool> {
        let incoming = convert::incoming(&message);
        let delivery = convert::delivery(&message, self.lock_lost.clone());
        self.set_busy(Some(max_renewal));
        let verdict = self.pipeline.process(&incoming, &delivery).await;
        self.set_busy(None);
        if self.lock_lost.is_cancelled() {
            // The session is somebody else's by now; what was not completed comes again there.
            return Ok(false);
        }
        let goes_on = verdict != Verdict::Abandon;
        let settle = settlement(&verdict);
        let session = self.session;
        settling.push(Box::pin(async move { session.settle(&message, &settle).await }));
        // A verdict other than completion is carried out before the next message is looked at.
        let allowed = if verdict == Verdict::Complete { MAX_SETTLING } else { 0 };
        while settling.len() > allowed {
            if let Some(settled) = settling.next().await {
                settled?;
            }
        }
        Ok(goes_on)
    }
}

/// Waits for all settlements; gives the first failure.
async fn drain(settling: &mut Settling<'_>) -> Result<()> {
    let mut result: Result<(), Error> = Ok(());
    while let Some(settled) = settling.next().await {
        result = result.and(settled);
    }
    result
}
