//! Entities that are deleted once nobody has used them for a while: `AutoDeleteOnIdle`.
//!
//! What counts as use is from "Message expiration (Time to Live)", section "Idleness", in the service's
//! documentation: of a queue what is sent, received, peeked and scheduled, and changed settings; of a
//! subscription what is received and peeked, changed settings and new rules, but not the copies that
//! come; of a topic what is sent and scheduled, changed settings, and all use of its subscriptions. A
//! scheduled message is a use until its time has come, and so is an open receiver, or forwarding, which
//! is one. An open sender that sends nothing is not.
//!
//! One task for each namespace looks at the entities when the first of them may be due, by the
//! emulator's clock. Use only moves that time away, so nobody wakes the task for it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    BrokerError, Namespace,
    clock::{Clock, Timestamp},
    queue::Queue,
};

/// The shortest time that the service takes.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

/// Refuses what the service refuses.
pub(super) fn check(after: Option<Duration>) -> Result<(), BrokerError> {
    match after {
        Some(after) if after < SHORTEST => Err(BrokerError::OutOfRange(format!(
            "AutoDeleteOnIdle is {} seconds; it must be at least 5 minutes.",
            after.as_secs_f64()
        ))),
        _ => Ok(()),
    }
}

/// When an entity is to be deleted that may be idle for so long, as far as can be said now.
pub(super) fn due(queue: &Queue, after: Duration, now: Timestamp) -> Timestamp {
    if let Some(scheduled) = queue.last_scheduled() {
        queue.usage().keep(scheduled);
    }
    let last = queue.usage().idle_since().filter(|_| queue.forwards_to().is_none());
    last.unwrap_or(now) + after
}

/// Deletes what is idle, until the namespace is gone.
pub(super) async fn run(namespace: Weak<Namespace>, clock: Clock, settings: Arc<Notify>) {
    let mut next = None;
    loop {
        match next {
            None => settings.notified().await,
            Some(at) => tokio::select! {
                () = clock.sleep_until(at) => {}
                () = settings.notified() => {}
            },
        }
        let Some(namespace) = namespace.upgrade() else {
            return;
        };
        next = namespace.delete_idle();
    }
}

/// The earliest of the times at which something is due.
#[derive(Default)]
pub(super) struct Earliest(Option<Timestamp>);

impl Earliest {
    /// Whether this is due already; otherwise it is remembered.
    pub(super) fn is_over(&mut self, at: Timestamp, now: Timestamp) -> bool {
        let over = at <= now;
        if !over {
            self.0 = Some(self.0.map_or(at, |earliest| earliest.min(at)));
        }
        over
    }

