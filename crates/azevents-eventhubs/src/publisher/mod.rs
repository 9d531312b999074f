//! Publishing to an event hub: every partition side by side, each key in order.
//!
//! The SDK has one send in flight per link. So a publisher has *lanes*, one per partition, each a link of its
//! own: a key's partition is found here ([`Placement::Key`]), its messages always take the same lane, and
//! what many callers publish meanwhile fills the lane's next batch.

mod call;
mod connection;
mod entry;
mod lane;
mod lanes;
mod options;
mod partition_hash;
mod receipt;
mod sender;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use azevents_core::{Error, ErrorKind, Message, PublishError, Publisher, Result};
use tokio::sync::{OnceCell, Semaphore};

use crate::namespace::EventHubs;
use call::{Call, Calls};
use entry::Entry;
use lanes::{Lanes, Run};

pub use options::{Placement, PublisherOptions};
pub use receipt::Receipt;

/// Where all lanes of a publisher send to.
#[derive(Debug)]
struct Target {
    hubs: EventHubs,
    hub: Arc<str>,
    options: PublisherOptions,
}

/// A [`Publisher`] to one event hub, with the message's key as partition key.
///
/// Batches are filled by bytes across all callers, and there is one send in flight per partition. Share one
/// publisher (in an [`Arc`]) rather than opening several.
///
/// [`publish`](Publisher::publish) waits for the service's acknowledgement; [`enqueue`](Self::enqueue) does
/// not, and [`flush`](Self::flush) and [`close`](Self::close) wait for everything that was accepted. What was
/// accepted is sent also when its call is dropped, or the publisher is; only the end of the process, or of
/// its runtime, stops it.
///
/// ```no_run
/// # use azevents_core::{Message, Publisher};
/// # use azevents_eventhubs::{EventHubs, PublisherOptions};
/// # use std::time::Duration;
/// # async fn run(hubs: EventHubs, messages: Vec<Message>) -> Result<(), Box<dyn std::error::Error>> {
/// let options = PublisherOptions::default().with_linger(Duration::from_millis(5));
/// let publisher = hubs.publisher("order-events").with_options(options);
/// for message in messages {
///     publisher.enqueue(&[message]).await?;
/// }
/// publisher.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// A send whose outcome the service reports as *released* or *modified* passes for acknowledged in the
/// SDK. Event Hubs is not documented to answer either.
#[derive(Debug)]
pub struct EventHubPublisher {
    target: Arc<Target>,
    /// Started at the first use, for the partitions must be asked for.
    lanes: OnceCell<Lanes>,
    room: Arc<Semaphore>,
    calls: Mutex<Calls>,
    closed: AtomicBool,
}

impl EventHubPublisher {
    pub(crate) fn new(hubs: EventHubs, hub: Arc<str>) -> Self {
        Self::build(Target {
            hubs,
            hub,
            options: PublisherOptions::default(),
        })
    }

    /// Sets the options. What was accepted before is sent by the old ones.
    #[must_use]
    pub fn with_options(self, options: PublisherOptions) -> Self {
        let Target { hubs, hub, .. } = &*self.target;
        Self::build(Target {
            hubs: hubs.clone(),
            hub: hub.clone(),
            options,
        })
    }

    fn build(target: Target) -> Self {
        Self {
            room: Arc::new(Semaphore::new(target.options.buffer_bytes)),
            target: Arc::new(target),
            lanes: OnceCell::new(),
            calls: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Accepts messages, in order per key, and returns as soon as there is room for all of them. Waiting
    /// with the [`Receipt`] is optional: they are sent without it.
    ///
    /// After a failed message those of its key are held back only within the same call. To keep the order of
    /// a key over failures too, put them into one call, or wait for the receipt before the next.
    ///
    /// Cancellation: a dropped call has accepted some messages from the beginning.
    ///
    /// # Errors
    /// When the hub cannot be reached or does not exist, or the publisher is closed; nothing was accepted.
    /// What happens to a message later, its receipt says.
    pub async fn enqueue(&self, messages: &[Message]) -> Result<Receipt> {
        let lanes = self.lanes().await?;
        let call = Call::new(messages.len());
        self.calls().add(&call);
        let mut accepting = Accepting {
            call: &call,
            left: messages.len(),
        };
        let mut run = Run::default();
        for (index, message) in messages.iter().enumerate() {
            if call.blocks(&message.key) {
                call.give_up(1);
            } else {
                let room = self.room_for(message).await;
                if let Some(entry) = lanes.push(Entry::new(&call, index, message, room), &mut run) {
                    entry.stop(&Arc::new(self.is_closed()));
                }
            }
            accepting.left -= 1;
        }
        drop(accepting);
        Ok(Receipt::new(call, self.target.hub.clone()))
    }

    /// Waits until everything that was accepted before is acknowledged or has failed, without any linger.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When some of it was not acknowledged; the receipts say why.
    pub async fn flush(&self) -> Result<()> {
        let open = self.calls().open();
        if let Some(lanes) = self.lanes.get() {
            lanes.hurry();
        }
        let (mut missing, mut all) = (0, 0);
        for call in open {
            call.done().await;
            missing += call.missing();
            all += call.len();
        }
        if missing > 0 {
            return Err(
                Error::new(ErrorKind::Other, "flush", &self.target.hub).with_message(format!(
                    "{missing} of {all} events were not acknowledged; their receipts say why"
                )),
            );
        }
        Ok(())
    }

    /// Accepts no more, sends what was accepted, and closes the connections. Cancel-safe: what was accepted
    /// is still sent.
    ///
    /// # Errors
    /// Those of [`flush`](Self::flush).
    pub async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let flushed = self.flush().await;
        if let Some(lanes) = self.lanes.get() {
            lanes.close().await;
        }
        flushed
    }

    async fn lanes(&self) -> Result<&Lanes> {
        let starting = || async {
            let target = self.target.clone();
            let started = self.target.hubs.runtime().spawn(Lanes::start(target)).await;
            started.unwrap_or_else(|panic| {
                Err(Error::new(ErrorKind::Other, "publish", &self.target.hub).with_source(panic))
            })
        };
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.is_closed());
        }
        let lanes = self.lanes.get_or_try_init(starting).await?;
        // Looked at after the lanes are there: a close that came before did not see them.
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.is_closed());
        }
        Ok(lanes)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn room_for(&self, message: &Message) -> tokio::sync::OwnedSemaphorePermit {
        let bytes = message.size().clamp(1, self.target.options.buffer_bytes) as u32;
        let room = self.room.clone().acquire_many_owned(bytes).await;
        room.expect("the semaphore is never closed")
    }

    fn is_closed(&self) -> Error {
        Error::new(ErrorKind::Cancelled, "publish", &self.target.hub)
            .with_message("the publisher is closed; open another")
    }
}

/// Says, when a call is dropped half-way, that the rest of its messages will not come.
struct Accepting<'a> {
    call: &'a Call,
    left: usize,
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        if self.left > 0 {
            self.call.give_up(self.left);
        }
    }
}

#[async_trait]
impl Publisher for EventHubPublisher {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let accepted = self.enqueue(messages).await;
        accepted
            .map_err(|error| PublishError::after(0, error))?
            .acknowledged()
            .await
    }
}
