//! One client, one send at a time: fills batches, repeats what a lost connection swallowed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Result};
use azure_core_amqp::AmqpMessage;
use azure_messaging_eventhubs::ProducerClient;

use super::PublisherOptions;
use super::plan::{Outgoing, Plan, Run, Sent};
use crate::error;
use crate::namespace::{EventHubs, within};

const OPERATION: &str = "publish";
/// Below the limit of every tier, of which the lowest is 256 KB ("Azure Event Hubs quotas and limits"),
/// whatever the encoding adds.
const SURELY_SMALL: usize = 64 << 10;

/// Where all lanes of a publisher send to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) hubs: EventHubs,
    pub(super) hub: Arc<str>,
    pub(super) options: PublisherOptions,
}

pub(super) struct Lane {
    target: Arc<Target>,
    /// `None` before the first send and after every error: the SDK's client is not told apart from a
    /// broken one, a new one is.
    client: Option<ProducerClient>,
}

impl Lane {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, client: None }
    }

    /// Sends run after run. To be spawned on the SDK's runtime.
    /// A message that can never be sent ends its run, a broken connection the lane.
    pub(super) async fn send(&mut self, plan: Plan) -> Sent {
        let mut sent = Sent::default();
        for run in plan.into_runs() {
            let mut rest = &run.messages[..];
            while let Some(first) = rest.first() {
                match self.send_some(&run, rest).await {
                    Ok(count) => {
                        let (done, left) = rest.split_at(count);
                        sent.acknowledged.extend(done.iter().map(|message| message.index));
                        rest = left;
                    }
                    Err(error) if error.is_transient() || !blames_message(&error) => {
                        sent.stopped = Some(error);
                        return sent;
                    }
                    Err(error) => {
                        sent.refused.push((first.index, error));
                        break;
                    }
                }
            }
        }
        sent
    }

    /// Sends as many of `messages` as one batch holds, at least one, and says how many they were.
    async fn send_some(&mut self, run: &Run, messages: &[Outgoing]) -> Result<usize> {
        let mut delays = self.target.options.retry.delays();
        loop {
            let error = match self.attempt(run, messages).await {
                Ok(count) => return Ok(count),
                Err(error) => error,
            };
            self.client = None;
            if !error.is_transient() {
                return Err(error);
            }
            let Some(delay) = delays.next() else { return Err(error) };
            let delay = error.retry_after().map_or(delay, |asked| asked.max(delay));
            tracing::debug!(hub = %self.target.hub, ?delay, error = azevents_core::error::chain(&error), "send failed, trying again");
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(&mut self, run: &Run, messages: &[Outgoing]) -> Result<usize> {
        let target = self.target.clone();
        let hub = &*target.hub;
        let limit = target.options.send_timeout;
        let client = match self.client.take() {
            Some(client) => client,
            None => target.hubs.open_producer(hub).await?,
        };
        let client = self.client.insert(client);
        let Some((first, more)) = messages.split_first() else {
            return Ok(0);
        };
        if !more.is_empty() {
            // The key stands on every message already; a batch without partition goes where its first
            // message's key says.
            let batch = within(OPERATION, hub, limit, client.create_batch(None)).await?;
            let mut count = 0;
            for outgoing in messages {
                let added = batch.try_add_amqp_message(outgoing.message.clone(), None);
                if !added.map_err(|e| error::from_sdk(OPERATION, hub, e))? {
                    break;
                }
                count += 1;
            }
            if count > 1 {
                within(OPERATION, hub, limit, client.send_batch(batch, None)).await?;
                return Ok(count);
            }
            tracing::trace!(hub, key = run.key, id = first.id, "event sent alone, its batch is full");
        }
        if first.size > SURELY_SMALL && !fits(client, hub, limit, first).await? {
            return Err(too_large(hub, first));
        }
        let sent = within(OPERATION, hub, limit, client.send_message(first.message.clone(), None)).await;
        sent.map(|()| 1).map_err(|error| match error.kind() {
            ErrorKind::TooLarge => too_large(hub, first).with_source(error),
            _ => error,
        })
    }
}

/// Whether one event is within the service's limit, give or take some 150 bytes.
///
/// The SDK does not ask this before it sends a single message, and then waits for ever, because the
/// service answers by closing the link. Nor does it tell the limit. A batch does check it, but counts its
/// first message twice and so refuses for the first place what fills more than half: hence a tiny one
/// goes first here, and the batch is thrown away.
async fn fits(client: &ProducerClient, hub: &str, limit: Duration, event: &Outgoing) -> Result<bool> {
    let batch = within(OPERATION, hub, limit, client.create_batch(None)).await?;
    let mut fits = true;
    for message in [AmqpMessage::default(), event.message.clone()] {
        fits &= batch
            .try_add_amqp_message(message, None)
            .map_err(|e| error::from_sdk(OPERATION, hub, e))?;
    }
    Ok(fits)
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("open", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

/// A missing hub or a refused credential is permanent too, but no message's fault.
fn blames_message(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::InvalidInput)
}

fn too_large(hub: &str, message: &Outgoing) -> Error {
    Error::new(ErrorKind::TooLarge, OPERATION, hub).with_message(format!(
        "event {} has {} bytes, more than the event hub takes in one message",
        message.id, message.size
    ))
}
