//! State that outlives the process: a folder with one append-only log for each service.
//!
//! A service writes what it is about to acknowledge to its [`Journal`] and acknowledges it when the
//! journal says that it is written. What was acknowledged therefore survives `kill -9`: it is in
//! the operating system's cache, which outlives the process. To survive the loss of power as well,
//! [`DataFolder::with_fsync`] makes the journal wait for the disk, once for all that came meanwhile.
//!
//! A log grows until it is twice as long as when it was last written anew, and is then written anew,
//! into a second file that takes the first one's name when it is whole: from the service's state or,
//! where that can't be had, from what is in the log.
//!
//! | file | |
//! | --- | --- |
//! | `lock` | held as long as an emulator uses the folder |
//! | `SERVICE.log` | [`frame`]s; an incomplete one at the end is what a kill left, and is cut off |
//! | `SERVICE.log.new` | a log being written anew; worth nothing before it is renamed |

#[cfg_attr(
    not(feature = "cosmos"),
    allow(dead_code, reason = "only Cosmos DB's log is condensed")
)]
mod anew;
mod folder;
mod frame;
mod journal;
#[cfg_attr(not(feature = "cosmos"), allow(dead_code, reason = "as above"))]
mod writer;
#[cfg_attr(not(feature = "cosmos"), allow(dead_code, reason = "as above"))]
mod written;

pub(crate) use anew::Sink;

pub(crate) use folder::Folder;
pub use folder::{DataError, DataFolder};
pub(crate) use frame::Record;
pub(crate) use journal::{Journal, NotWritten, Recovered};
#[cfg(feature = "cosmos")]
pub(crate) use written::Written;
