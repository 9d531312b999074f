//! Block blobs: put, get, describe, delete.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use md5::{Digest, Md5};
use time::OffsetDateTime;

use super::{
    account::State,
    call::Call,
    conditions::Conditions,
    error::{self, BlobError, Result},
    lease_ops,
    model::{Blob, BlobProperties, Change},
    reply::{self, Reply},
};

pub(super) fn put(state: &mut State, call: &Call) -> Result<Reply> {
    match call.header("x-ms-blob-type") {
        Some("BlockBlob") => {}
        Some(other) => {
            return Err(error::not_implemented(&format!(
                "blobs of type {other}, only BlockBlob"
            )));
        }
        None => return Err(error::invalid_header("x-ms-blob-type", "is missing")),
    }
    if call.header("x-ms-copy-source").is_some() {
        return Err(error::not_implemented("copies from an address"));
    }
    check_name(call.blob()?)?;
    check_content(call)?;
    let md5 = STANDARD.encode(Md5::digest(&call.body));
    let mut reply = write(state, call, call.body.clone(), Vec::new(), Some(md5.clone()))?;
    reply::set(&mut reply, "content-md5", &md5);
    Ok(reply)
}

/// Replaces a blob with new content, whole.
pub(super) fn write(
    state: &mut State,
    call: &Call,
    content: Bytes,
    blocks: Vec<(String, u64)>,
    md5: Option<String>,
) -> Result<Reply> {
    let (container, blob) = (call.container()?.to_owned(), call.blob()?.to_owned());
    let before = state.find(&container, &blob)?;
    Conditions::of(call)?.check_write(before.map(|blob| &blob.about.stamp))?;
    let created = before.map(|blob| blob.about.created);
    lease_ops::guard_write(state, call)?;
    let mut headers = call.content_headers();
    headers.md5 = headers.md5.or(md5);
    let about = BlobProperties {
        metadata: call.metadata()?,
        headers,
        created: created.unwrap_or_else(|| OffsetDateTime::now_utc().unix_timestamp()),
        blocks,
        stamp: state.stamp(),
    };
    let mut reply = reply::empty(StatusCode::CREATED);
    reply::stamp(&mut reply, &about.stamp);
    reply::set(&mut reply, "x-ms-request-server-encrypted", "true");
    state.change(Change::Blob { container, blob, about }, content);
    Ok(reply)
}

/// The content, or the part of it asked for. A HEAD is answered with the headers alone.
pub(super) fn get(state: &State, call: &Call) -> Result<Reply> {
    let blob = state.blob(call.container()?, call.blob()?)?;
    Conditions::of(call)?.check_read(&blob.about.stamp)?;
    lease_ops::guard_read(state, call)?;
    let length = blob.content.len();
    if call.method == Method::HEAD {
        let mut reply = reply::empty(StatusCode::OK);
        reply::describe(&mut reply, blob, state.now());
        whole_md5(&mut reply, "content-md5", blob);
        reply::set(&mut reply, "content-length", &length.to_string());
        return Ok(reply);
    }
    let Some(range) = call.header("x-ms-range").or_else(|| call.header("range")) else {
        let mut reply = reply::with_body(StatusCode::OK, blob.content.clone());
        reply::describe(&mut reply, blob, state.now());
        whole_md5(&mut reply, "content-md5", blob);
        return Ok(reply);
    };
    let (first, end) = range_of(range, length)?;
    let part = blob.content.slice(first..end);
    let part_md5 = call
        .header("x-ms-range-get-content-md5")
        .is_some_and(|wanted| wanted.eq_ignore_ascii_case("true"))
        .then(|| STANDARD.encode(Md5::digest(&part)));
    let mut reply = reply::with_body(StatusCode::PARTIAL_CONTENT, part);
    reply::describe(&mut reply, blob, state.now());
    reply::set(
        &mut reply,
        "content-range",
        &format!("bytes {first}-{}/{length}", end - 1),
    );
    whole_md5(&mut reply, "x-ms-blob-content-md5", blob);
    if let Some(md5) = part_md5 {
        reply::set(&mut reply, "content-md5", &md5);
    }
    Ok(reply)
}

fn whole_md5(reply: &mut Reply, name: &str, blob: &Blob) {
    if let Some(md5) = &blob.about.headers.md5 {
        reply::set(reply, name, md5);
    }
}

