//! The engine's consumers: from a queue or subscription, with or without sessions. They run a
//! [`Pipeline`](azevents_core::Pipeline) on the [processors](crate::processor).
//!
//! | module | what lives there |
//! | --- | --- |
//! | `options` | concurrency, prefetch, lock renewal |
//! | `messages` | [`ServiceBusConsumer`]: any message, any order |
//! | `sessions` | [`SessionConsumer`]: session by session, in order |
//! | `adapter` | a pipeline as a processor's handler, its circuit breaker as the processor's limit |
//! | `delayed` | [`DelayedRetry`]: trying again much later |

mod adapter;
mod delayed;
mod messages;
mod options;
mod sessions;

pub use self::delayed::DelayedRetry;
pub use self::messages::ServiceBusConsumer;
pub use self::options::{ConsumerOptions, SessionConsumerOptions};
pub use self::sessions::SessionConsumer;
