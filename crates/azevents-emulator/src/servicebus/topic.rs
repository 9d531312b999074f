//! A topic: one intake, and a copy of each message in every subscription that wants it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    config::{SubscriptionConfig, TopicConfig},
    engine::Rules,
    filter::Rule,
    message::Message,
    queue::{Queue, Surroundings},
};

/// See the [module](self).
pub(crate) struct Topic {
    name: String,
    /// Keeps scheduled messages and the duplicate history; passes on the rest. Its lock is held
    /// meanwhile, so all subscriptions see one order.
    intake: Arc<Queue>,
    subscriptions: Arc<RwLock<Subscriptions>>,
}

type Subscriptions = BTreeMap<String, Subscription>;

struct Subscription {
    rules: Vec<Rule>,
    queue: Arc<Queue>,
}

impl Subscription {
    fn wants(&self, message: &Message) -> bool {
        self.rules.iter().any(|rule| rule.filter.matches(message))
    }
}

impl Topic {
    pub(super) fn new(config: &TopicConfig, around: &Surroundings) -> Self {
        let subscriptions = Arc::new(RwLock::new(Subscriptions::new()));
        let copies = Arc::clone(&subscriptions);
        let forward = move |messages: &[Message]| {
            let subscriptions = copies.read().unwrap_or_else(PoisonError::into_inner);
            for subscription in subscriptions.values() {
                let wanted = |message: &&Message| subscription.wants(message);
                subscription.queue.take_copies(messages.iter().filter(wanted));
            }
        };
        Self {
            name: config.name.clone(),
            intake: Queue::forwarding(
                Rules::of_topic(config),
                config.duplicate_detection,
                Box::new(forward),
                around,
            ),
            subscriptions,
        }
    }

    /// Where senders send.
    pub(crate) fn intake(&self) -> &Arc<Queue> {
        &self.intake
    }

    /// The subscription's queue, created with this configuration if it isn't there yet. It gets
    /// the messages sent from now on.
    pub(super) fn subscribe(&self, config: &SubscriptionConfig, around: &Surroundings) -> Arc<Queue> {
        let mut subscriptions = self.subscriptions.write().unwrap_or_else(PoisonError::into_inner);
        let subscription = subscriptions.entry(config.name.to_lowercase()).or_insert_with(|| {
            let path = format!("{}/Subscriptions/{}", self.name, config.name);
            Subscription {
                rules: config.rules.clone(),
                queue: Queue::new(Rules::of_subscription(&config.queue(path)), None, around),
            }
        });
        Arc::clone(&subscription.queue)
    }

    /// The subscription's queue, by its name in any case.
    pub(crate) fn subscription(&self, name: &str) -> Option<Arc<Queue>> {
        let subscriptions = self.subscriptions.read().unwrap_or_else(PoisonError::into_inner);
        let subscription = subscriptions.get(&name.to_lowercase());
        subscription.map(|subscription| Arc::clone(&subscription.queue))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
