//! A partition's events from the SDK's thread into lanes.
//!
//! What arrived together crosses over together: waking another thread for every event costs more than all else that
//! is done with it. And what was read goes back, to be freed by the thread that allocated it: the dozens of
//! allocations of each event would have both threads wait for each other's locks.

use std::sync::Arc;

use azevents_core::lanes::Lanes;
use azevents_core::leasing::Completion;
use azure_messaging_eventhubs::models::ReceivedEventData;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::position::Position;
use super::worker::Received;
use crate::message::decode;

/// Events in the partition's order, none of them twice.
pub(super) type Chunk = Vec<(Position, ReceivedEventData)>;

pub(super) struct Intake {
    /// `hub/partition`.
    pub(super) subject: String,
    pub(super) progress: Arc<Completion<Position>>,
    pub(super) halt: CancellationToken,
    pub(super) lanes: Lanes<Received>,
    /// Where chunks go that were read.
    pub(super) used: mpsc::UnboundedSender<Chunk>,
}

impl Intake {
    /// Queues events until halted, or until a lane has ended.
    pub(super) async fn run(self, mut chunks: mpsc::Receiver<Chunk>) {
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.halt.cancelled() => return,
                chunk = chunks.recv() => chunk,
            };
            let Some(chunk) = chunk else { return };
            for (position, event) in &chunk {
                let received = self.begin(position, event);
                let key = received.message.key.clone();
                if self.lanes.send(&key, received).await.is_err() {
                    return;
                }
            }
            // If nobody takes it, it is freed here.
            let _ = self.used.send(chunk);
        }
    }

    fn begin(&self, position: &Position, event: &ReceivedEventData) -> Received {
        let fallback_id = || format!("{}/{}", self.subject, position.sequence_number);
        let (message, undecodable) = decode(event, fallback_id);
        Received {
            ticket: self.progress.begin(position.clone(), 1),
            position: position.clone(),
            message,
            enqueued_at: event.enqueued_time().map(OffsetDateTime::from),
            undecodable,
        }
    }
}
