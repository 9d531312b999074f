//! `Authorization: SharedKey account:signature` ("Authorize with Shared Key" in Microsoft's docs).

use std::fmt::Write;

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use super::Keys;
use crate::blobs::{
    call::Call,
    error::{self, Result},
};

/// How far a request's date may be from ours.
const MAX_SKEW: Duration = Duration::minutes(15);

/// The headers whose values are signed, in this order.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

pub(super) fn check(keys: &Keys, call: &Call, signed: &str, now: OffsetDateTime) -> Result<()> {
    let (account, signature) = signed
        .trim()
        .split_once(':')
        .ok_or_else(|| error::forbidden("SharedKey is not followed by account:signature."))?;
    if account != keys.account() {
        return Err(error::forbidden(format!("There is no account '{account}' here.")));
    }
    let date = call.header("x-ms-date").or_else(|| call.header("date"));
    let date = date
        .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
        .ok_or_else(|| error::forbidden("The request has no valid x-ms-date or Date."))?;
    if (date - now).abs() > MAX_SKEW {
        return Err(error::forbidden(format!(
            "The request is dated {date}, more than 15 minutes from now, {now}."
        )));
    }
    let ascii = string_to_sign(call, &Order::Ascii);
    // The docs say "lexicographically"; newer clients sort as the service does.
    if keys.check_signature(&ascii, signature)
        || keys.check_signature(&string_to_sign(call, &Order::Service), signature)
    {
        return Ok(());
    }
    Err(error::forbidden(format!(
        "The MAC signature found in the HTTP request is not the same as any computed signature. \
         Server used following string to sign: '{}'.",
        ascii.replace('\n', "\\n")
    )))
}

enum Order {
    Ascii,
    Service,
}

fn string_to_sign(call: &Call, order: &Order) -> String {
    let mut text = format!("{}\n", call.method);
    for name in SIGNED {
        let value = match (name, call.header(name)) {
            ("content-length", Some("0")) => "",
            // The date that counts is in `x-ms-date`, if that is there.
            ("date", _) if call.header("x-ms-date").is_some() => "",
            (_, value) => value.unwrap_or_default(),
        };
        text.push_str(value);
        text.push('\n');
    }
    let mut own: Vec<&str> = call
        .headers
        .keys()
        .map(hyper::header::HeaderName::as_str)
        .filter(|name| name.starts_with("x-ms-"))
        .collect();
    match order {
        Order::Ascii => own.sort_unstable(),
        Order::Service => own.sort_unstable_by_key(|name| service_order(name)),
    }
    for name in own {
        let value = call.headers[name].to_str().unwrap_or_default().trim();
        let _ = writeln!(text, "{name}:{value}");
    }
    // The path has the account once more: it is part of the address here, not of the host.
    let _ = write!(text, "/{}{}", call.account, call.raw_path);
    for (name, value) in &call.query {
        let _ = write!(text, "\n{name}:{value}");
    }
    text
}

/// Sorts as the service does: hyphens count only between names that are otherwise alike, and an
/// underscore comes before digits (the tables of azure-storage-blob for Python tell as much).
fn service_order(name: &str) -> (Vec<u8>, Vec<u8>) {
    let letters = name.bytes().filter(|b| *b != b'-');
    let letters = letters.map(|b| if b == b'_' { b'!' } else { b }).collect();
    let hyphens_last = name.bytes().map(|b| if b == b'-' { 0xff } else { b }).collect();
    (letters, hyphens_last)
}

#[cfg(test)]
mod tests {
    use super::service_order;

    #[test]
    fn hyphens_hardly_count_in_the_services_order() {
        let mut names = [
            "x-ms-meta-b",
            "x-ms-meta-a-c",
            "x-ms-meta-ab",
            "x-ms-meta-a_b",
            "x-ms-meta-a1",
        ];
        names.sort_unstable_by_key(|name| service_order(name));
        assert_eq!(
            names,
            [
                "x-ms-meta-a_b",
                "x-ms-meta-a1",
                "x-ms-meta-ab",
                "x-ms-meta-a-c",
                "x-ms-meta-b"
            ]
        );
    }
}
