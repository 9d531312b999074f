//! Receiving from a queue, a subscription or a dead-letter queue.

pub(crate) mod attached;
mod buffer;
mod link;
mod options;
mod settle;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fe2o3_amqp::link::delivery::DeliveryInfo;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::attached::{Attached, LinkTarget, Session};
use self::buffer::Buffer;
use self::link::{LinkTask, Settle};
pub use self::options::{ReceiveMode, ReceiverOptions};
pub use self::settle::Settlement;
use crate::client::Shared;
use crate::error::{Error, Result};
use crate::management::{HeldSession, Management, Renewal};
use crate::message::{Properties, ReceivedMessage};

/// Settlements that may wait for the link's task.
const QUEUE: usize = 1024;

/// Which delivery of which link a message is, so that it can be settled over it.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Until it is settled over the link, which happens once.
    delivery: Mutex<Option<DeliveryInfo>>,
    link: u64,
    /// What it was settled as over the link has not come true, or not for certain: only its lock is left to settle it
    /// by. So it is after a transaction that was rolled back.
    by_lock: AtomicBool,
}

impl Origin {
    fn new(delivery: DeliveryInfo, link: u64) -> Self {
        Self {
            delivery: Mutex::new(Some(delivery)),
            link,
            by_lock: AtomicBool::new(false),
        }
    }

    /// Takes what it is settled by over its link; `None` where that was done before.
    fn claim(&self) -> Option<DeliveryInfo> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Only its lock is left.
    fn leave_to_lock(&self) {
        self.by_lock.store(true, Ordering::Relaxed);
    }

    fn is_left_to_lock(&self) -> bool {
        self.by_lock.load(Ordering::Relaxed)
    }
}

/// What a plain receiver and a session's receiver have in common.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) client: Arc<Shared>,
    pub(crate) management: Arc<Management>,
    pub(crate) entity: String,
    pub(crate) mode: ReceiveMode,
    /// The session whose lock covers the messages, and the link that holds it.
    pub(crate) session: Option<(String, String)>,
    buffer: Arc<Buffer>,
    settles: mpsc::Sender<Settle>,
    task: JoinHandle<()>,
}

impl Core {
    pub(crate) fn start(
        client: &Arc<Shared>,
        target: LinkTarget,
        prefetch: u32,
        session: Option<(String, String)>,
        attached: Option<Attached>,
    ) -> Self {
        let buffer = Arc::new(Buffer::new(prefetch, session.is_none()));
        let (settles, receiver) = mpsc::channel(QUEUE);
        let task = LinkTask {
            connection: Arc::clone(&client.connection),
            target: target.clone(),
            retry: client.retry,
            buffer: Arc::clone(&buffer),
            settles: receiver,
        };
        Self {
            management: client.management(&target.entity),
            entity: target.entity,
            mode: target.mode,
            session,
            buffer,
            settles,
            task: tokio::spawn(task.run(attached)),
            client: Arc::clone(client),
        }
    }

    pub(crate) fn held_session(&self) -> Option<HeldSession<'_>> {
        self.session.as_ref().map(|(id, link)| HeldSession { id, link })
    }

    /// Closes the link and waits until that is done.
    pub(crate) async fn close(self) {
        drop(self.settles);
        // A panic of the task has been reported where it happened.
        let _ = self.task.await;
    }

    /// Cancelled when a session's receiver has lost its link, and the session with it.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.buffer.ended()
    }

    /// Changes how many messages are fetched ahead.
    pub(crate) fn set_prefetch(&self, count: usize) {
        self.buffer.set_prefetch(count);
    }

    /// Renews the locks of messages that wait in the buffer, each for at most `max_age` since it came; runs
    /// until it is dropped. Does not keep the receiver open.
    pub(crate) fn keep_buffered<F: Fn(Error) + Send + Sync>(
        &self,
        max_age: Duration,
        failed: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let (buffer, management) = (Arc::clone(&self.buffer), Arc::clone(&self.management));
        async move {
            loop {
                let (due, pause) = buffer.due(max_age);
                let tell = |renewal| match renewal {
                    Renewal::Renewed(token, until) => buffer.renewed(token, until),
                    // Not renewed, it is left out when its lock has run out.
                    Renewal::Lost(_, error) | Renewal::Failed(error) => failed(error),
                };
                management.renew_each(&due, tell).await;
                tokio::time::sleep(pause).await;
            }
        }
    }

    pub(crate) async fn receive(&self, max: usize, wait: Option<Duration>) -> Result<Vec<ReceivedMessage>> {
        let receiving = self.client.observer.receiving("receive", &self.entity);
        let received = self.buffer.take(max.max(1), wait).await;
        let received = received.map_err(|error| error.during("receive", &self.entity));
        receiving.end(&received);
        received
    }
}

/// Receives from one queue, subscription or dead-letter queue, over one link that is opened by the first
/// receive and again after a loss. All methods can be called at once.
///
/// # Cancellation
/// A receive that is dropped loses no message: what has arrived stays for the next one. A settlement that
/// is dropped may or may not have happened. Dropping the receiver closes its link and gives messages that
/// were prefetched and not taken back to the broker.
///
/// ```no_run
/// use std::time::Duration;
/// use azevents_servicebus::{ReceiverOptions, ServiceBusClient, Settlement, subscription};
///
/// # async fn example(client: ServiceBusClient) -> Result<(), azevents_servicebus::Error> {
/// let options = ReceiverOptions::default().with_prefetch(100);
/// let receiver = client.create_receiver_with(&subscription("orders", "billing"), &options);
/// for message in receiver.receive_batch(50, Duration::from_secs(5)).await? {
///     match std::str::from_utf8(message.body()) {
///         Ok(text) => {
///             println!("{text}");
///             receiver.complete(&message).await?;
///         }
///         Err(error) => receiver.dead_letter(&message, "NotText", &error.to_string()).await?,
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Receiver(Core);

