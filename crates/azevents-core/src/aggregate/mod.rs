//! Aggregates: state folded from a stream's events, which decides what may happen next.

mod aggregates;
mod codec;
mod loaded;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use aggregates::{Aggregates, Executed};
pub use codec::{decode, decode_message, encode};
pub use loaded::Loaded;

/// Something that decides by what has happened to it.
///
/// Events are an enum; each variant's name is its event type, and the variant's content is the JSON that
/// is stored:
///
/// ```
/// use azevents_core::Aggregate;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum CounterEvent { Counted { by: u32 } }
///
/// #[derive(Default)]
/// struct Counter { total: u32 }
///
/// impl Aggregate for Counter {
///     type Event = CounterEvent;
///     type Command = u32;
///     type Refusal = String;
///
///     fn decide(&self, by: &u32) -> Result<Vec<CounterEvent>, String> {
///         if *by == 0 { return Err("nothing to count".into()) }
///         Ok(vec![CounterEvent::Counted { by: *by }])
///     }
///
///     fn evolve(&mut self, event: &CounterEvent) {
///         let CounterEvent::Counted { by } = event;
///         self.total += by;
///     }
/// }
/// ```
pub trait Aggregate: Default + Send + 'static {
    /// What can happen: an enum with the serde representation that is the default (externally tagged).
    type Event: Serialize + DeserializeOwned + Send;
    /// What can be asked for.
    type Command: Sync;
    /// Why it is refused.
    type Refusal: Send;

    /// The events that carrying out `command` leads to; none when it has already been carried out.
    ///
    /// # Errors
    /// The reason when the state does not allow it.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// The state after `event`. Must not fail: the event has happened.
    fn evolve(&mut self, event: &Self::Event);
}

#[cfg(test)]
mod tests;
