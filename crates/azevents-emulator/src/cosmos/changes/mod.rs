//! The latest-version change feed, from a log of what was written.
//!
//! Microsoft's emulator answers a change feed request by copying and sorting every item of the
//! partition, however little is new: a reader that polls while a service writes turns quadratic.
//! This log knows what comes after a position, and reads from the emulator only what it returns.
//! It hands out the emulator's own continuation tokens, so either can go on from the other's.

mod lineage;
mod log;
mod page;
mod token;

pub(super) use lineage::{Lineage, Place};
pub(super) use log::{ChangeLog, ItemKey};
pub(super) use page::{FeedRequest, all, answer, is_of_all_versions, translated};
pub(super) use token::Token;
