//! Finding CSV files, and reading them row by row.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use uuid::Uuid;

use super::row::COLUMNS;
use super::{Record, Rejected, Row, Source};

/// The CSV files under `paths`: a file as it is, a folder's `*.csv` by name.
///
/// # Errors
/// A path that doesn't exist, or a folder without CSV files.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            if !path.exists() {
                bail!("{}: no such file or folder", path.display());
            }
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("{}: cannot list the folder", path.display()))?;
        let mut found: Vec<_> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<_>>>()?
            .into_iter()
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
            })
            .collect();
        if found.is_empty() {
            bail!("{}: no *.csv files in this folder", path.display());
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// Lines in a source, for a progress bar: an estimate of its rows, for quoted fields may hold line breaks.
pub fn count_rows(source: &Source) -> u64 {
    let count = |reader: &mut dyn BufRead| reader.split(b'\n').count() as u64;
    let lines = match source {
        Source::File(path) => File::open(path).map_or(0, |file| count(&mut BufReader::new(file))),
        Source::Generated(_, text) => count(&mut Cursor::new(text)),
    };
    lines.saturating_sub(1)
}

/// Reads a source row by row. Rows that can't be read are passed on as [`Record::Rejected`] and reading
/// goes on.
///
/// # Errors
/// A file that can't be read, or whose header isn't the one of the data set.
pub fn read(source: &Source) -> Result<Box<dyn Iterator<Item = Record> + Send>> {
    match source {
        Source::File(path) => {
            let name = path.display().to_string();
            let content = std::fs::read(path).with_context(|| format!("{name}: cannot read"))?;
            // The place of a row must not depend on the folder the program was started in.
            let place = path.canonicalize().unwrap_or_else(|_| path.clone());
            rows(name, &place, content.into())
        }
        Source::Generated(name, text) => rows((*name).to_owned(), Path::new(name), Bytes::from(text.clone())),
    }
}

fn rows(name: String, place: &Path, content: Bytes) -> Result<Box<dyn Iterator<Item = Record> + Send>> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .from_reader(content.clone().reader());
    let header = reader.byte_headers().with_context(|| format!("{name}: cannot read"))?;
    // Spreadsheets put a byte order mark before the first column.
    let columns: Vec<_> = header
        .iter()
        .map(|field| text(field).trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    if columns != COLUMNS {
        let (wanted, found) = (COLUMNS.join(","), columns.join(","));
        bail!("{name}: line 1: the header must be {wanted}, but it is {found}");
    }
    let file_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, place.as_os_str().as_encoded_bytes());
    let mut lines = Lines {
        content,
        byte: 0,
        line: 1,
    };
    let mut fields = ByteRecord::new();
    Ok(Box::new(std::iter::from_fn(move || {
        let begin = reader.position().byte();
        let row = match reader.read_byte_record(&mut fields) {
            Ok(false) => return None,
            Ok(true) => Ok(fields.iter().map(text).collect::<StringRecord>()),
            // With flexible lengths and bytes for text there is nothing left that could fail.
            Err(error) => Err(error.to_string()),
        };
        let line = lines.of_row(begin);
        let id = Uuid::new_v5(&file_id, &line.to_be_bytes());
        let parsed = row
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|fields| Row::parse(fields, id));
        Some(parsed.map_or_else(
            |reason| {
                let content = row.iter().flat_map(StringRecord::iter).collect::<Vec<_>>().join(",");
                Record::Rejected(Rejected {
                    file: name.clone(),
                    line,
                    reason,
                    content,
                })
            },
            Record::Row,
        ))
    })))
}

/// Counts lines up to the rows of a file, in their order.
struct Lines {
    content: Bytes,
    byte: usize,
    line: u64,
}

impl Lines {
    /// The line where the row begins that the reader found at `byte` or behind the line ends that follow:
    /// it counts blank lines, and the second half of a Windows line end, to the row after them.
    fn of_row(&mut self, byte: u64) -> u64 {
        let begin = usize::try_from(byte).unwrap_or(usize::MAX).min(self.content.len());
        let ends = self.content[begin..]
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let passed = &self.content[self.byte..begin + ends];
        self.line += passed.split(|byte| *byte == b'\n').count() as u64 - 1;
        self.byte = begin + ends;
        self.line
    }
}

/// UTF-8, or else Latin-1, which the data set's older exports are written in.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    fn read_bytes(content: Vec<u8>) -> Vec<Record> {
        rows("test.csv".into(), Path::new("test.csv"), content.into())
            .unwrap()
            .collect()
    }

    #[test]
    fn a_bad_row_is_rejected_with_its_line_and_the_rest_goes_on() {
        let good = "536365,85123A,\"A \"\"B\"\", C\nD\",6,2010-12-01 08:26:00,2.55,,France\n";
        let records = read_bytes(
            format!("{HEADER}{good}536366,1,x,six,2010-12-01 08:26:00,1,,France\n\nshort,row\n{good}").into(),
        );
        let described: Vec<_> = records
            .iter()
            .map(|record| match record {
                Record::Row(row) => format!(
                    "{} {}",
                    row.invoice,
                    row.line.description.as_deref().unwrap_or_default()
                ),
                Record::Rejected(rejected) => format!("{}:{} {}", rejected.file, rejected.line, rejected.reason),
            })
            .collect();
        assert_eq!(
            described,
            [
                "536365 A \"B\", C\nD",
                "test.csv:4 Quantity \"six\" is not a whole number",
                "test.csv:6 2 fields instead of 8",
                "536365 A \"B\", C\nD",
            ]
        );
    }

    #[test]
    fn lines_are_counted_alike_whatever_ends_them() {
        let bad = "1,2\n";
        let lines = |content: String| {
            let line = |record| match record {
                Record::Row(_) => 0,
                Record::Rejected(rejected) => rejected.line,
            };
            read_bytes(content.into()).into_iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(lines(format!("{HEADER}{bad}{bad}\n{bad}")), [2, 3, 5]);
        assert_eq!(
            lines(format!("{HEADER}{bad}{bad}\n{bad}").replace('\n', "\r\n")),
            [2, 3, 5]
        );
    }

    #[test]
    fn rows_with_the_same_content_are_different_rows() {
        let good = "536365,85123A,A,6,2010-12-01 08:26:00,2.55,,France\n";
        let ids: Vec<_> = read_bytes(format!("{HEADER}{good}{good}").into())
            .into_iter()
            .filter_map(|record| match record {
                Record::Row(row) => Some(row.line.row),
                Record::Rejected(_) => None,
            })
            .collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn latin_1_is_understood_and_a_wrong_header_is_refused_by_name() {
        let mut content = HEADER.as_bytes().to_vec();
        content.extend_from_slice(b"536365,85123A,CAF\xc9,6,2010-12-01 08:26:00,2.55,,France\n");
        assert!(matches!(&read_bytes(content)[0], Record::Row(row) if row.line.description.as_deref() == Some("CAFÉ")));
        let error = rows("test.csv".into(), Path::new("t"), Bytes::from("a,b\n1,2\n"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("the header must be InvoiceNo,"), "{error}");
    }
}