impl Receiver {
    pub(crate) fn new(client: &Arc<Shared>, entity: &str, options: &ReceiverOptions) -> Self {
        let target = LinkTarget {
            entity: entity.to_owned(),
            mode: options.mode,
            session: Session::None,
            timeout: client.retry.try_timeout,
        };
        Self(Core::start(client, target, options.prefetch, None, None))
    }

    pub(crate) fn core(&self) -> &Core {
        &self.0
    }

    /// The queue, subscription or dead-letter queue.
    pub fn entity(&self) -> &str {
        &self.0.entity
    }

    /// Waits for one message.
    ///
    /// # Errors
    /// What retrying cannot help, at once; transient failures when the retries are used up.
    pub async fn receive(&self) -> Result<ReceivedMessage> {
        loop {
            if let Some(message) = self.0.receive(1, None).await?.pop() {
                return Ok(message);
            }
        }
    }

    /// Up to `max` messages: those that are there, as soon as there is one; none after `max_wait`.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive).
    pub async fn receive_batch(&self, max: usize, max_wait: Duration) -> Result<Vec<ReceivedMessage>> {
        self.0.receive(max, Some(max_wait)).await
    }

    /// Settles a message: it is done. Waits for the broker's word on it, and goes through `$management`
    /// where the link was lost since.
    ///
    /// # Errors
    /// [`ErrorKind::MessageLockLost`](crate::ErrorKind::MessageLockLost): the message will come again.
    pub async fn complete(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Complete).await
    }

    /// Gives a message back: it is available at once, and its delivery count goes up.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn abandon(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Abandon).await
    }

    /// Sets a message aside: from here on it can be received by its sequence number only.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn defer(&self, message: &ReceivedMessage) -> Result<()> {
        self.settle(message, &Settlement::Defer).await
    }

    /// Moves a message to the dead-letter queue. Reason and description are cut at 4096 characters, the
    /// most that the service takes.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn dead_letter(&self, message: &ReceivedMessage, reason: &str, description: &str) -> Result<()> {
        self.settle(message, &Settlement::dead_letter(reason, description))
            .await
    }

    /// Settles a message in whichever way.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn settle(&self, message: &ReceivedMessage, settlement: &Settlement) -> Result<()> {
        self.settle_with(message, settlement, &Properties::new()).await
    }

    /// Settles a message and sets application properties on it, beside those it has: what later receivers
    /// of it, or readers of the dead-letter queue, should know. Completing sets none.
    ///
    /// # Errors
    /// As of [`complete`](Self::complete).
    pub async fn settle_with(
        &self,
        message: &ReceivedMessage,
        settlement: &Settlement,
        properties: &Properties,
    ) -> Result<()> {
        self.0.settle(message, settlement, properties).await
    }

    /// Prolongs a message's lock; gives its new end.
    ///
    /// # Errors
    /// [`ErrorKind::MessageLockLost`](crate::ErrorKind::MessageLockLost) where it is too late.
    pub async fn renew_lock(&self, message: &ReceivedMessage) -> Result<OffsetDateTime> {
        let token = self.0.lock_token(message, "renew lock")?;
        self.0.management.renew_lock(token).await
    }

    /// Prolongs the locks of several messages in one request; gives their new ends.
    ///
    /// # Errors
    /// [`ErrorKind::MessageLockLost`](crate::ErrorKind::MessageLockLost) where it is too late for one of
    /// them: then none was prolonged.
    pub async fn renew_locks(&self, messages: &[&ReceivedMessage]) -> Result<Vec<OffsetDateTime>> {
        let tokens: Result<Vec<_>> = messages
            .iter()
            .map(|message| self.0.lock_token(message, "renew lock"))
            .collect();
        self.0.management.renew_locks(&tokens?).await
    }

    /// Looks at up to `max` messages from a sequence number on (0: from the first), without locking them.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive).
    pub async fn peek(&self, from_sequence_number: i64, max: u32) -> Result<Vec<ReceivedMessage>> {
        self.0.management.peek(from_sequence_number, max, None).await
    }

    /// Receives messages that were deferred, by sequence number. They are locked, where this receiver
    /// locks, and settled as any others.
    ///
    /// # Errors
    /// [`ErrorKind::MessageNotFound`](crate::ErrorKind::MessageNotFound) where one of them is not there.
    pub async fn receive_deferred(&self, sequence_numbers: &[i64]) -> Result<Vec<ReceivedMessage>> {
        let peek_lock = self.0.mode == ReceiveMode::PeekLock;
        self.0
            .management
            .receive_deferred(sequence_numbers, peek_lock, None)
            .await
    }

    /// Deletes up to `max` messages (the service takes 500 at once in the Standard tier, 4000 in Premium) that were enqueued before `before` and
    /// are not locked; gives how many there were.
    ///
    /// # Errors
    /// As of [`receive`](Self::receive). Where the answer is lost, the call is repeated, and the number is
    /// that of the last one.
    pub async fn delete_messages(&self, max: u32, before: OffsetDateTime) -> Result<u64> {
        self.0.management.delete_messages(max, before).await
    }

    /// Closes the link and waits until messages that were prefetched and not taken are back with the broker.
    /// Dropping the receiver does the same, without waiting.
    pub async fn close(self) {
        self.0.close().await;
    }
}
