//! Writing XML, and reading the one document clients send.

/// Text as the content of an element. What XML 1.0 has no way to say becomes U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            '\t' | '\n' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `<name>text</name>`, empty ones too: clients look for them.
pub(crate) fn element(into: &mut String, name: &str, text: &str) {
    into.push('<');
    into.push_str(name);
    if text.is_empty() {
        into.push_str(" />");
        return;
    }
    into.push('>');
    into.push_str(&escape(text));
    into.push_str("</");
    into.push_str(name);
    into.push('>');
}

/// The innermost elements of a flat document, in order: name and text. Enough for a list of blocks,
/// whose texts are base64; `None` if it is not such a document.
pub(crate) fn leaves(document: &str) -> Option<Vec<(&str, &str)>> {
    let mut leaves = Vec::new();
    let mut rest = document;
    while let Some(start) = rest.find('<') {
        let tag_and_rest = &rest[start + 1..];
        let end = tag_and_rest.find('>')?;
        let (tag, after) = (&tag_and_rest[..end], &tag_and_rest[end + 1..]);
        let text_end = after.find('<').unwrap_or(after.len());
        let opens = !tag.starts_with(['/', '?', '!']) && !tag.ends_with('/');
        if opens && after[text_end..].starts_with(&format!("</{tag}>")) {
            leaves.push((tag, after[..text_end].trim()));
        }
        rest = after;
    }
    Some(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_blocks_is_read_in_order() {
        let document = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList><Latest>QQ==</Latest>\
                        <Uncommitted>Qg==</Uncommitted></BlockList>";
        assert_eq!(leaves(document).unwrap(), [("Latest", "QQ=="), ("Uncommitted", "Qg==")]);
        assert_eq!(leaves("<a"), None);
    }

    #[test]
    fn markup_in_a_text_stays_text() {
        let mut out = String::new();
        element(&mut out, "Name", "a<b>&\u{1}");
        element(&mut out, "Marker", "");
        assert_eq!(out, "<Name>a&lt;b&gt;&amp;\u{fffd}</Name><Marker />");
    }
}
