//! Processing messages side by side.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::control::ProcessorControl;
use super::handler::{ErrorSource, MessageHandler, ProcessorError};
use super::held::{HeldMessage, Holder};
use super::options::ProcessorOptions;
use super::prefetch::Sizing;
use super::renewal;
use super::together;
use crate::client::ServiceBusClient;
use crate::error::Result;
use crate::message::ReceivedMessage;
use crate::receiver::{Receiver, ReceiverOptions};

/// How long one receive waits before it starts over; nothing is lost either way.
const RECEIVE_WAIT: Duration = Duration::from_secs(60);

/// Processes a queue or subscription without sessions: messages are handled side by side, in no order.
///
/// A handler with [`batch_limits`](MessageHandler::batch_limits) gets several messages in each call, those that are
/// there; its concurrency is then the number of calls at once.
///
/// Locks are renewed for messages that are handled and for those that were fetched ahead. Lost connections
/// are opened again for as long as it takes.
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_servicebus::{
///     BoxError, HeldMessage, MessageHandler, ProcessorOptions, ServiceBusClient, ServiceBusProcessor, Settlement,
/// };
/// use tokio_util::sync::CancellationToken;
///
/// struct Print;
///
/// #[async_trait::async_trait]
/// impl MessageHandler for Print {
///     async fn handle(&self, held: &HeldMessage<'_>) -> Result<(), BoxError> {
///         match std::str::from_utf8(held.message().body()) {
///             Ok(text) => println!("{text}"),
///             Err(_) => held.settle(&Settlement::dead_letter("NotText", "the body is no UTF-8")).await?,
///         }
///         Ok(())
///     }
/// }
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let options = ProcessorOptions::default().with_concurrency(16);
/// let processor = ServiceBusProcessor::new(client, "orders", options);
/// processor.run(Arc::new(Print), CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusProcessor {
    client: ServiceBusClient,
    entity: String,
    options: ProcessorOptions,
    control: ProcessorControl,
}

/// What the tasks of a run share.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn MessageHandler>,
    pub(super) options: ProcessorOptions,
    pub(super) sizing: Sizing,
}

/// A receiver and what renews the locks of its buffer. Tasks hold the receiver alone.
struct Link {
    receiver: Arc<Receiver>,
    _buffered: AbortOnDropHandle<()>,
}

