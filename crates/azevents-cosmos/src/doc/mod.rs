//! The documents of the events container, and how commits are written in them.

mod commit;
mod content;
mod numbers;

pub(crate) use commit::{COMMIT_PREFIX, CommitDocument, END_OF_COMMITS, Tail, commit_id, is_commit};
pub(crate) use content::Content;
