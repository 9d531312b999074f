//! A handler fed from the store itself, without a broker in between: read models, process managers, exports.
//!
//! It is the relay's engine with a handler at its end: ranges under leases and divided fairly, order per
//! stream, checkpoints that never pass an unfinished event, streams that go on beside one that waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::dead_letter::DeadLetterSink;
use crate::error::{Error, ErrorKind, Result};
use crate::failures::Failures;
use crate::feed::{CommitFeed, LeaseStore};
use crate::handler::Delivery;
use crate::message::Message;
use crate::nudge::Nudge;
use crate::pipeline::{Pipeline, Settlement};
use crate::publisher::{PublishError, Publisher};
use crate::relay::{RangeLag, Relay, RelayOptions};

/// Hands every committed event, in order per stream and at least once, to a [`Pipeline`].
///
/// Where to begin ([`with_start`](RelayOptions::with_start),
/// [`with_start_beside`](RelayOptions::with_start_beside)) and what to take
/// ([`with_selection`](RelayOptions::with_selection)) are options. Any number of processes may run the same
/// subscription, as with a [`Relay`].
///
/// - An event given back by the pipeline is tried again in its place, after a backoff, with the next delivery
///   count; later events of its stream wait, other streams go on.
/// - A dead letter goes to the [parking](Self::with_parking), and later events of its stream go on. Without
///   parking the subscription stops with an error that names the event.
///
/// ```
/// # use std::sync::Arc;
/// # use azevents_core::memory::{MemoryLeases, MemoryStore};
/// # use azevents_core::{Delivery, Handled, Handler, HandlerError, Message, Pipeline, RelayOptions, Selection, Subscription};
/// struct Print;
///
/// #[async_trait::async_trait]
/// impl Handler for Print {
///     async fn handle(&self, message: &Message, _: &Delivery) -> Result<Handled, HandlerError> {
///         println!("{} {}", message.key, message.event_type);
///         Ok(Handled::Done)
///     }
/// }
///
/// let (feed, leases) = (Arc::new(MemoryStore::new()), Arc::new(MemoryLeases::new()));
/// let options = RelayOptions::default().with_selection(Selection::all().categories(["order"]));
/// let orders = Subscription::new("order-list", feed, leases, Arc::new(Pipeline::new(Arc::new(Print))), options);
/// ```
pub struct Subscription {
    relay: Relay,
    parking: Arc<Parking>,
}

impl Subscription {
    /// A subscription called `name` (its progress is kept under that name) from a feed to a pipeline.
    pub fn new(
        name: impl Into<String>,
        feed: Arc<dyn CommitFeed>,
        leases: Arc<dyn LeaseStore>,
        pipeline: Arc<Pipeline>,
        options: RelayOptions,
    ) -> Self {
        let parking = Arc::new(Parking::default());
        let handing_on = HandingOn {
            pipeline,
            parking: parking.clone(),
            given_back: Mutex::default(),
        };
        Self {
            relay: Relay::new(name, feed, leases, Arc::new(handing_on), options),
            parking,
        }
    }

    /// Listens to appends in the same process, instead of only polling.
    #[must_use]
    pub fn with_nudge(mut self, nudge: Nudge) -> Self {
        self.relay = self.relay.with_nudge(nudge);
        self
    }

    /// Sets where dead letters go.
    #[must_use]
    pub fn with_parking(self, parking: Arc<dyn DeadLetterSink>) -> Self {
        *self.parking.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parking);
        self
    }

    /// How far behind it is in each range that it has now. Costs no request.
    pub fn lag(&self) -> Vec<RangeLag> {
        self.relay.lag()
    }

    /// Runs until `stop` is cancelled: no further event is begun, running handlers end, the checkpoint is
    /// written and the leases are given back. Dropping the future is a crash: events since the last
    /// checkpoint come again.
    ///
    /// # Errors
    /// What waiting cannot mend, as [`Relay::run`]; a dead letter where there is no parking.
    pub async fn run(&self, stop: CancellationToken) -> Result<()> {
        self.relay.run(stop).await
    }
}

/// Set once, before the subscription runs.
#[derive(Default)]
struct Parking(Mutex<Option<Arc<dyn DeadLetterSink>>>);

/// The end of the engine where the relay has its publisher.
struct HandingOn {
    pipeline: Arc<Pipeline>,
    parking: Arc<Parking>,
    /// How often each event that waits for another try was delivered, and how it failed, by id.
    given_back: Mutex<HashMap<String, (u32, Box<Failures>)>>,
}

