//! Answers: headers every one has, and those that describe a blob or container.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{HeaderName, HeaderValue},
};
use time::{OffsetDateTime, macros::format_description};

use super::{
    error::BlobError,
    lease::{Lease, State},
    model::{Blob, Metadata, Stamp},
};
use crate::{clock::Timestamp, xml};

pub(super) type Reply = Response<Full<Bytes>>;

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    with_body(status, Bytes::new())
}

pub(super) fn with_body(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply
}

/// 200 with a document.
pub(super) fn document(inner: &str) -> Reply {
    let text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{inner}");
    let mut reply = with_body(StatusCode::OK, Bytes::from(text));
    set(&mut reply, "content-type", "application/xml");
    reply
}

pub(super) fn failed(error: &BlobError) -> Reply {
    // Neither of these has a body, by HTTP.
    let mut reply = if error.status == StatusCode::NOT_MODIFIED {
        empty(error.status)
    } else {
        let mut inner = String::from("<Error>");
        xml::element(&mut inner, "Code", error.code);
        xml::element(&mut inner, "Message", &error.message);
        inner.push_str("</Error>");
        let mut reply = document(&inner);
        *reply.status_mut() = error.status;
        reply
    };
    set(&mut reply, "x-ms-error-code", error.code);
    reply
}

/// Sets a header; a value that can't be one is left out.
pub(super) fn set(reply: &mut Reply, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        reply.headers_mut().insert(name, value);
    }
}

pub(super) fn stamp(reply: &mut Reply, stamp: &Stamp) {
    set(reply, "etag", &format!("\"{}\"", stamp.etag));
    set(reply, "last-modified", &http_date(stamp.modified));
}

pub(super) fn metadata(reply: &mut Reply, metadata: &Metadata) {
    for (name, value) in metadata {
        set(reply, &format!("x-ms-meta-{name}"), value);
    }
}

/// Whether there is a lease, and which kind.
pub(super) fn lease(reply: &mut Reply, lease: Option<&Lease>, now: Timestamp) {
    let state = State::of(lease, now);
    set(reply, "x-ms-lease-status", state.status());
    set(reply, "x-ms-lease-state", state.as_str());
    if let (Some(lease), State::Leased) = (lease, state) {
        set(reply, "x-ms-lease-duration", lease.duration());
    }
}

/// All that is told of a blob with its content, or instead of it.
pub(super) fn describe(reply: &mut Reply, blob: &Blob, now: Timestamp) {
    let about = &blob.about;
    lease(reply, blob.lease.as_ref(), now);
    stamp(reply, &about.stamp);
    metadata(reply, &about.metadata);
    let headers = &about.headers;
    let content_type = headers.content_type.as_deref().unwrap_or("application/octet-stream");
    set(reply, "content-type", content_type);
    for (name, value) in [
        ("content-encoding", &headers.encoding),
        ("content-language", &headers.language),
        ("content-disposition", &headers.disposition),
        ("cache-control", &headers.cache_control),
    ] {
        if let Some(value) = value {
            set(reply, name, value);
        }
    }
    for (name, value) in [
        ("accept-ranges", "bytes"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-creation-time", &http_date(about.created)),
        ("x-ms-server-encrypted", "true"),
        ("x-ms-access-tier", "Hot"),
        ("x-ms-access-tier-inferred", "true"),
    ] {
        set(reply, name, value);
    }
}

/// `Sat, 21 Nov 2026 05:00:00 GMT` (RFC 9110 section 5.6.7).
pub(super) fn http_date(unix_seconds: i64) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(format)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