pub(super) fn get_metadata(state: &State, call: &Call) -> Result<Reply> {
    let about = &state.blob(call.container()?, call.blob()?)?.about;
    Conditions::of(call)?.check_read(&about.stamp)?;
    lease_ops::guard_read(state, call)?;
    let mut reply = reply::empty(StatusCode::OK);
    reply::stamp(&mut reply, &about.stamp);
    reply::metadata(&mut reply, &about.metadata);
    Ok(reply)
}

pub(super) fn set_metadata(state: &mut State, call: &Call) -> Result<Reply> {
    let metadata = call.metadata()?;
    describe(state, call, |about| about.metadata = metadata)
}

/// Sets the headers kept with a blob; those not given are cleared.
pub(super) fn set_headers(state: &mut State, call: &Call) -> Result<Reply> {
    let mut headers = call.content_headers();
    headers.content_type = call.header("x-ms-blob-content-type").map(str::to_owned);
    describe(state, call, |about| about.headers = headers)
}

fn describe(state: &mut State, call: &Call, change: impl FnOnce(&mut BlobProperties)) -> Result<Reply> {
    let (container, blob) = (call.container()?.to_owned(), call.blob()?.to_owned());
    let mut about = state.blob(&container, &blob)?.about.clone();
    Conditions::of(call)?.check_write(Some(&about.stamp))?;
    lease_ops::guard_write(state, call)?;
    change(&mut about);
    about.stamp = state.stamp();
    let mut reply = reply::empty(StatusCode::OK);
    reply::stamp(&mut reply, &about.stamp);
    reply::set(&mut reply, "x-ms-request-server-encrypted", "true");
    state.change(Change::Describe { container, blob, about }, Bytes::new());
    Ok(reply)
}

pub(super) fn delete(state: &mut State, call: &Call) -> Result<Reply> {
    let (container, blob) = (call.container()?.to_owned(), call.blob()?.to_owned());
    let before = state.blob(&container, &blob)?;
    Conditions::of(call)?.check_write(Some(&before.about.stamp))?;
    lease_ops::guard_write(state, call)?;
    state.change(Change::DropBlob { container, blob }, Bytes::new());
    let mut reply = reply::empty(StatusCode::ACCEPTED);
    reply::set(&mut reply, "x-ms-delete-type-permanent", "true");
    Ok(reply)
}

/// Checks the content against the sum that came with it.
pub(super) fn check_content(call: &Call) -> Result<()> {
    for unsupported in ["x-ms-content-crc64", "x-ms-structured-body"] {
        if call.header(unsupported).is_some() {
            return Err(error::not_implemented(&format!("{unsupported}; send Content-MD5")));
        }
    }
    match call.header("content-md5") {
        Some(md5) if md5 != STANDARD.encode(Md5::digest(&call.body)) => Err(BlobError::new(
            StatusCode::BAD_REQUEST,
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
        )),
        _ => Ok(()),
    }
}

/// First byte and the one after the last, of `bytes=first-` or `bytes=first-last`.
fn range_of(range: &str, length: usize) -> Result<(usize, usize)> {
    let parsed = range.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        let first = first.parse::<usize>().ok()?;
        let end = match last {
            "" => length,
            last => last.parse::<usize>().ok()?.saturating_add(1).min(length),
        };
        Some((first, end))
    });
    match parsed {
        None => Err(error::invalid_header(
            "Range",
            "must be bytes=FIRST- or bytes=FIRST-LAST",
        )),
        Some((first, end)) if first < end => Ok((first, end)),
        Some(_) => Err(BlobError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
        )),
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.encode_utf16().count() <= 1024 {
        return Ok(());
    }
    let mut error = error::invalid_input("The name of a blob has at most 1,024 characters.");
    error.code = "InvalidResourceName";
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn a_range_ends_with_the_blob_and_starts_inside_it() {
        assert_eq!(range_of("bytes=2-", 5).unwrap(), (2, 5));
        assert_eq!(range_of("bytes=0-99", 5).unwrap(), (0, 5));
        assert_eq!(range_of("bytes=1-1", 5).unwrap(), (1, 2));
        for (range, length, status) in [("bytes=5-", 5, 416), ("bytes=0-0", 0, 416), ("lines=1-2", 5, 400)] {
            assert_eq!(range_of(range, length).unwrap_err().status.as_u16(), status, "{range}");
        }
    }
}