impl ServiceBusProcessor {
    /// A processor of a queue, a [`subscription`](crate::subscription) or a
    /// [`dead_letter_queue`](crate::dead_letter_queue).
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: ProcessorOptions) -> Self {
        Self {
            client,
            entity: entity.into(),
            control: ProcessorControl::new(options.concurrency),
            options,
        }
    }

    /// Pauses, resumes and changes the processor while it runs.
    pub fn control(&self) -> ProcessorControl {
        self.control.clone()
    }

    /// Processes messages until `stop` is cancelled: then no new one is taken, and the handlers that run
    /// are waited for, with their locks renewed, and their messages settled.
    ///
    /// # Errors
    /// What an operator must mend: the entity does not exist, the credential is refused.
    ///
    /// Cancellation: dropping the future is a crash. Handlers are dropped too, and their messages come again.
    pub async fn run(&self, handler: Arc<dyn MessageHandler>, stop: CancellationToken) -> Result<()> {
        let shared = Arc::new(Shared {
            handler,
            sizing: Sizing::new(self.options.prefetch),
            options: self.options.clone(),
        });
        let mut running = JoinSet::new();
        let mut link: Option<Link> = None;
        let result = self.receive(&shared, &stop, &mut running, &mut link).await;
        // What runs is waited for, and settled: stopping is not a reason to do it twice.
        while running.join_next().await.is_some() {}
        if let Some(receiver) = link.and_then(|link| Arc::into_inner(link.receiver)) {
            receiver.close().await;
        }
        result
    }

    async fn receive(
        &self,
        shared: &Arc<Shared>,
        stop: &CancellationToken,
        running: &mut JoinSet<()>,
        link: &mut Option<Link>,
    ) -> Result<()> {
        let mut control = self.control.watch();
        let mut backoff = Backoff::new(self.client.retry());
        let limits = shared.handler.batch_limits();
        let turns = Arc::new(Semaphore::new(1));
        loop {
            while running.try_join_next().is_some() {}
            let state = *control.borrow_and_update();
            if state.allowed() == 0 {
                // Closed with the last handler that needs it; what was fetched ahead goes back then.
                *link = None;
            }
            let room = state.allowed().saturating_sub(running.len());
            if room == 0 {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    _ = control.changed() => {}
                    Some(_) = running.join_next() => {}
                }
                continue;
            }
            let receiver = Arc::clone(&link.get_or_insert_with(|| self.open(shared)).receiver);
            let prefetch = if state.may_prefetch() {
                // So that a batch can fill up while another is handled.
                let batch = limits.map_or(0, |limits| limits.messages);
                shared.sizing.size(state.allowed()).max(batch)
            } else {
                0
            };
            receiver.core().set_prefetch(prefetch);
            let most = limits.map_or(room, |limits| room.saturating_mul(limits.messages));
            let receiving = async {
                let turn = match limits {
                    Some(_) => Arc::clone(&turns).acquire_owned().await.ok(),
                    None => None,
                };
                (receiver.receive_batch(most, RECEIVE_WAIT).await, turn)
            };
            let (received, turn) = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = control.changed() => continue,
                received = receiving => received,
            };
            match received {
                Ok(messages) => {
                    backoff.succeeded();
                    let Some(limits) = limits else {
                        for message in messages {
                            running.spawn(handle(message, Arc::clone(&receiver), Arc::clone(shared)));
                        }
                        continue;
                    };
                    let mut turn = turn;
                    for batch in batches(messages, limits.messages) {
                        // Only the last one has room for others.
                        let turn = turn.take_if(|_| batch.len() < limits.messages);
                        let (receiver, shared) = (Arc::clone(&receiver), Arc::clone(shared));
                        running.spawn(together::handle(batch, limits, receiver, shared, turn, stop.clone()));
                    }
                }
                Err(error) => {
                    let report = ProcessorError::new(ErrorSource::Receive, &self.entity, error.clone());
                    shared.handler.on_error(&report);
                    backoff.failed(error, stop).await?;
                }
            }
        }
    }

    fn open(&self, shared: &Arc<Shared>) -> Link {
        let options = ReceiverOptions::default().with_mode(self.options.mode);
        let receiver = self.client.create_receiver_with(&self.entity, &options);
        let handler = Arc::clone(&shared.handler);
        let entity = self.entity.clone();
        let renewing = receiver
            .core()
            .keep_buffered(self.options.max_lock_renewal, move |error| {
                handler.on_error(&ProcessorError::new(ErrorSource::RenewLock, &entity, error));
            });
        Link {
            receiver: Arc::new(receiver),
            _buffered: AbortOnDropHandle::new(tokio::spawn(renewing)),
        }
    }
}

/// Full ones, and what is left.
fn batches(mut messages: Vec<ReceivedMessage>, size: usize) -> impl Iterator<Item = Vec<ReceivedMessage>> {
    std::iter::from_fn(move || {
        let rest = messages.split_off(size.max(1).min(messages.len()));
        let batch = std::mem::replace(&mut messages, rest);
        (!batch.is_empty()).then_some(batch)
    })
}

/// Handles one message and settles it.
async fn handle(message: ReceivedMessage, receiver: Arc<Receiver>, shared: Arc<Shared>) {
    let lock_lost = CancellationToken::new();
    let locked_until = message.locked_until();
    let held = HeldMessage::new(message, Holder::Receiver(&receiver), lock_lost.clone());
    let handler = shared.handler.as_ref();
    let work = async {
        let started = Instant::now();
        let rest = held.run(handler, shared.options.auto_complete).await;
        shared.sizing.handled(started.elapsed());
        rest
    };
    let rest = match locked_until {
        // Received and deleted: there is nothing to keep.
        None => work.await,
        Some(locked_until) => {
            shared.sizing.locked(renewal::remaining(locked_until));
            let give_up = Instant::now().checked_add(shared.options.max_lock_renewal);
            let keeping = renewal::keep(
                locked_until,
                || give_up,
                lock_lost,
                || receiver.renew_lock(held.message()),
                |error| handler.on_error(&held.error(ErrorSource::RenewLock, error)),
            );
            tokio::select! {
                biased;
                rest = work => rest,
                () = keeping => unreachable!("renewal waits to be dropped"),
            }
        }
    };
    if let Some(settlement) = rest {
        held.finish(handler, &settlement).await;
    }
}
