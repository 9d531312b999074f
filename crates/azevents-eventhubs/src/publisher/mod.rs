//! Publishing to an event hub: many keys side by side, each key in order.
//!
//! The SDK has one send in flight per link, and one link per client and hub. So a publisher has several
//! *lanes*, each a client of its own; a key always takes the same lane, which keeps its order, and
//! different lanes overlap.

mod lane;
mod plan;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{Error, ErrorKind, Message, PublishError, Publisher, RetryPolicy};
use tokio::sync::Mutex;

use crate::namespace::EventHubs;
use lane::{Lane, Target};
use plan::{Plan, Report};

/// How an [`EventHubPublisher`] sends.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PublisherOptions {
    /// Sends that can be in flight at once; each costs a connection, opened at its first use.
    pub lanes: usize,
    /// How long to wait for the service to acknowledge one send. The SDK does not notice when the service
    /// closes a link during a send, so then this is how long it takes to go on; too short makes copies.
    pub send_timeout: Duration,
    /// How often one send is repeated on a fresh connection before the call fails.
    pub retry: RetryPolicy,
}

impl Default for PublisherOptions {
    /// Four lanes, 10 s, two retries of which the first at once.
    fn default() -> Self {
        Self {
            lanes: 4,
            send_timeout: Duration::from_secs(10),
            retry: RetryPolicy::default().with_retries(2).with_cap(Duration::from_secs(2)),
        }
    }
}

impl PublisherOptions {
    /// Sets how many sends can be in flight; at least 1.
    #[must_use]
    pub fn with_lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.max(1);
        self
    }

    /// Sets how long to wait for one acknowledgement.
    #[must_use]
    pub fn with_send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Sets the retries within one call.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }
}

/// A [`Publisher`] to one event hub, with the message's key as partition key.
///
/// One call's messages are sent as one batch per key (more where a batch is full), in the order of the
/// slice. Publishing whole streams at a time is therefore much cheaper than event by event.
///
/// A send whose outcome the service reports as *released* or *modified* passes for acknowledged in the
/// SDK. Event Hubs is not documented to answer either.
#[derive(Debug)]
pub struct EventHubPublisher {
    target: Arc<Target>,
    lanes: Vec<Arc<Mutex<Lane>>>,
    hasher: RandomState,
}

impl EventHubPublisher {
    pub(crate) fn new(hubs: EventHubs, hub: Arc<str>) -> Self {
        Self::build(Target {
            hubs,
            hub,
            options: PublisherOptions::default(),
        })
    }

    /// Sets the options. Connections that were open are closed.
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
        let target = Arc::new(target);
        let lane = |_| Arc::new(Mutex::new(Lane::new(target.clone())));
        let lanes = (0..target.options.lanes.max(1)).map(lane).collect();
        Self {
            target,
            lanes,
            hasher: RandomState::new(),
        }
    }

    fn lane_of(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) % self.lanes.len() as u64) as usize
    }
}

#[async_trait]
impl Publisher for EventHubPublisher {
    async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        let mut plans: Vec<Plan> = self.lanes.iter().map(|_| Plan::default()).collect();
        for (index, message) in messages.iter().enumerate() {
            plans[self.lane_of(&message.key)].add(index, message);
        }
        let mut sending = Vec::new();
        for (lane, plan) in self.lanes.iter().zip(plans) {
            if plan.is_empty() {
                continue;
            }
            // The lock is taken here and moves into the task: calls queue in the order they were made,
            // and a call that is dropped while sending still ends its send before the next begins.
            let mut lane = lane.clone().lock_owned().await;
            sending.push(self.target.hubs.runtime().spawn(async move { lane.send(plan).await }));
        }
        let mut report = Report::new(messages.len());
        for task in sending {
            match task.await {
                Ok(sent) => report.merge(sent),
                Err(panic) => {
                    let error = Error::new(ErrorKind::Other, "publish", &self.target.hub).with_source(panic);
                    report.stopped(error);
                }
            }
        }
        report.into_result(&self.target.hub)
    }
}
