//! The client's operations as OpenTelemetry sees them, by the semantic conventions for messaging.
//!
//! With the feature `opentelemetry`, and `ClientOptions::with_telemetry`, each operation has a span and is counted.
//! Without the feature nothing of it is compiled.
//!
//! | span | linked to | type, and what counts it beside `messaging.client.operation.duration` |
//! | --- | --- | --- |
//! | `send`, `schedule` | the contexts that the messages came with | `send`: `messaging.client.sent.messages` |
//! | `create`, for a message of a batch | | `create`: none, nor is its duration |
//! | `receive`, `receive_deferred` | the messages' contexts | `receive`: `messaging.client.consumed.messages` |
//! | `peek` | the messages' contexts | none |
//! | `complete`, `abandon`, `defer`, `dead_letter` | the message's context | `settle` |
//! | `renew_lock`, `renew_session_lock`, `cancel_scheduled` | | none |
//!
//! A span's name has the destination behind it: `receive orders`. Messages without a context get that of the span that
//! sends them, in a batch of one that creates them. A receive that finds nothing is not told; nor is one that is
//! dropped. What a `TracedPublisher` of the engine publishes is told by that alone; the handlers of what such a client
//! receives count their messages not again when their `Telemetry` is one `without_consumed`.

#[cfg(feature = "opentelemetry")]
mod seen;
#[cfg(not(feature = "opentelemetry"))]
mod unseen;

#[cfg(feature = "opentelemetry")]
pub use azevents_core::telemetry::ClientTelemetry;

#[cfg(feature = "opentelemetry")]
pub(crate) use self::seen::{Creation, Observer, Watched};
#[cfg(not(feature = "opentelemetry"))]
pub(crate) use self::unseen::{Creation, Observer, Watched};