    pub(super) fn get(&self) -> Option<Timestamp> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::Faults,
        servicebus::{
            Forwarding, NamespaceConfig, QueueConfig, Rule, SubscriptionConfig, TopicConfig,
            engine::{ReceiveMode, Settlement},
            message::testing::Sample,
        },
    };

    const MINUTE: Duration = Duration::from_secs(60);
    const AFTER: Option<Duration> = Some(SHORTEST);

    struct World {
        namespace: Namespace,
        clock: Clock,
    }

    impl World {
        /// Without the task: tests look themselves.
        fn new() -> Self {
            let clock = Clock::start();
            let namespace = Namespace::new(NamespaceConfig::default(), clock.clone(), Faults::none());
            Self { namespace, clock }
        }

        fn queue(&self, name: &str, change: impl FnOnce(&mut QueueConfig)) -> Arc<Queue> {
            let mut config = QueueConfig::new(name);
            config.auto_delete_on_idle = AFTER;
            change(&mut config);
            self.namespace.create_queue(&config).unwrap()
        }

        fn pass(&self, minutes: u32) {
            self.clock.advance(minutes * MINUTE);
            self.namespace.delete_idle();
        }

        fn has(&self, address: &str) -> bool {
            self.namespace.resolve(address).is_ok()
        }
    }

    #[tokio::test]
    async fn a_queue_stays_while_it_is_sent_to_received_from_or_changed_and_goes_when_it_is_idle() {
        let world = World::new();
        let queue = world.queue("q", |_| ());
        world.queue("beside", |config| config.auto_delete_on_idle = None);
        world.pass(4);
        queue.send(vec![Sample::default().message()]).unwrap();
        world.pass(4);
        let receiver = queue.dead_letters().unwrap().usage().receive();
        world.pass(60);
        drop(receiver);
        world.pass(4);
        let config = QueueConfig {
            auto_delete_on_idle: AFTER,
            ..QueueConfig::new("q")
        };
        world.namespace.update_queue(&config).unwrap();
        world.pass(4);
        assert!(world.has("q") && queue.counts().active == 1);
        world.pass(2);
        assert!(!world.has("q") && world.has("beside"));
        let refused = queue.send(vec![Sample::default().message()]);
        assert!(matches!(refused, Err(BrokerError::EntityNotFound(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_scheduled_message_keeps_a_queue_until_its_time_and_after_that_as_a_sent_one() {
        let world = World::new();
        let queue = world.queue("q", |_| ());
        let in_an_hour = world.clock.now() + 60 * MINUTE;
        let later = Sample::default().scheduled_at_ms(in_an_hour.as_millis());
        queue.send(vec![later.message()]).unwrap();
        world.pass(59);
        assert!(world.has("q"));
        world.pass(5);
        let received = queue.try_receive(1, ReceiveMode::PeekLock).remove(0);
        queue.settle(received.token, &Settlement::Complete).unwrap();
        assert!(world.has("q"));
        world.pass(2);
        assert!(!world.has("q"));
    }

    #[tokio::test]
    async fn what_forwards_is_received_from() {
        let world = World::new();
        world.queue("last", |_| ());
        let to_last = |config: &mut QueueConfig| {
            config.forwarding = Forwarding {
                to: Some("last".into()),
                dead_letters_to: None,
            }
        };
        world.queue("first", to_last);
        world.pass(60);
        assert!(world.has("first") && !world.has("last"));
    }

    #[tokio::test]
    async fn copies_are_no_use_of_a_subscription_but_its_use_is_one_of_the_topic() {
        let world = World::new();
        let config = TopicConfig {
            auto_delete_on_idle: AFTER,
            ..TopicConfig::new("t")
        };
        let topic = world.namespace.create_topic(&config).unwrap();
        for name in ["read", "left"] {
            let config = SubscriptionConfig {
                auto_delete_on_idle: AFTER,
                ..SubscriptionConfig::new(name)
            };
            world.namespace.create_subscription("t", &config).unwrap();
        }
        let receiver = topic.subscription("read").unwrap().usage().receive();
        world.pass(4);
        topic.intake().send(vec![Sample::default().message()]).unwrap();
        world.pass(2);
        assert!(world.has("t/Subscriptions/read") && !world.has("t/Subscriptions/left"));
        world.pass(60);
        assert!(world.has("t"));
        drop(receiver);
        world.pass(4);
        let rule = Rule {
            name: "more".into(),
            ..Rule::match_all()
        };
        topic.add_rule("read", rule).unwrap();
        world.pass(4);
        assert!(world.has("t/Subscriptions/read"));
        world.pass(2);
        assert!(!world.has("t"));
    }

    #[tokio::test]
    async fn less_than_five_minutes_is_refused() {
        let world = World::new();
        let config = QueueConfig {
            auto_delete_on_idle: Some(4 * MINUTE),
            ..QueueConfig::new("q")
        };
        let refused = world.namespace.create_queue(&config).unwrap_err().to_string();
        assert!(refused.contains("at least 5 minutes"), "{refused}");
        world.queue("q", |_| ());
        assert!(world.namespace.update_queue(&config).is_err());
    }

    #[tokio::test]
    async fn a_running_namespace_looks_by_itself_also_after_a_change_of_settings() {
        let clock = Clock::start();
        let namespace = Namespace::open(NamespaceConfig::default(), clock.clone(), Faults::none(), None).unwrap();
        let mut config = QueueConfig::new("q");
        namespace.create_queue(&config).unwrap();
        clock.advance(60 * MINUTE);
        config.auto_delete_on_idle = AFTER;
        namespace.update_queue(&config).unwrap();
        clock.advance(SHORTEST);
        let gone = async {
            while namespace.resolve("q").is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(MINUTE, gone).await.expect("it is deleted");
    }
}
