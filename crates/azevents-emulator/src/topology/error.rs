//! What is wrong with a topology, where, and what to write instead.

use std::io;

/// A topology that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The file can't be read.
    #[error("{file}: cannot be read: {source}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is not a `Config.json`, or asks for something this emulator does not have.
    #[error("{file}:{line}:{column}: {what}")]
    Malformed {
        /// The file as it was named.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong and what to write instead.
        what: String,
    },
    /// Each entity is fine, but they don't go together.
    #[error("{file}: {what}")]
    Inconsistent {
        /// The file as it was named.
        file: String,
        /// What is wrong and what to write instead.
        what: String,
    },
}
