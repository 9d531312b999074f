//! A request, read to its end, and the forms of its answers.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::{
    atom::{self, Entry, Reply},
    document::Element,
};
use crate::{clock::Timestamp, servicebus::BrokerError};

/// Entries in a page, at most and if nothing is asked for.
const PAGE: usize = 100;

pub(super) struct Call {
    pub(super) method: Method,
    /// Decoded, without slashes at either end.
    pub(super) path: String,
    /// Where the client finds the same again.
    pub(super) address: String,
    pub(super) query: Vec<(String, String)>,
    /// An update, not a creation: `If-Match: *`.
    pub(super) update: bool,
    pub(super) body: Bytes,
    /// When it came.
    pub(super) now: Timestamp,
}

impl Call {
    pub(super) fn document(&self) -> Result<Element, BrokerError> {
        let document = std::str::from_utf8(&self.body).ok().and_then(Element::parse);
        document.ok_or_else(|| BrokerError::Malformed("The request's body is not XML.".into()))
    }

    pub(super) fn check_exists(&self, exists: bool, name: &str) -> Result<(), BrokerError> {
        match (exists, self.update) {
            (true, false) => Err(BrokerError::AlreadyExists(name.to_owned())),
            (false, true) => Err(BrokerError::EntityNotFound(name.to_owned())),
            _ => Ok(()),
        }
    }

    pub(super) fn found(&self, entry: &Entry) -> Reply {
        atom::entry(StatusCode::OK, &self.address, entry, self.now)
    }

    /// How the service answers where nothing is.
    pub(super) fn nothing(&self) -> Reply {
        atom::feed("Publicly Listed Services", &self.address, &[], None, self.now)
    }

    pub(super) fn written(&self, entry: Option<Entry>) -> Reply {
        let status = if self.update {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        entry.map_or_else(
            || self.nothing(),
            |entry| atom::entry(status, &self.address, &entry, self.now),
        )
    }

    /// The part that `$skip` and `$top` ask for, and where the next is.
    pub(super) fn page(&self, title: &str, entries: impl Iterator<Item = Entry>) -> Result<Reply, BrokerError> {
        let skip = self.number("$skip", 0)?;
        let top = self.number("$top", PAGE)?.min(PAGE);
        let mut entries: Vec<Entry> = entries.skip(skip).take(top + 1).collect();
        let more = entries.len() > top;
        entries.truncate(top);
        let next = format!("{}?$skip={}&$top={top}", self.address, skip.saturating_add(top));
        let next = more.then_some(&*next);
        Ok(atom::feed(title, &self.address, &entries, next, self.now))
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, BrokerError> {
        let mut values = self.query.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map_or(Ok(default), |(_, value)| {
            let wrong = |_| BrokerError::Malformed(format!("{name} must be a number from 0, not '{value}'."));
            value.parse().map_err(wrong)
        })
    }

    pub(super) fn no_such_method(&self) -> BrokerError {
        BrokerError::NotSupported(format!("{} of {}", self.method, self.path))
    }
}
