//! A partition's events in order, across lost connections and stolen links.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::error::chain;
use azevents_core::leasing::Completion;
use azevents_core::{Error, ErrorKind, Result, RetryPolicy};
use azure_messaging_eventhubs::models::ReceivedEventData;
use azure_messaging_eventhubs::{ConsumerClient, OpenReceiverOptions};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::intake::Chunk;
use super::options::StartFrom;
use super::position::{Position, start_position};
use crate::error;
use crate::namespace::within;

const OPERATION: &str = "receive";
/// All consumers read with the same owner level ("epoch"): the service then lets the newest one in and
/// ends the others' links, so that a consumer that does not know yet that it lost its lease stops
/// receiving. The processors of the other SDKs do the same.
const OWNER_LEVEL: i64 = 0;
/// A link that has been silent this long is opened anew. A connection that died without a word looks
/// like an idle one, and reopening costs little.
const SILENCE: Duration = Duration::from_secs(120);
/// Events that are handed on at once, at most.
const CHUNK: usize = 64;
/// No longer wait between attempts to reconnect than this.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

pub(super) struct Receiver {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: Arc<str>,
    /// After the last event that was handed on; `None` before the oldest one.
    pub(super) position: Option<Position>,
    pub(super) progress: Arc<Completion<Position>>,
    /// Chunks that were read, to be dropped.
    pub(super) used: mpsc::UnboundedReceiver<Chunk>,
    pub(super) halt: CancellationToken,
}

impl Receiver {
    /// Hands events on in `chunks` until halted. An error is one that an operator must mend.
    pub(super) async fn run(mut self, chunks: mpsc::Sender<Chunk>) -> Result<()> {
        let halt = self.halt.clone();
        let backoff = RetryPolicy::forever().with_cap(MAX_BACKOFF);
        let mut delays = backoff.delays();
        loop {
            let before = self.position.clone();
            let ended = tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                ended = self.receive(&chunks) => ended,
            };
            let error = match ended {
                Ok(()) => continue,
                // Whatever it was: who takes the chunks, say, ends before we do.
                Err(_) if halt.is_cancelled() => return Ok(()),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            if self.position != before {
                delays = backoff.delays();
            }
            let delay = delays.next().unwrap_or_default();
            tracing::warn!(partition = %self.partition, ?delay, error = chain(&error), "link lost, reading on");
            tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(()),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One link's life. `Ok` when it went silent.
    async fn receive(&mut self, chunks: &mpsc::Sender<Chunk>) -> Result<()> {
        let Shared {
            hubs,
            hub,
            group,
            options,
            ..
        } = &*self.shared.clone();
        let client = hubs.open_consumer(hub, group).await?;
        if self.position.is_none() && options.start == StartFrom::Latest {
            self.position = self.end_of_partition(&client).await?;
        }
        let open = OpenReceiverOptions {
            owner_level: Some(OWNER_LEVEL),
            prefetch: Some(options.prefetch),
            start_position: Some(start_position(self.position.as_ref(), options.start)),
            receive_timeout: None,
        };
        let opening = client.open_receiver_on_partition(self.partition.to_string(), Some(open));
        let receiver = within(OPERATION, hub, options.operation_timeout, opening).await?;
        let mut events = receiver.stream_events().ready_chunks(CHUNK);
        loop {
            let arrived = match tokio::time::timeout(SILENCE, events.next()).await {
                Err(_) => return Ok(()),
                Ok(None) => return Err(self.unavailable("the link ended")),
                Ok(Some(arrived)) => arrived,
            };
            // Freeing what this thread has allocated is cheap here only.
            while self.used.try_recv().is_ok() {}
            let mut chunk = Vec::with_capacity(arrived.len());
            let mut last = self.position.as_ref().map(|position| position.sequence_number);
            let mut failed = None;
            for event in arrived {
                let placed = event
                    .map_err(|sdk| error::from_sdk(OPERATION, &self.subject(), sdk))
                    .and_then(|event| Ok(self.place(&event, &mut last)?.map(|position| (position, event))));
                match placed {
                    Ok(event) => chunk.extend(event),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if let Some((position, _)) = chunk.last() {
                self.position = Some(position.clone());
            }
            if chunks.send(chunk).await.is_err() {
                // That ends only when the partition halts, or with a panic that must not be passed over.
                return Err(
                    Error::new(ErrorKind::Cancelled, OPERATION, self.subject()).with_message("a lane has ended")
                );
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }

    /// Where an event stands. `None` for one that is in hand already, up to `last`: handing it on again would bring
    /// it behind its successors.
    fn place(&self, event: &ReceivedEventData, last: &mut Option<i64>) -> Result<Option<Position>> {
        let position = Position::after(event).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, OPERATION, self.subject())
                .with_message("the service sent an event without sequence number or offset")
        })?;
        let number = Some(position.sequence_number);
        if number <= *last {
            tracing::debug!(partition = %self.partition, sequence_number = position.sequence_number, "repeated event skipped");
            return Ok(None);
        }
        *last = number;
        Ok(Some(position))
    }

    /// After the newest event there is now; written down at once, for a restart must not skip what is
    /// published in between. `None` for an empty partition, whose oldest event is the next one.
    async fn end_of_partition(&self, client: &ConsumerClient) -> Result<Option<Position>> {
        let asking = client.get_partition_properties(&self.partition);
        let limit = self.shared.options.operation_timeout;
        let properties = within("read properties", &self.shared.hub, limit, asking).await?;
        if properties.is_empty {
            return Ok(None);
        }
        let end = Position {
            sequence_number: properties.last_enqueued_sequence_number,
            offset: properties.last_enqueued_offset,
        };
        self.progress.begin_at(end.clone());
        Ok(Some(end))
    }

    fn subject(&self) -> String {
        format!("{}/{}", self.shared.hub, self.partition)
    }

    fn unavailable(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, OPERATION, self.subject()).with_message(what)
    }
}
