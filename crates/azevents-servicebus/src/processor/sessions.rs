//! Processing session by session: order within one, many side by side.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::control::{ProcessorControl, State};
use super::handler::{ErrorSource, MessageHandler, ProcessorError};
use super::hold;
use super::options::SessionProcessorOptions;
use crate::client::ServiceBusClient;
use crate::error::Result;
use crate::session::SessionReceiverOptions;

/// Processes a queue or subscription with sessions: the messages of one session are handled one after
/// another, in order; several sessions are held at once, and the next one is taken when one has been idle.
///
/// A message that is given back ends the hold on its session, so that what follows it cannot overtake it.
/// The session's lock is renewed while a handler runs; when it is lost, [`HeldMessage::lock_lost`] is
/// cancelled for all of the session's handlers.
///
/// Its [control](Self::control) changes the number of sessions; one beyond a lower number is let go when
/// its handlers are done.
///
/// [`HeldMessage::lock_lost`]: super::HeldMessage::lock_lost
///
/// ```no_run
/// use std::sync::Arc;
/// use azevents_servicebus::{
///     MessageHandler, ServiceBusClient, ServiceBusSessionProcessor, SessionProcessorOptions, subscription,
/// };
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(client: ServiceBusClient, handler: Arc<dyn MessageHandler>) -> Result<(), azevents_servicebus::Error> {
/// let options = SessionProcessorOptions::default().with_sessions(16);
/// let processor = ServiceBusSessionProcessor::new(client, subscription("orders", "fulfilment"), options);
/// processor.run(handler, CancellationToken::new()).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServiceBusSessionProcessor {
    client: ServiceBusClient,
    entity: String,
    options: SessionProcessorOptions,
    control: ProcessorControl,
}

impl ServiceBusSessionProcessor {
    /// A processor of a queue or [`subscription`](crate::subscription) that requires sessions.
    pub fn new(client: ServiceBusClient, entity: impl Into<String>, options: SessionProcessorOptions) -> Self {
        Self {
            client,
            entity: entity.into(),
            control: ProcessorControl::new(options.sessions),
            options,
        }
    }

    /// Pauses, resumes and changes the processor while it runs.
    pub fn control(&self) -> ProcessorControl {
        self.control.clone()
    }

    /// Processes messages until `stop` is cancelled: then no new one is taken, and the handlers that run
    /// are waited for, with their sessions' locks renewed, and their messages settled.
    ///
    /// # Errors
    /// What an operator must mend: the entity does not exist, has no sessions, the credential is refused.
    ///
    /// Cancellation: dropping the future is a crash. Handlers are dropped too, and their messages come again.
    pub async fn run(&self, handler: Arc<dyn MessageHandler>, stop: CancellationToken) -> Result<()> {
        // Ours to cancel as well: one worker that gives up stops the others.
        let stop = stop.child_token();
        let mut control = self.control.watch();
        let mut workers = JoinSet::new();
        let mut started = 0;
        let mut result = Ok(());
        loop {
            let wanted = control.borrow_and_update().allowed();
            while started < wanted && !stop.is_cancelled() {
                let worker = Worker {
                    number: started,
                    processor: self.clone(),
                    handler: Arc::clone(&handler),
                    control: self.control.watch(),
                    stop: stop.clone(),
                };
                workers.spawn(worker.run());
                started += 1;
            }
            tokio::select! {
                ended = workers.join_next() => {
                    let Some(ended) = ended else { return result };
                    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                    if let Err(error) = ended {
                        stop.cancel();
                        result = result.and(Err(error));
                    }
                }
                _ = control.changed(), if !stop.is_cancelled() => {}
            }
        }
    }
}

/// Takes one session after another, as long as its number is below the number of sessions wanted.
struct Worker {
    number: usize,
    processor: ServiceBusSessionProcessor,
    handler: Arc<dyn MessageHandler>,
    control: watch::Receiver<State>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self) -> Result<()> {
        let ServiceBusSessionProcessor {
            client,
            entity,
            options,
            control: _keeps_the_channel_open,
        } = self.processor;
        // So that a batch can fill up while another is handled.
        let batch = self.handler.batch_limits().map_or(0, |limits| limits.messages);
        let prefetch = options.prefetch.max(u32::try_from(batch).unwrap_or(u32::MAX));
        let receiver_options = SessionReceiverOptions::default()
            .with_prefetch(prefetch)
            .with_accept_timeout(options.accept_timeout);
        let mut backoff = Backoff::new(client.retry());
        let number = self.number;
        let may_run = move |state: &State| number < state.allowed();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                _ = self.control.wait_for(may_run) => {}
            }
            let may_not_run = self.control.wait_for(move |state| !may_run(state));
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                _ = may_not_run => continue,
                accepted = client.accept_next_session(&entity, &receiver_options) => accepted,
            };
            let mut control = self.control.clone();
            let served = match accepted {
                Ok(Some(session)) => {
                    let enough = async {
                        tokio::select! {
                            () = self.stop.cancelled() => {}
                            _ = control.wait_for(move |state| !may_run(state)) => {}
                        }
                    };
                    hold::serve(session, &options, self.handler.as_ref(), enough).await
                }
                Ok(None) => Ok(()),
                Err(error) => {
                    let report = ProcessorError::new(ErrorSource::AcceptSession, &entity, error.clone());
                    self.handler.on_error(&report);
                    Err(error)
                }
            };
            match served {
                Ok(()) => backoff.succeeded(),
                Err(error) => backoff.failed(error, &self.stop).await?,
            }
        }
    }
}
