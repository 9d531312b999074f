//! One partition of a replay: a reader on the SDK's thread, and a worker per lane.

use std::sync::Arc;
use std::time::Duration;

use azevents_core::error::chain;
use azevents_core::lanes::Lanes;
use azevents_core::{Delivery, Error, ErrorKind, Message, Pipeline, Result, RetryPolicy, Settlement};
use azure_messaging_eventhubs::models::{EventHubPartitionProperties, ReceivedEventData};
use azure_messaging_eventhubs::{ConsumerClient, OpenReceiverOptions, StartLocation, StartPosition};
use futures::StreamExt;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::options::{ReplayFrom, ReplayUntil};
use super::{OPERATION, Replay};
use crate::error;
use crate::message::decode;
use crate::namespace::within;

/// Events that may wait for a worker, per lane.
const QUEUE: usize = 16;
/// A link that was silent this long before the end is opened anew, and the end looked at again: the events up to it
/// may have been dropped by the hub's retention.
const SILENCE: Duration = Duration::from_secs(10);
/// No longer wait between attempts to reconnect than this.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

pub(super) struct Partition {
    pub(super) replay: Replay,
    pub(super) id: Arc<str>,
    pub(super) stop: CancellationToken,
}

/// An event on its way to the handler.
struct Received {
    sequence_number: i64,
    message: Message,
    delivery: Delivery,
    undecodable: bool,
}

