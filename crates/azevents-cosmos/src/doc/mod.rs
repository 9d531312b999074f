//! The documents of the events container, and how commits are written in them.

mod commit;
mod content;
mod message;
mod nesting;
mod numbers;
mod outbox;
mod snapshot;
pub(crate) mod time;

pub(crate) use commit::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, Extra, Tail, commit_id, is_commit};
pub(crate) use content::Content;

pub(crate) use nesting::{MAX_NESTING, depth};
pub(crate) use outbox::{OutboxDocument, is_outbox, outbox_id};
pub(crate) use snapshot::{SnapshotDocument, snapshot_id};
