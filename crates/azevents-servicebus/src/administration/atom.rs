//! Entries and feeds of Atom (RFC 4287), with a description of an entity in each entry.

use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::form_urlencoded;

use super::duration;
use super::xml::{Element, Writer};
use crate::error::{Error, ErrorKind, Result};

const ATOM: &str = "http://www.w3.org/2005/Atom";
const SERVICE_BUS: &str = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What an entry can be read as.
pub(super) trait Described: Sized {
    /// The element in the entry's content, as in `QueueDescription`.
    const KIND: &'static str;

    /// `name` is the entry's title.
    fn read(name: &str, fields: &Fields<'_>) -> Result<Self>;
}

/// An entry whose description consists of `fields`.
pub(super) fn entry(kind: &str, fields: Writer) -> String {
    let fields = fields.into_string();
    format!(
        "<entry xmlns=\"{ATOM}\"><content type=\"application/xml\">\
         <{kind} xmlns=\"{SERVICE_BUS}\" xmlns:i=\"{INSTANCE}\">{fields}</{kind}></content></entry>"
    )
}

/// Reads the one entry of an answer. What is not there is answered with an empty feed.
pub(super) fn read_entry<T: Described>(document: &str) -> Result<T> {
    let root = Element::parse(document).ok_or_else(no_atom)?;
    match root.name.as_str() {
        "entry" => read(&root),
        "feed" if root.child("entry").is_none() => Err(Error::new(ErrorKind::EntityNotFound, "there is none")),
        _ => Err(no_atom()),
    }
}

/// One page of a list.
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    /// How many to skip for the next one.
    pub(super) next: Option<usize>,
}

/// Reads a page of which `skipped` entries came before.
pub(super) fn read_page<T: Described>(document: &str, skipped: usize) -> Result<Page<T>> {
    let root = Element::parse(document).filter(|root| root.name == "feed");
    let root = root.ok_or_else(no_atom)?;
    let children = |name: &'static str| root.children.iter().filter(move |child| child.name == name);
    let entries = children("entry").map(read).collect::<Result<Vec<T>>>()?;
    let next = children("link").find(|link| link.attribute("rel") == Some("next"));
    let next = next.map(|link| {
        let query = link.attribute("href").and_then(|href| href.split_once('?'));
        let mut query = form_urlencoded::parse(query.map_or("", |(_, query)| query).as_bytes());
        let skip = query.find(|(name, _)| name.eq_ignore_ascii_case("$skip"));
        let skip = skip.and_then(|(_, value)| value.parse().ok());
        skip.unwrap_or(skipped + entries.len())
    });
    // Whatever the link says, it must lead on.
    let next = next.filter(|next| *next > skipped && !entries.is_empty());
    Ok(Page { entries, next })
}

fn read<T: Described>(entry: &Element) -> Result<T> {
    let name = entry.text_of("title").unwrap_or_default();
    let content = entry.child("content").ok_or_else(no_atom)?;
    let Some(description) = content.child(T::KIND) else {
        let found = content.children.first().map_or("nothing", |other| other.name.as_str());
        let message = format!("there is a {found} of that name, and no {}", T::KIND);
        return Err(Error::new(ErrorKind::EntityNotFound, message));
    };
    T::read(name, &Fields(description)).map_err(|error| error.during("read", name))
}

fn no_atom() -> Error {
    Error::new(
        ErrorKind::Other,
        "the answer is no Atom document; is this the administration endpoint of a namespace?",
    )
}

/// The fields of a description.
pub(super) struct Fields<'a>(pub(super) &'a Element);

impl Fields<'_> {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.text_of(name)
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A number, or one that stands for it where the service leaves it out.
    pub(super) fn number<N: FromStr>(&self, name: &str, default: N) -> Result<N> {
        self.optional_number(name).map(|number| number.unwrap_or(default))
    }

    pub(super) fn optional_number<N: FromStr>(&self, name: &str) -> Result<Option<N>> {
        self.parsed(name, |text| text.parse().ok())
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.text(name)
            .map_or(default, |text| text.eq_ignore_ascii_case("true") || text == "1")
    }

    pub(super) fn duration(&self, name: &str, default: Duration) -> Result<Duration> {
        let duration = self.parsed(name, duration::read)?;
        Ok(duration.unwrap_or(default))
    }

    /// A duration that may be for ever, which is `None`.
    pub(super) fn open_duration(&self, name: &str) -> Result<Option<Duration>> {
        let duration = self.parsed(name, duration::read)?;
        Ok(duration.filter(|duration| *duration < Duration::MAX))
    }

    /// A point in time. .NET's year 1 stands for "never" and is `None`.
    pub(super) fn time(&self, name: &str) -> Result<Option<OffsetDateTime>> {
        let time = self.parsed(name, |text| {
            // The service leaves the offset out at times; it counts in UTC.
            OffsetDateTime::parse(text, &Rfc3339)
                .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
                .ok()
        })?;
        Ok(time.filter(|time| time.year() > 1))
    }

    /// The name of an entity, which the service gives as its address.
    pub(super) fn entity(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let path = text
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map_or(text, |(_, path)| path);
        Some(path.trim_end_matches('/').to_owned())
    }

    fn parsed<V>(&self, name: &str, parse: impl FnOnce(&str) -> Option<V>) -> Result<Option<V>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value = parse(text);
        let error = || {
            Error::new(
                ErrorKind::Other,
                format!("the service says {name} is `{text}`, which cannot be read"),
            )
        };
        value.ok_or_else(error).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Name(String);

    impl Described for Name {
        const KIND: &'static str = "QueueDescription";

        fn read(name: &str, _: &Fields<'_>) -> Result<Self> {
            Ok(Self(name.to_owned()))
        }
    }

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let page = |link: &str, entries: usize| {
            let entry = "<entry><title type='text'>q</title><content><QueueDescription/></content></entry>";
            let feed = format!("<feed xmlns='{ATOM}'>{link}{}</feed>", entry.repeat(entries));
            let page = read_page::<Name>(&feed, 100).unwrap();
            assert!(page.entries.iter().all(|entry| entry.0 == "q"));
            page.next
        };
        let next =
            "<link rel='next' href='https://x/$Resources/queues?api-version=2021-05&amp;%24skip=200&amp;$top=100'/>";
        assert_eq!(page(next, 100), Some(200));
        assert_eq!(page("<link rel='self' href='?$skip=100'/>", 100), None);
        assert_eq!(page("<link rel='next' href='elsewhere'/>", 70), Some(170));
        // What leads back or nowhere is not followed.
        assert_eq!(page("<link rel='next' href='?$skip=100'/>", 100), None);
        assert_eq!(page(next, 0), None);
    }

    #[test]
    fn what_is_not_there_and_what_is_something_else_is_not_found() {
        let topic = "<entry><title>t</title><content><TopicDescription/></content></entry>";
        for document in ["<feed><title>Publicly Listed Services</title></feed>", topic] {
            let error = read_entry::<Name>(document).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::EntityNotFound, "{error}");
        }
        for document in ["<html/>", "", "AMQP\0\u{1}"] {
            assert_eq!(read_entry::<Name>(document).err().unwrap().kind(), ErrorKind::Other);
        }
    }
}
