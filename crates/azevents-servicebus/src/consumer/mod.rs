//! The engine's consumers: from a queue or subscription, with or without sessions.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `options` | concurrency, prefetch, lock renewal |
//! | `messages` | [`ServiceBusConsumer`]: any message, any order |
//! | `sessions` | [`SessionConsumer`]: session by session, in order |
//! | `renewal` | keeping locks while a handler runs |
//! | `backoff` | what to do when receiving fails |

mod backoff;
mod messages;
mod options;
mod renewal;
mod sessions;

use azevents_core::Settlement as Verdict;

pub use self::messages::ServiceBusConsumer;
pub use self::options::{ConsumerOptions, SessionConsumerOptions};
pub use self::sessions::SessionConsumer;
use crate::receiver::Settlement;

/// The settlement that carries out what the pipeline decided.
fn settlement(verdict: &Verdict) -> Settlement {
    match verdict {
        Verdict::Complete => Settlement::Complete,
        Verdict::Abandon => Settlement::Abandon,
        Verdict::DeadLetter(why) => Settlement::dead_letter(&why.reason, &why.description),
    }
}
