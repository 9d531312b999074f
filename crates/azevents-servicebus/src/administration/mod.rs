//! Administration: which queues, topics, subscriptions and rules a namespace has, what they are set to,
//! and how much lies in them.
//!
//! The service's management API: Atom documents over HTTPS ("Azure Service Bus entity management REST").
//! It takes the right Manage, where sending and receiving take less.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `client` | [`ServiceBusAdministrationClient`] |
//! | `queues`, `topics`, `subscriptions` | what can be set on each, and the calls |
//! | `rules` | what a subscription takes |
//! | `access`, `status` | keys of one entity; switched on or off |
//! | `runtime` | counts, sizes, times; the namespace itself |
//! | `http`, `errors` | one request and its answer |
//! | `atom`, `xml`, `duration` | what stands in them |

mod access;
mod atom;
mod client;
mod duration;
mod errors;
mod http;
mod queues;
mod rules;
mod runtime;
mod status;
mod subscriptions;
mod topics;
mod xml;

pub use self::access::{AccessRight, AccessRule};
pub use self::client::ServiceBusAdministrationClient;
pub use self::queues::QueueProperties;
pub use self::runtime::{
    MessageCounts, NamespaceProperties, QueueRuntimeProperties, SubscriptionRuntimeProperties, TopicRuntimeProperties,
};
pub use self::status::EntityStatus;
pub use self::subscriptions::SubscriptionProperties;
pub use self::topics::TopicProperties;
