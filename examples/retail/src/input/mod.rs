//! Order rows: from CSV files in the UCI "Online Retail" format, or from the built-in generator.

mod files;
mod generator;
mod row;

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub use files::{count_rows, find, read};
pub use generator::generate;
pub use row::Row;

/// Invoices of the day that is made up when no input is given.
const INVOICES: u32 = 150;

/// Where rows come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A CSV file.
    File(PathBuf),
    /// Generated CSV, under a name.
    Generated(&'static str, String),
}

/// A row, or why it is none.
#[derive(Debug)]
pub enum Record {
    /// A row that can be read.
    Row(Row),
    /// One that can't.
    Rejected(Rejected),
}

/// A row that was not understood. It is kept, so that somebody can mend it and read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The file.
    pub file: String,
    /// The line in it where the row begins, from 1.
    pub line: u64,
    /// What is wrong, and with which value.
    pub reason: String,
    /// The row as it was found.
    pub content: String,
}

/// The sources that the command line names: files and folders of CSV files, or the generator.
///
/// # Errors
/// A path that doesn't exist or a folder without CSV files.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    if paths.is_empty() {
        return Ok(vec![Source::Generated("generated.csv", generate(1, INVOICES))]);
    }
    Ok(find(paths)?.into_iter().map(Source::File).collect())
}
