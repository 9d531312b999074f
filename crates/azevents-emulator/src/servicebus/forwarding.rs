//! Entities that pass their messages, or their dead letters, on to another queue or topic.
//!
//! As in the service it happens after a message was accepted, by a task: no lock of one entity is held while
//! another's is taken, so entities may well forward in a circle. What makes such a circle end is the limit on hops.
//! What can't be passed on goes to the entity's transfer dead-letter queue ("Autoforwarding" and "Transfer
//! dead-letter queue" in the service's documentation).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{BrokerError, Namespace, engine::DeadLetter, queue::Queue};

/// Entities a message may pass through on its way.
const MAX_HOPS: u8 = 4;

/// Messages taken at a time; with a data folder, what becomes of them is one record.
const BATCH: usize = 100;

/// Where an entity's messages go on to. Addresses are kept as they were given: clients of the administration API
/// write whole URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Forwarding {
    /// Where all messages go.
    pub(crate) to: Option<String>,
    /// Where dead letters go.
    pub(crate) dead_letters_to: Option<String>,
}

impl Forwarding {
    /// Refuses what the service refuses.
    pub(super) fn check(&self, path: &str, requires_session: bool) -> Result<(), BrokerError> {
        if requires_session && self.to.is_some() {
            return Err(BrokerError::NotAllowed(format!(
                "'{path}' requires sessions, and can't forward its messages."
            )));
        }
        let itself = |to: &String| path_of(to).eq_ignore_ascii_case(path);
        if self.to.iter().chain(&self.dead_letters_to).any(itself) {
            return Err(BrokerError::NotAllowed(format!("'{path}' can't forward to itself.")));
        }
        Ok(())
    }
}

/// The entity in an address, which may be a URL.
pub(crate) fn path_of(address: &str) -> &str {
    let path = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    path.split('?').next().unwrap_or(path).trim_matches('/')
}

/// Knows which entities have something to pass on.
#[derive(Debug, Default)]
pub(super) struct Forwarder {
    waiting: Mutex<Vec<Weak<Queue>>>,
    more: Notify,
}

impl Forwarder {
    /// A queue that forwards has messages. Called under the queue's lock.
    pub(super) fn wake(&self, queue: &Weak<Queue>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Weak::clone(queue));
        self.more.notify_one();
    }

    fn take(&self) -> Vec<Weak<Queue>> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes on what there is, until the namespace is gone.
