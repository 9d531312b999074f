//! What every reader of leased ranges shares: the relay, subscriptions, consumers of event hubs.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`completion`] | how far everything is finished, while items finish in any order |
//! | [`keeper`] | a lease while it is ours: renewed, checkpointed, lost |
//! | [`members`] | who else reads, and how many ranges each may have |
//! | [`held`] | the ranges that are ours: begun, given back |
//! | [`redelivery`] | one message until it is handled or parked |

pub mod completion;
pub mod held;
pub mod keeper;
pub mod members;
pub mod redelivery;

pub use completion::{Completion, Position, Ticket};
pub use held::Held;
pub use keeper::Keeper;
pub use members::{Members, Share};
pub use redelivery::{Delivered, Redelivery};
