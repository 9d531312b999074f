//! Entities by their addresses.

use std::sync::{Arc, PoisonError};

use super::{Entity, Namespace};
use crate::servicebus::{
    BrokerError, authorization::AuthorizationRule, config::QueueConfig, queue::Queue, topic::Topic,
};

/// What an address leads to.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A queue: send and receive.
    Queue(Arc<Queue>),
    /// A topic: send.
    Topic(Arc<Topic>),
    /// A subscription or a dead-letter queue: receive.
    ReceiveOnly(Arc<Queue>),
}

impl Node {
    /// Where messages to this node go, if it can be sent to.
    pub(crate) fn intake(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Topic(topic) => Some(topic.intake()),
            Self::ReceiveOnly(_) => None,
        }
    }

    /// Where messages come from, if it can be received from.
    pub(crate) fn outlet(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::Queue(queue) | Self::ReceiveOnly(queue) => Some(queue),
            Self::Topic(_) => None,
        }
    }

    /// Where `$management` requests go: whatever has scheduled, peeked or locked messages.
    pub(crate) fn managed(&self) -> &Arc<Queue> {
        match self {
            Self::Queue(queue) | Self::ReceiveOnly(queue) => queue,
            Self::Topic(topic) => topic.intake(),
        }
    }
}

impl Namespace {
    /// What an entity address leads to: `queue`, `topic`, `topic/Subscriptions/name`, or the
    /// `/$DeadLetterQueue` of a queue or subscription. Scheme and host are already cut off.
    pub(crate) fn resolve(&self, address: &str) -> Result<Node, BrokerError> {
        let not_found = || BrokerError::EntityNotFound(address.into());
        let path = address.trim_matches('/');
        if let Some(path) = strip_suffix_ignoring_case(path, "/$Transfer/$DeadLetterQueue") {
            let node = self.resolve(path)?;
            let dead = node.outlet().and_then(|queue| queue.transfer_dead_letters());
            return dead
                .map(|queue| Node::ReceiveOnly(Arc::clone(queue)))
                .ok_or_else(not_found);
        }
        if let Some(path) = strip_suffix_ignoring_case(path, "/$DeadLetterQueue") {
            let node = self.resolve(path)?;
            let dead = node.outlet().and_then(|queue| queue.dead_letters());
            return dead
                .map(|queue| Node::ReceiveOnly(Arc::clone(queue)))
                .ok_or_else(not_found);
        }
        match self.entity(path) {
            Some(Entity::Queue(queue, _)) => return Ok(Node::Queue(queue)),
            Some(Entity::Topic(topic)) => return Ok(Node::Topic(topic)),
            None => {}
        }
        let (topic, subscription) = split_subscription(path).ok_or_else(not_found)?;
        match self.entity(topic) {
            Some(Entity::Topic(topic)) => topic.subscription(subscription).map(Node::ReceiveOnly),
            _ => None,
        }
        .ok_or_else(not_found)
    }

    /// The topic and the name of a subscription by its address, if it is one.
    pub(crate) fn subscription(&self, address: &str) -> Option<(Arc<Topic>, String)> {
        let (topic, name) = split_subscription(address.trim_matches('/'))?;
        match self.entity(topic) {
            Some(Entity::Topic(topic)) if topic.subscription(name).is_some() => Some((topic, name.to_owned())),
            _ => None,
        }
    }

    /// The shared access rules of the queue or topic with this path.
    pub(in super::super) fn authorization_of(&self, path: &str) -> Option<Vec<AuthorizationRule>> {
        self.entity(path).map(|entity| match entity {
            Entity::Queue(_, config) => config.authorization.clone(),
            Entity::Topic(topic) => topic.config().authorization,
        })
    }

    /// All queues with their settings, by name.
    pub(crate) fn queues(&self) -> Vec<(Arc<Queue>, Arc<QueueConfig>)> {
        let mut queues: Vec<_> = self.all(|entity| match entity {
            Entity::Queue(queue, config) => Some((queue, config)),
            Entity::Topic(_) => None,
        });
        queues.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        queues
    }

    /// All topics, by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.all(|entity| match entity {
            Entity::Topic(topic) => Some(topic),
            Entity::Queue(..) => None,
        });
        topics.sort_by_key(|topic| topic.config().name.clone());
        topics
    }

    fn all<T>(&self, pick: impl Fn(Entity) -> Option<T>) -> Vec<T> {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        entities.values().cloned().filter_map(pick).collect()
    }

    pub(super) fn entity(&self, path: &str) -> Option<Entity> {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        entities.get(&path.to_lowercase()).cloned()
    }
}

fn split_subscription(path: &str) -> Option<(&str, &str)> {
    const BETWEEN: &str = "/subscriptions/";
    let at = path.to_ascii_lowercase().find(BETWEEN)?;
    Some((&path[..at], &path[at + BETWEEN.len()..]))
}

fn strip_suffix_ignoring_case<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let at = path.len().checked_sub(suffix.len())?;
    let tail = path.get(at..)?;
    tail.eq_ignore_ascii_case(suffix).then(|| &path[..at])
}