pub(super) async fn run(namespace: Weak<Namespace>, forwarder: Arc<Forwarder>) {
    loop {
        forwarder.more.notified().await;
        for queue in forwarder.take() {
            let (Some(namespace), Some(queue)) = (namespace.upgrade(), queue.upgrade()) else {
                continue;
            };
            while namespace.forward_from(&queue) {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Namespace {
    /// Passes some messages on; `false` when there are none left.
    fn forward_from(&self, queue: &Queue) -> bool {
        queue.together(|| {
            let Some((to, letters)) = queue.take_forwarded(BATCH) else {
                return false;
            };
            let to = self.resolve(path_of(&to));
            let to = to.and_then(|node| {
                let intake = node.intake().cloned();
                intake.ok_or_else(|| BrokerError::NotAllowed("A subscription can't be sent to.".into()))
            });
            for letter in letters {
                let refused = match &to {
                    _ if letter.message().hops() > MAX_HOPS => Err((
                        "MaxTransferHopCountExceeded",
                        format!("The message has passed through more than {MAX_HOPS} entities."),
                    )),
                    Ok(to) => to.take_forward(letter.message()).map_err(|error| reason(&error)),
                    Err(error) => Err(reason(error)),
                };
                if let Err((reason, description)) = refused {
                    queue.dead_letter_transfer(letter, reason, &description);
                }
            }
            true
        })
    }
}

/// Why a destination did not take a message. The service names .NET's exceptions there.
fn reason(error: &BrokerError) -> (&'static str, String) {
    let reason = match error {
        BrokerError::EntityNotFound(_) => "MessagingEntityNotFoundException",
        BrokerError::EntityDisabled(_) => "MessagingEntityDisabledException",
        BrokerError::QuotaExceeded(_) => "QuotaExceededException",
        _ => "InvalidOperationException",
    };
    (reason, error.to_string())
}

impl DeadLetter {
    /// Tells why, in its application properties.
    pub(super) fn explained(mut self, reason: &str, description: &str) -> Self {
        self.explain(Some(reason), Some(description));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;
    use crate::{
        clock::Clock,
        faults::Faults,
        servicebus::{
            NamespaceConfig, QueueConfig, SubscriptionConfig, TopicConfig,
            engine::{ReceiveMode, Received, Settlement},
            message::testing::Sample,
        },
    };

    fn namespace() -> Arc<Namespace> {
        Namespace::open(NamespaceConfig::default(), Clock::start(), Faults::none(), None).unwrap()
    }

    fn queue(namespace: &Namespace, name: &str, to: Option<&str>, dead_letters_to: Option<&str>) -> Arc<Queue> {
        let config = QueueConfig {
            forwarding: Forwarding {
                to: to.map(str::to_owned),
                dead_letters_to: dead_letters_to.map(str::to_owned),
            },
            ..QueueConfig::new(name)
        };
        namespace.create_queue(&config).unwrap()
    }

    async fn receive(queue: &Queue) -> Received {
        let received = queue.receive(1, ReceiveMode::PeekLock);
        let received = tokio::time::timeout(Duration::from_secs(10), received).await;
        received.expect("a message comes").unwrap().remove(0)
    }

    fn text(received: &Received) -> String {
        let encoded = received.message.encode_whole(&received.stamp);
        String::from_utf8_lossy(&encoded).into_owned()
    }

    #[tokio::test]
    async fn messages_go_on_in_order_with_the_number_they_had_first() {
        let namespace = namespace();
        let last = queue(&namespace, "last", None, None);
        queue(&namespace, "middle", Some("sb://localhost/last/"), None);
        let first = queue(&namespace, "first", Some("middle"), None);
        first.send(vec![Sample::default().id("before").message()]).unwrap();
        let ids: Vec<_> = (0..300).map(|n| format!("m{n}")).collect();
        for id in &ids {
            first.send(vec![Sample::default().id(id).message()]).unwrap();
        }
        assert_eq!(receive(&last).await.message.message_id(), Some("before"));
        for id in &ids {
            let received = receive(&last).await;
            assert_eq!(received.message.message_id(), Some(id.as_str()));
            assert_eq!(received.message.hops(), 2);
            assert!(text(&received).contains("x-opt-enqueue-sequence-number"));
            last.settle(received.token, &Settlement::Complete).unwrap();
        }
        assert_eq!(first.counts().active, 0);
    }

    #[tokio::test]
    async fn subscriptions_and_dead_letters_go_on_too_and_topics_pass_them_to_all() {
        let namespace = namespace();
        let collected = queue(&namespace, "collected", None, None);
        let work = queue(&namespace, "work", None, Some("fan"));
        for topic in ["orders", "fan"] {
            namespace.create_topic(&TopicConfig::new(topic)).unwrap();
        }
        let to_work = SubscriptionConfig {
            forwarding: Forwarding {
                to: Some("https://shop.servicebus.windows.net/Work?api-version=1".into()),
                dead_letters_to: None,
            },
            ..SubscriptionConfig::new("billing")
        };
        namespace.create_subscription("orders", &to_work).unwrap();
        let to_collected = SubscriptionConfig {
            forwarding: Forwarding {
                to: Some("collected".into()),
                dead_letters_to: None,
            },
            ..SubscriptionConfig::new("one")
        };
        namespace.create_subscription("fan", &to_collected).unwrap();
        let other = namespace
            .create_subscription("fan", &SubscriptionConfig::new("other"))
            .unwrap();
        let orders = namespace.resolve("orders").unwrap().intake().cloned().unwrap();
        orders.send(vec![Sample::default().id("m").message()]).unwrap();
        let received = receive(&work).await;
        let dead = Settlement::DeadLetter {
            reason: Some("Bad".into()),
            description: None,
            properties: Default::default(),
        };
        work.settle(received.token, &dead).unwrap();
        for queue in [&collected, &other] {
            let received = receive(queue).await;
            assert_eq!(received.message.message_id(), Some("m"));
            assert_eq!(received.stamp.delivery_count, 0);
            let text = text(&received);
            assert!(
                text.contains("DeadLetterReason") && text.contains("x-opt-deadletter-source"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_go_on_is_kept_with_the_reason() {
        let namespace = namespace();
        let nowhere = queue(&namespace, "nowhere", Some("absent"), None);
        queue(&namespace, "there", Some("back"), None);
        queue(&namespace, "back", Some("there"), None);
        nowhere.send(vec![Sample::default().id("lost").message()]).unwrap();
        let round = namespace.resolve("there").unwrap().intake().cloned().unwrap();
        round.send(vec![Sample::default().id("round").message()]).unwrap();
        let mut reasons = HashMap::new();
        for path in ["nowhere", "there"] {
            let dead = namespace
                .resolve(&format!("{path}/$Transfer/$DeadLetterQueue"))
                .unwrap();
            let received = receive(dead.outlet().unwrap()).await;
            reasons.insert(received.message.message_id().unwrap().to_owned(), text(&received));
        }
        assert!(reasons["lost"].contains("MessagingEntityNotFoundException"));
        assert!(reasons["round"].contains("MaxTransferHopCountExceeded"));
    }

    #[tokio::test]
    async fn sessions_and_oneself_are_nothing_to_forward_to() {
        let namespace = namespace();
        for (to, sessions) in [("q", false), ("other", true)] {
            let config = QueueConfig {
                requires_session: sessions,
                forwarding: Forwarding {
                    to: Some(to.into()),
                    dead_letters_to: None,
                },
                ..QueueConfig::new("q")
            };
            assert!(matches!(
                namespace.create_queue(&config),
                Err(BrokerError::NotAllowed(_))
            ));
        }
    }
}
