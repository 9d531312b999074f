//! The task that owns a sending link. Callers talk to it through a channel, so any number of them share
//! the link, and a caller that goes away in the middle cannot harm it.

use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp::Sender as AmqpSender;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::{DeliveryFut, Sendable};
use fe2o3_amqp::transaction::{PostError, TransactionPosting};
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::{Body, Outcome};
use fe2o3_amqp::types::primitives::{OrderedMap, Symbol, Value};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::amqp::connection::AmqpConnection;
use crate::amqp::link::{self, LinkSession};
use crate::amqp::transactions::Enlisted;
use crate::amqp::values::integer;
use crate::error::{Error, Result};

/// Link property with the size that batches may have, where it differs from that of single messages.
const MAX_BATCH_SIZE: &str = "com.microsoft:max-message-batch-size";
/// Link property that says where messages go, where the link's address is the entity they go by way of
/// ("AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", send via).
const TRANSFER_DESTINATION: &str = "com.microsoft:transfer-destination-address";
/// What Service Bus Standard takes; used where the link names no limit.
const STANDARD_LIMIT: usize = 256 * 1024;

pub(super) type Payload = Arc<Sendable<Body<Value>>>;
pub(super) type Delivery = DeliveryFut<Result<Outcome, SendError>>;
pub(super) type Posted = DeliveryFut<Result<Outcome, PostError>>;

/// How large things may be on this link, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) batch: usize,
}

pub(super) enum Command {
    Send {
        payload: Payload,
        reply: oneshot::Sender<Result<Delivery>>,
    },
    /// Sends within a transaction.
    Post {
        payload: Payload,
        transaction: Enlisted,
        reply: oneshot::Sender<Result<Posted>>,
    },
    Limits {
        reply: oneshot::Sender<Result<Limits>>,
    },
}

impl Command {
    fn fail(self, error: Error) {
        // Whoever asked may have gone away.
        match self {
            Self::Send { reply, .. } => drop(reply.send(Err(error))),
            Self::Post { reply, .. } => drop(reply.send(Err(error))),
            Self::Limits { reply } => drop(reply.send(Err(error))),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Send { reply, .. } => reply.is_closed(),
            Self::Post { reply, .. } => reply.is_closed(),
            Self::Limits { reply } => reply.is_closed(),
        }
    }
}

struct Attached {
    session: LinkSession,
    sender: AmqpSender,
    limits: Limits,
}

/// The link's task: attaches when there is something to send, and again after a loss.
pub(super) struct LinkTask {
    pub(super) connection: Arc<AmqpConnection>,
    pub(super) entity: String,
    /// What messages go by way of.
    pub(super) via: Option<String>,
    pub(super) attach_timeout: Duration,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl LinkTask {
    pub(super) async fn run(mut self) {
        let mut link: Option<Attached> = None;
        loop {
            let command = match &mut link {
                None => self.commands.recv().await,
                // A link that was detached is noticed at once, also while nothing is sent: deliveries in
                // flight are failed when it is dropped.
                Some(attached) => tokio::select! {
                    biased;
                    error = attached.sender.on_detach() => {
                        tracing::debug!(%error, entity = self.entity, "sending link detached");
                        Self::discard(link.take());
                        continue;
                    }
                    command = self.commands.recv() => command,
                },
            };
            let Some(command) = command else { break };
            if command.is_abandoned() {
                continue;
            }
            let attached = match link.take() {
                Some(attached) => attached,
                None => match self.attach().await {
                    Ok(attached) => attached,
                    Err(error) => {
                        // Whoever queued up meanwhile would only wait for the same failure.
                        while let Ok(queued) = self.commands.try_recv() {
                            queued.fail(error.clone());
                        }
                        command.fail(error);
                        continue;
                    }
                },
            };
            link = Self::execute(attached, command).await;
        }
        if let Some(Attached { session, sender, .. }) = link {
            link::close(session, Some(sender), None).await;
        }
    }

    /// Carries out a command and says whether the link can be used on.
    async fn execute(mut attached: Attached, command: Command) -> Option<Attached> {
        match command {
            Command::Limits { reply } => drop(reply.send(Ok(attached.limits))),
            Command::Post {
                payload,
                transaction,
                reply,
            } => match transaction.post_batchable_ref(&mut attached.sender, &payload).await {
                Ok(posted) => drop(reply.send(Ok(posted))),
                Err(error) => {
                    let usable = matches!(error, PostError::MessageSizeExceeded(_) | PostError::MessageEncodeError);
                    drop(reply.send(Err(error.into())));
                    if !usable {
                        Self::discard(Some(attached));
                        return None;
                    }
                }
            },
            // Not cut short when the caller goes away: a transfer of several frames must be completed.
            Command::Send { payload, reply } => match attached.sender.send_batchable_ref(&payload).await {
                Ok(delivery) => drop(reply.send(Ok(delivery))),
                Err(error) => {
                    let usable = error.recovery().link_is_usable();
                    drop(reply.send(Err(error.into())));
                    if !usable {
                        Self::discard(Some(attached));
                        return None;
                    }
                }
            },
        }
        Some(attached)
    }

    /// Drops a broken link first, which fails what is in flight on it; then ends its session beside us.
    fn discard(link: Option<Attached>) {
        if let Some(Attached { session, sender, .. }) = link {
            drop(sender);
            tokio::spawn(link::close(session, None, None));
        }
    }

    async fn attach(&self) -> Result<Attached> {
        let attach = async {
            let via = self.via.as_deref();
            let address = via.unwrap_or(&self.entity);
            let mut session = match via {
                Some(via) => self.connection.session_for_all(&[via, &self.entity]).await?,
                None => self.connection.session_for(address).await?,
            };
            let properties = via.map(|_| {
                let destination = Value::String(self.entity.clone());
                OrderedMap::from_iter([(Symbol::from(TRANSFER_DESTINATION), destination)])
            });
            let mut builder = AmqpSender::builder();
            builder.properties = properties;
            let sender = builder
                .name(format!("{}-{}", self.entity, Uuid::new_v4().simple()))
                .target(address)
                .sender_settle_mode(SenderSettleMode::Unsettled)
                .verify_incoming_source(false)
                .verify_incoming_target(false)
                .attach(&mut session.handle)
                .await?;
            let limits = limits(&sender);
            tracing::debug!(entity = self.entity, ?limits, "sending link attached");
            Ok(Attached {
                session,
                sender,
                limits,
            })
        };
        match tokio::time::timeout(self.attach_timeout, attach).await {
            Ok(attached) => attached,
            Err(_) => Err(Error::timeout("the link was not attached in time")),
        }
    }
}

fn limits(sender: &AmqpSender) -> Limits {
    let message = sender.max_message_size().and_then(|size| usize::try_from(size).ok());
    let batch = sender.properties(|properties| {
        let size = properties
            .as_ref()?
            .get(&Symbol::from(MAX_BATCH_SIZE))
            .and_then(integer)?;
        usize::try_from(size).ok().filter(|size| *size > 0)
    });
    Limits {
        batch: batch.or(message).unwrap_or(STANDARD_LIMIT),
    }
}
