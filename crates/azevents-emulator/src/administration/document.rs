//! The documents clients send: XML as a tree, names without their prefixes.

use quick_xml::{Reader, XmlVersion, events::Event};

use crate::servicebus::BrokerError;

/// Deeper than any description.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    /// The attribute `type`, without its prefix and that of its value.
    pub(super) kind: Option<String>,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The root of a document; `None` if it is not XML.
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
                Event::GeneralRef(reference) => {
                    let c = match reference.resolve_char_ref().ok()? {
                        Some(c) => c,
                        None => quick_xml::escape::resolve_xml_entity(&reference.decode().ok()?)?
                            .chars()
                            .next()?,
                    };
                    open.last_mut()?.text.push(c);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let root = open.pop()?;
        open.is_empty().then_some(root)?.children.into_iter().next()
    }

    fn begin(start: &quick_xml::events::BytesStart<'_>) -> Option<Self> {
        let mut kind = None;
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            if attribute.key.local_name().as_ref() == b"type" {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
                kind = Some(value.rsplit(':').next().unwrap_or_default().to_owned());
            }
        }
        Some(Self {
            name: String::from_utf8(start.local_name().as_ref().to_vec()).ok()?,
            kind,
            ..Self::default()
        })
    }

    /// The first element of this name, however deep.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// The element of this name, which describes such a thing.
    pub(super) fn description(&self, name: &str, what: &str) -> Result<&Self, BrokerError> {
        let missing = || BrokerError::Malformed(format!("There is no description of a {what} ({name})."));
        self.find(name).ok_or_else(missing)
    }

    /// The text of a child, with the white space around it; empty where the child is.
    pub(super) fn whole_text(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(&child.text)
    }

    /// The text of a child, if it has one that isn't empty.
    pub(super) fn child(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        let text = child.text.trim();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn names_lose_their_prefixes_and_texts_their_escapes() {
        let document = "<?xml version='1.0'?><a:entry xmlns:a='x'><a:content><Filter i:type='p:SqlFilter'>\
                        <SqlExpression>a &lt; 5 &#38; b</SqlExpression></Filter><Empty/></a:content></a:entry>";
        let entry = Element::parse(document).unwrap();
        let filter = entry.find("Filter").unwrap();
        assert_eq!(filter.kind.as_deref(), Some("SqlFilter"));
        assert_eq!(filter.child("SqlExpression"), Some("a < 5 & b"));
        assert!(entry.find("Empty").is_some() && Element::parse("<a>").is_none());
    }
}
