//! Links of readers: the log from a position on, as fast as credit allows.

use std::sync::Arc;

use super::{log::Stored, partition::Partition, readers::Registration, runtime_metrics, throughput::Throughput};
use crate::{
    FaultKind, Faults,
    amqp::{Delivery, LinkEvent, LinkEvents, LinkGone, LinkSender, error::Error},
};

/// Events taken from the log at once.
const CHUNK: usize = 256;

/// One reader of one partition.
pub(super) struct Reader {
    pub(super) partition: Arc<Partition>,
    /// Held as long as it reads.
    pub(super) registration: Registration,
    /// Sequence number of the next event.
    pub(super) next: i64,
    /// Send settled, unless the reader wants to settle itself. Either way nothing depends on it:
    /// progress is the reader's own, in its checkpoints.
    pub(super) settled: bool,
    /// Tell the end of the partition with each event.
    pub(super) metrics: bool,
    pub(super) throughput: Option<Arc<Throughput>>,
    pub(super) faults: Faults,
}

impl Reader {
    pub(super) async fn run(mut self, mut sender: LinkSender, mut events: LinkEvents) -> Result<(), Error> {
        loop {
            let wait = async {
                sender.ready().await?;
                self.partition.wait_for(self.next).await;
                if let Some(throughput) = &self.throughput {
                    throughput.may_give().await;
                }
                Ok::<_, LinkGone>(())
            };
            tokio::select! {
                event = events.next() => match event {
                    None => break,
                    Some(LinkEvent::Closed(reason)) => {
                        tracing::debug!(?reason, "a reader is gone");
                        break;
                    }
                    Some(LinkEvent::Disposition { .. }) => {}
                    Some(LinkEvent::Drain) => {
                        while sender.credit() > 0 && self.send_some(&mut sender).await? {}
                        sender.drained();
                    }
                },
                ready = wait => {
                    if ready.is_err() || self.send_some(&mut sender).await.is_err() {
                        break;
                    }
                }
            }
        }
        drop(self.registration);
        Ok(())
    }

    /// Sends what there is, up to the credit; `false` if there was nothing.
    async fn send_some(&mut self, sender: &mut LinkSender) -> Result<bool, Error> {
        let limit = CHUNK.min(sender.credit() as usize);
        let chunk = self.partition.read(self.next, limit);
        let any = !chunk.is_empty();
        for event in chunk {
            let (sequence, size) = (event.sequence, event.message.iter().map(bytes::Bytes::len).sum());
            if sender.send(self.delivery(event)).await.is_err() {
                break;
            }
            if let Some(throughput) = &self.throughput {
                throughput.gave(size, 1);
            }
            // Without moving on, the same event is next once more.
            if self.faults.decide(FaultKind::RepeatDelivery) {
                self.next = sequence;
                return Ok(true);
            }
            self.next = sequence + 1;
        }
        Ok(any)
    }

    fn delivery(&self, mut event: Stored) -> Delivery {
        if self.metrics {
            event.message[0] = runtime_metrics::before(&event.message[0], &self.partition);
        }
        Delivery {
            tag: u128::from(event.sequence as u64).to_be_bytes(),
            message: event.message,
            format: 0,
            settled: self.settled,
        }
    }
}