impl HandingOn {
    async fn hand_on(&self, message: &Message) -> Result<()> {
        let before = self.counts().get(&message.id).cloned();
        let given_back = before.is_some();
        let (count, failures) = before.unzip();
        let delivery = Delivery::new(count.unwrap_or(0).saturating_add(1)).after(failures);
        match self.pipeline.process(message, &delivery).await {
            Settlement::Complete => {}
            Settlement::DeadLetter(why) => {
                let parking = self.parking.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let Some(parking) = parking else {
                    return Err(Error::new(ErrorKind::Other, "handle", &message.id)
                        .with_message(format!("{why}; the subscription has no parking for it")));
                };
                parking.set_aside(message, &why).await?;
            }
            Settlement::Release => {
                // The relay waits longer and longer before it asks again.
                return Err(
                    Error::new(ErrorKind::Unavailable, "handle", &message.id).with_message("the circuit is open")
                );
            }
            Settlement::Abandon(failures) => {
                self.counts().insert(message.id.clone(), (delivery.count, failures));
                return Err(Error::new(ErrorKind::Unavailable, "handle", &message.id).with_message("given back"));
            }
        }
        if given_back {
            self.counts().remove(&message.id);
        }
        Ok(())
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u32, Box<Failures>)>> {
        self.given_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Publisher for HandingOn {
    async fn publish(&self, messages: &[Message]) -> std::result::Result<(), PublishError> {
        for (done, message) in messages.iter().enumerate() {
            self.hand_on(message)
                .await
                .map_err(|error| PublishError::after(done, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feed::StartFrom;
    use crate::handler::{Handled, Handler, HandlerError};
    use crate::memory::{MemoryDeadLetters, MemoryLeases, MemoryStore};
    use crate::{EventStore, ExpectedVersion, NewEvent, RetryPolicy, Selection, StreamId};

    /// Keeps what it handles; refuses by event type.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<(String, u64, u32)>>);

    #[async_trait]
    impl Handler for Recorder {
        async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
            match message.event_type.as_str() {
                "Poison" => return Err(HandlerError::permanent("Poison", "never")),
                "Slow" if delivery.count < 3 => return Err(HandlerError::transient("not yet")),
                _ => {}
            }
            let version = message.version().unwrap().get();
            self.0
                .lock()
                .unwrap()
                .push((message.key.clone(), version, delivery.count));
            Ok(Handled::Done)
        }
    }

    async fn append(store: &MemoryStore, stream: &str, event_type: &str) {
        let event = NewEvent::json(event_type, &1).unwrap();
        let stream = StreamId::new(stream).unwrap();
        let _ = store.append(&stream, ExpectedVersion::Any, vec![event]).await.unwrap();
    }

    /// Runs a subscription for ten seconds.
    async fn run(
        store: &MemoryStore,
        leases: &MemoryLeases,
        name: &str,
        options: RelayOptions,
    ) -> (Vec<(String, u64, u32)>, Vec<String>) {
        let (recorder, parked) = (Arc::new(Recorder::default()), MemoryDeadLetters::new());
        let pipeline = Pipeline::new(recorder.clone()).with_retry(RetryPolicy::none());
        let (feed, leases) = (Arc::new(store.clone()), Arc::new(leases.clone()));
        let subscription = Subscription::new(name, feed, leases, Arc::new(pipeline), options)
            .with_nudge(store.nudge())
            .with_parking(Arc::new(parked.clone()));
        let stop = CancellationToken::new();
        let stopping = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(subscription.run(stop.clone()), stopping);
        ended.unwrap();
        let handled = recorder.0.lock().unwrap().clone();
        (
            handled,
            parked.all().into_iter().map(|(message, _)| message.key).collect(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_handled_once_in_order_and_a_waiting_one_holds_up_its_stream_only() {
        let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
        for (stream, event_type) in [("a-1", "Slow"), ("a-1", "Quick"), ("a-2", "Poison"), ("a-2", "Quick")] {
            append(&store, stream, event_type).await;
        }
        let (mut handled, parked) = run(&store, &leases, "s", RelayOptions::default()).await;
        handled.sort();
        let expected = [("a-1", 1, 3), ("a-1", 2, 1), ("a-2", 2, 1)];
        assert_eq!(
            handled,
            expected.map(|(key, version, count)| (key.to_owned(), version, count))
        );
        assert_eq!(parked, ["a-2"]);
        let (again, _) = run(&store, &leases, "s", RelayOptions::default()).await;
        assert!(again.is_empty(), "what is done is done: {again:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_begins_where_it_is_told_and_takes_what_it_wants() {
        let (store, leases) = (MemoryStore::new(), MemoryLeases::new());
        append(&store, "a-1", "Old").await;
        assert_eq!(run(&store, &leases, "old", RelayOptions::default()).await.0.len(), 1);
        append(&store, "a-1", "New").await;
        append(&store, "b-1", "New").await;
        let now = RelayOptions::default().with_start(StartFrom::Now);
        assert!(run(&store, &leases, "now", now).await.0.is_empty());
        let beside = RelayOptions::default()
            .with_start_beside("old")
            .with_selection(Selection::all().categories(["a"]));
        let (handled, _) = run(&store, &leases, "beside", beside).await;
        assert_eq!(handled, [("a-1".to_owned(), 2, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn beginning_beside_a_reader_that_does_not_exist_is_an_error_that_names_it() {
        let (feed, leases) = (Arc::new(MemoryStore::new()), Arc::new(MemoryLeases::new()));
        let pipeline = Arc::new(Pipeline::new(Arc::new(Recorder::default())));
        let options = RelayOptions::default().with_start_beside("nobody");
        let subscription = Subscription::new("s", feed, leases, pipeline, options);
        let error = subscription.run(CancellationToken::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, "nobody"));
    }
}
