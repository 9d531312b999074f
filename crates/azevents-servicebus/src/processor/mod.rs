//! Processors: receiving, lock renewal, settling and recovery around a handler, with the semantics that
//! users know from .NET's `ServiceBusProcessor`. The engine's [consumers](crate::consumer) run on them.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `handler` | what the user writes: [`MessageHandler`]; what goes wrong: [`ProcessorError`] |
//! | `held` | [`HeldMessage`]: a message while its handler runs |
//! | `options` | concurrency, prefetch, lock renewal |
//! | `control` | [`ProcessorControl`]: pause, resume, more or less at once |
//! | `messages` | [`ServiceBusProcessor`]: any message, any order |
//! | `together`, `locks` | several of them at once, for batch handlers |
//! | `sessions`, `hold` | [`ServiceBusSessionProcessor`]: session by session, in order |
//! | `waiting` | how many of those that are there the handler gets |
//! | `prefetch` | how much to fetch ahead |
//! | `renewal` | keeping locks |
//! | `backoff` | what to do when receiving fails |

mod backoff;
mod control;
mod handler;
mod held;
mod hold;
mod locks;
mod messages;
pub(crate) mod options;
mod prefetch;
pub(crate) mod renewal;
mod sessions;
mod together;
mod waiting;

pub use self::control::ProcessorControl;
pub use self::handler::{BoxError, ErrorSource, MessageHandler, ProcessorError};
pub use self::held::HeldMessage;
pub use self::messages::ServiceBusProcessor;
pub use self::options::{Prefetch, ProcessorOptions, SessionProcessorOptions};
pub use self::sessions::ServiceBusSessionProcessor;
