//! Ids of documents: what Cosmos DB accepts, and how names of ours are written in them.

use std::fmt::Write;

use azevents_core::{Error, ErrorKind, Result};

/// Longest id in bytes (Azure Cosmos DB service quotas).
const MAX_ID_BYTES: usize = 1023;

/// Separates the parts of an id; never part of one.
pub(crate) const SEPARATOR: char = '|';

/// Writes a name so that it may stand in an id: `/`, `\`, `?` and `#` are not allowed in ids, `|` is
/// our separator, and `%` announces an escape. Everything else, letters of any script included,
/// stays readable.
pub(crate) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '/' | '\\' | '?' | '#' | '%' | SEPARATOR => push_escape(&mut escaped, character as u32),
            // Control characters of C0 and C1 fit in two hexadecimal digits as well.
            c if c.is_control() => push_escape(&mut escaped, c as u32),
            // The service trims no spaces, but clients that build URLs do.
            ' ' if escaped.is_empty() => push_escape(&mut escaped, u32::from(' ')),
            c => escaped.push(c),
        }
    }
    if escaped.ends_with(' ') {
        escaped.pop();
        push_escape(&mut escaped, u32::from(' '));
    }
    escaped
}

fn push_escape(text: &mut String, code: u32) {
    write!(text, "%{code:02X}").expect("a string takes what is written to it");
}

/// Reads back what [`escape`] wrote.
pub(crate) fn unescape(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    let mut rest = id;
    while let Some(at) = rest.find('%') {
        name.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(code) = code {
            name.push(char::from(code));
            rest = &rest[at + 3..];
        } else {
            // Not ours; leave it as it is.
            name.push('%');
            rest = &rest[at + 1..];
        }
    }
    name.push_str(rest);
    name
}

/// Refuses an id that the service would refuse, before it is sent.
pub(crate) fn check(id: &str, operation: &'static str) -> Result<()> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::InvalidInput, operation, format_args!("{id:?}")).with_message(format!(
            "an id of {} bytes, but Cosmos DB takes 1 to {MAX_ID_BYTES}",
            id.len()
        )),
    )
}

/// Refuses an id that is sent as it is and would not survive: see [`escape`].
pub(crate) fn check_plain(id: &str, operation: &'static str) -> Result<()> {
    check(id, operation)?;
    if id.contains(['/', '\\', '?', '#']) {
        return Err(Error::new(ErrorKind::InvalidInput, operation, format_args!("{id:?}"))
            .with_message("an id must not hold '/', '\\', '?' or '#'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_name_holds_nothing_that_ids_refuse_and_reads_back() {
        for name in [
            "plain",
            "a/b\\c?d#e",
            "50%",
            "a|b",
            " x ",
            "日本",
            "tab\there",
            "\u{85}",
            "%2F",
            "",
        ] {
            let escaped = escape(name);
            assert!(!escaped.contains(['/', '\\', '?', '#', SEPARATOR]), "{escaped}");
            assert!(!escaped.starts_with(' ') && !escaped.ends_with(' '), "{escaped:?}");
            assert_eq!(unescape(&escaped), name);
        }
    }

    #[test]
    fn different_names_never_share_an_id() {
        assert_ne!(escape("a/b"), escape("a%2Fb"));
        assert_ne!(escape("a|b"), escape("a%7Cb"));
    }

    #[test]
    fn an_id_that_is_too_long_is_refused_with_its_length() {
        let error = check(&"x".repeat(1024), "apply update").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("1024 bytes"));
    }
}
