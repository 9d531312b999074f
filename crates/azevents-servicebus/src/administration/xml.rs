//! XML as a tree to read, and as text to write: what Atom documents need, and no more.

use quick_xml::escape::{escape, resolve_xml_entity};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Deeper than any description; what a peer nests deeper is not read.
const MAX_DEPTH: usize = 32;

/// An element. Names and the values of `type` come without their prefixes: the API's namespaces don't
/// clash.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The root of a document; `None` for what is no XML, or is nested too deep.
    pub(super) fn parse(document: &str) -> Option<Self> {
        let mut reader = Reader::from_str(document);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return None;
                    }
                    open.push(Self::begin(&start)?);
                }
                Event::Empty(start) => {
                    let element = Self::begin(&start)?;
                    open.last_mut()?.children.push(element);
                }
                Event::End(_) => {
                    let done = open.pop()?;
                    open.last_mut()?.children.push(done);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(reference) => {
                    let text = &mut open.last_mut()?.text;
                    if let Some(c) = reference.resolve_char_ref().ok()? {
                        text.push(c);
                    } else {
                        // A document's own entities are not resolved: nothing can be blown up with them.
                        text.push_str(resolve_xml_entity(&reference.decode().ok()?)?);
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let root = open.pop()?;
        open.is_empty().then_some(root)?.children.into_iter().next()
    }

    fn begin(start: &BytesStart<'_>) -> Option<Self> {
        let local = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
            attributes.push((local(attribute.key.local_name().as_ref())?, value.into_owned()));
        }
        Some(Self {
            name: local(start.local_name().as_ref())?,
            attributes,
            ..Self::default()
        })
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The attribute `i:type`, as in `SqlFilter`.
    pub(super) fn kind(&self) -> Option<&str> {
        self.attribute("type").and_then(|kind| kind.rsplit(':').next())
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text between the tags, as it stands.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a child, trimmed; `None` where it is absent or empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        let text = self.child(name)?.text.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// Elements one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.open(name, "");
        self.content(text);
        self.close(name);
    }

    /// What stands between the tags of an open element.
    pub(super) fn content(&mut self, text: &str) {
        self.0.push_str(&escape(text));
    }

    pub(super) fn value(&mut self, name: &str, value: &impl ToString) {
        self.text(name, &value.to_string());
    }

    /// Writes what is there.
    pub(super) fn optional(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.value(name, &value);
        }
    }

    /// Opens an element with attributes that are written already, or none.
    pub(super) fn open(&mut self, name: &str, attributes: &str) {
        let space = if attributes.is_empty() { "" } else { " " };
        self.0.extend(["<", name, space, attributes, ">"]);
    }

    pub(super) fn close(&mut self, name: &str) {
        self.0.extend(["</", name, ">"]);
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Writer::default();
        out.open("entry", "xmlns=\"x\" xmlns:i=\"y\"");
        out.open("Filter", "i:type=\"p:SqlFilter\"");
        out.text("SqlExpression", "a < 5 & b = '\"'");
        out.close("Filter");
        out.optional("None", None::<&str>);
        out.close("entry");
        let entry = Element::parse(&out.into_string()).unwrap();
        let filter = entry.child("Filter").unwrap();
        assert_eq!(filter.kind(), Some("SqlFilter"));
        assert_eq!(filter.text_of("SqlExpression"), Some("a < 5 & b = '\"'"));
        assert_eq!(entry.children.len(), 1);
    }

    #[test]
    fn what_is_no_document_is_none() {
        for text in ["", "text", "<a>", "<a></b>", "<a>&unknown;</a>", &"<a>".repeat(40)] {
            assert_eq!(Element::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_answered_is_read_or_refused(text in ".{0,200}", xml in "(<[a-c/!?\\[-]{0,4}[a-c ='\"&;:]{0,6}>|[a-c&;]){0,20}") {
            let _ = (Element::parse(&text), Element::parse(&xml));
        }
    }
}
