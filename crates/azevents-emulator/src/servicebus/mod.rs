//! The emulated Service Bus broker.
//!
//! | idea | where |
//! | --- | --- |
//! | the entities of a namespace, by address | [`namespace`] |
//! | what one queue does with its messages: a pure state machine | [`engine`] |
//! | the same with a lock, timers and waiting receivers | [`queue`] |
//! | a topic and the copies it makes | [`topic`], [`filter`] |
//! | who may send and receive | [`authorization`], [`status`] |
//! | passing messages on to other entities | [`forwarding`] |
//! | times of creation, change and use; deletion of what nobody uses | [`usage`], [`idle`] |
//! | how large and how many | [`limits`], [`tier`] |
//! | conditions and actions of rules in SQL | [`sql`] |
//! | a message: what is kept as sent and what the broker writes | [`message`] |
//! | all or nothing, also across entities | [`transactions`], [`groups`] |
//! | what outlives the process | [`store`] |
//! | all of it on AMQP links | [`links`] |
//! | time | [`clock`] |

mod authorization;
mod config;
mod engine;
mod error;
mod filter;
mod forwarding;
mod groups;
mod idle;
mod limits;
mod links;
mod message;
mod namespace;
mod queue;
mod sql;
mod status;
mod store;
mod tier;
mod topic;
mod transactions;
mod usage;

use crate::clock;
pub(crate) use authorization::AuthorizationRule;
pub(crate) use config::{QueueConfig, Remarks, SubscriptionConfig, TopicConfig};
pub(crate) use engine::{MessageCounts, PARTITIONS};
pub(crate) use error::BrokerError;
pub(crate) use filter::{CorrelationFilter, Filter, Rule};
pub(crate) use forwarding::{Forwarding, path_of};
pub(crate) use limits::NamespaceConfig;
pub(crate) use links::ServiceBus;
pub(crate) use namespace::{Namespace, Node};
pub(crate) use queue::Queue;
pub(crate) use sql::{Parameters, SqlAction, SqlFilter, Value};
pub use status::EntityStatus;
pub(crate) use tier::Tier;
pub(crate) use topic::Topic;
pub(crate) use usage::Times;