impl Partition {
    /// Reads and handles everything, and says how many events were handled.
    pub(super) async fn run(self, pipeline: Arc<Pipeline>) -> Result<u64> {
        let (lanes, ends) = Lanes::new(self.replay.options.concurrency, QUEUE);
        let subject: Arc<str> = self.subject().into();
        let mut workers = JoinSet::new();
        for end in ends {
            workers.spawn(work(end, pipeline.clone(), subject.clone()));
        }
        let runtime = self.replay.hubs.runtime().clone();
        let reader = AbortOnDropHandle::new(runtime.spawn(self.read(lanes)));
        let (mut handled, mut failed) = (0, None);
        while let Some(worked) = workers.join_next().await {
            match worked
                .unwrap_or_else(|panic| Err(Error::new(ErrorKind::Other, OPERATION, &subject).with_source(panic)))
            {
                Ok(count) => handled += count,
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        // A worker that failed has ended its lane, and so the reader; its own error says less.
        let read = match reader.await {
            Ok(read) => read,
            Err(panic) => Err(Error::new(ErrorKind::Other, OPERATION, &subject).with_source(panic)),
        };
        match failed {
            Some(error) => Err(error),
            None => read.map(|()| handled),
        }
    }

    /// Hands events to the lanes up to the end, over as many links as it takes.
    async fn read(self, lanes: Lanes<Received>) -> Result<()> {
        let backoff = RetryPolicy::forever().with_cap(MAX_BACKOFF);
        let mut delays = backoff.delays();
        let mut end = None;
        let mut last = None;
        loop {
            let before: Option<(i64, String)> = last.clone();
            let ended = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                ended = self.link(&lanes, &mut end, &mut last) => ended,
            };
            match ended {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if !error.is_transient() => return Err(error),
                Err(error) => {
                    if last != before {
                        delays = backoff.delays();
                    }
                    let delay = delays.next().unwrap_or_default();
                    tracing::warn!(partition = %self.id, ?delay, error = chain(&error), "link lost, reading on");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    /// One link's life. `true` at the end.
    async fn link(
        &self,
        lanes: &Lanes<Received>,
        end: &mut Option<i64>,
        last: &mut Option<(i64, String)>,
    ) -> Result<bool> {
        let Replay {
            hubs,
            hub,
            group,
            options,
        } = &self.replay;
        let client = hubs.open_consumer(hub, group).await?;
        let properties = self.properties(&client).await?;
        let end = *end.get_or_insert(match options.until {
            ReplayUntil::SequenceNumber(until) => until.min(properties.last_enqueued_sequence_number),
            ReplayUntil::Now | ReplayUntil::Time(_) => properties.last_enqueued_sequence_number,
        });
        let reached = last.as_ref().map_or(i64::MIN, |(sequence_number, _)| *sequence_number);
        if reached >= end || self.holds_nothing(&properties, end) {
            return Ok(true);
        }
        let open = OpenReceiverOptions {
            start_position: Some(self.start(last.as_ref())),
            ..OpenReceiverOptions::default()
        };
        let opening = client.open_receiver_on_partition(self.id.to_string(), Some(open));
        let receiver = within(OPERATION, hub, options.operation_timeout, opening).await?;
        let mut events = receiver.stream_events();
        loop {
            let event = match tokio::time::timeout(SILENCE, events.next()).await {
                Err(_) => return Ok(false),
                Ok(None) => return Err(self.broken(ErrorKind::Unavailable, "the link ended")),
                Ok(Some(Err(sdk))) => return Err(error::from_sdk(OPERATION, &self.subject(), sdk)),
                Ok(Some(Ok(event))) => event,
            };
            let (Some(sequence_number), Some(offset)) = (event.sequence_number(), event.offset().clone()) else {
                return Err(self.broken(ErrorKind::Corrupt, "the service sent an event without its place"));
            };
            let taken_in = event.enqueued_time().map(OffsetDateTime::from);
            let is_late = matches!(options.until, ReplayUntil::Time(until) if taken_in.is_some_and(|at| at >= until));
            if sequence_number > end || is_late {
                return Ok(true);
            }
            if last.as_ref().is_some_and(|(last, _)| sequence_number <= *last) {
                continue;
            }
            *last = Some((sequence_number, offset));
            self.hand_on(&event, sequence_number, taken_in, lanes).await?;
            if sequence_number == end {
                return Ok(true);
            }
        }
    }

    async fn hand_on(
        &self,
        event: &ReceivedEventData,
        sequence_number: i64,
        taken_in: Option<OffsetDateTime>,
        lanes: &Lanes<Received>,
    ) -> Result<()> {
        let (message, undecodable) = decode(event, || format!("{}/{sequence_number}", self.subject()));
        let mut delivery = Delivery::new(1);
        if let Some(at) = taken_in {
            delivery = delivery.enqueued_at(at);
        }
        let key = message.key.clone();
        let received = Received {
            sequence_number,
            message,
            delivery,
            undecodable: undecodable.is_some(),
        };
        let sent = lanes.send(&key, received).await;
        sent.map_err(|_| self.broken(ErrorKind::Cancelled, "a handler failed"))
    }

    async fn properties(&self, client: &ConsumerClient) -> Result<EventHubPartitionProperties> {
        let asking = client.get_partition_properties(&self.id);
        within(
            OPERATION,
            &self.replay.hub,
            self.replay.options.operation_timeout,
            asking,
        )
        .await
    }

    /// Whether no event from the beginning of the replay up to `end` is there any more, or ever was.
    fn holds_nothing(&self, partition: &EventHubPartitionProperties, end: i64) -> bool {
        let begins_late = match self.replay.options.from {
            ReplayFrom::Earliest => false,
            ReplayFrom::SequenceNumber(from) => from > end,
            ReplayFrom::Time(from) => partition
                .last_enqueued_time_utc
                .is_some_and(|last| OffsetDateTime::from(last) < from),
        };
        partition.is_empty || partition.beginning_sequence_number > end || begins_late
    }

    fn start(&self, last: Option<&(i64, String)>) -> StartPosition {
        let (location, inclusive) = match (last, self.replay.options.from) {
            (Some((_, offset)), _) => (StartLocation::Offset(offset.clone()), false),
            (None, ReplayFrom::Earliest) => (StartLocation::Earliest, true),
            (None, ReplayFrom::SequenceNumber(from)) => (StartLocation::SequenceNumber(from), true),
            (None, ReplayFrom::Time(from)) => (StartLocation::EnqueuedTime(from.into()), true),
        };
        StartPosition { location, inclusive }
    }

    fn subject(&self) -> String {
        format!("{}/{}", self.replay.hub, self.id)
    }

    fn broken(&self, kind: ErrorKind, what: &str) -> Error {
        Error::new(kind, OPERATION, self.subject()).with_message(what)
    }
}

/// Works through one lane, and says how many events were handled.
async fn work(mut lane: mpsc::Receiver<Received>, pipeline: Arc<Pipeline>, subject: Arc<str>) -> Result<u64> {
    let mut handled = 0;
    while let Some(received) = lane.recv().await {
        let name = format!("{subject}/{}", received.sequence_number);
        if received.undecodable {
            return Err(Error::new(ErrorKind::Corrupt, OPERATION, name).with_message("its body is not bytes"));
        }
        match pipeline.process(&received.message, &received.delivery).await {
            Settlement::Complete => handled += 1,
            Settlement::Abandon(failures) => {
                let what = format!("its handler failed: {}", failures.last_error);
                return Err(Error::new(ErrorKind::Other, OPERATION, name).with_message(what));
            }
            Settlement::Release => {
                return Err(Error::new(ErrorKind::Unavailable, OPERATION, name).with_message("the circuit is open"));
            }
            Settlement::DeadLetter(why) => {
                return Err(Error::new(ErrorKind::Other, OPERATION, name).with_message(why.to_string()));
            }
        }
    }
    Ok(handled)
}
