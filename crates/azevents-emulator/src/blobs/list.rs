//! Listings, in pages and in the order of names.

use std::{collections::BTreeMap, fmt::Write, ops::Bound};

use super::{
    account::State,
    call::Call,
    error::{self, Result},
    lease::{self, Lease},
    model::{Blob, Metadata},
    reply::{self, Reply},
};
use crate::{clock::Timestamp, xml};

/// "List Blobs": the most entries of one page.
const MAX_RESULTS: usize = 5000;

/// What a listing asks for.
struct Wanted<'a> {
    prefix: &'a str,
    /// Where the page starts: the first name, or prefix, that it may have.
    marker: &'a str,
    max_results: usize,
    delimiter: Option<&'a str>,
    metadata: bool,
}

impl<'a> Wanted<'a> {
    fn of(call: &'a Call) -> Result<Self> {
        let max_results = match call.query("maxresults") {
            None | Some("") => MAX_RESULTS,
            Some(text) => match text.parse::<usize>() {
                Ok(0) | Err(_) => return Err(error::invalid_query("maxresults", "must be a number from 1")),
                Ok(number) => number.min(MAX_RESULTS),
            },
        };
        let mut metadata = false;
        for include in call.query("include").unwrap_or_default().split(',') {
            match include.trim().to_lowercase().as_str() {
                "metadata" => metadata = true,
                // There are none of these here, so a listing with them is one without.
                ""
                | "copy"
                | "deleted"
                | "deletedwithversions"
                | "immutabilitypolicy"
                | "legalhold"
                | "permissions"
                | "snapshots"
                | "system"
                | "tags"
                | "uncommittedblobs"
                | "versions" => {}
                other => return Err(error::invalid_query("include", &format!("has the unknown '{other}'"))),
            }
        }
        Ok(Self {
            prefix: call.query("prefix").unwrap_or_default(),
            marker: call.query("marker").unwrap_or_default(),
            max_results,
            delimiter: call.query("delimiter").filter(|delimiter| !delimiter.is_empty()),
            metadata,
        })
    }

    /// `<EnumerationResults …>` and what was asked for, repeated.
    fn open(&self, call: &Call, container: Option<&str>) -> String {
        let host = call.header("host").unwrap_or("127.0.0.1");
        let mut out = format!(
            "<EnumerationResults ServiceEndpoint=\"{}://{}/{}\"",
            call.scheme,
            xml::escape(host),
            xml::escape(&call.account)
        );
        if let Some(container) = container {
            let _ = write!(out, " ContainerName=\"{}\"", xml::escape(container));
        }
        out.push('>');
        xml::element(&mut out, "Prefix", self.prefix);
        xml::element(&mut out, "Marker", self.marker);
        xml::element(&mut out, "MaxResults", &self.max_results.to_string());
        if let Some(delimiter) = self.delimiter {
            xml::element(&mut out, "Delimiter", delimiter);
        }
        out
    }

    /// The entries that begin with the prefix, from the marker on.
    fn among<'m, T>(
        &self,
        entries: &'m BTreeMap<String, T>,
    ) -> impl Iterator<Item = (&'m str, &'m T)> + use<'m, '_, 'a, T> {
        let start = self.prefix.max(self.marker);
        entries
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .map(|(name, entry)| (name.as_str(), entry))
            .take_while(|(name, _)| name.starts_with(self.prefix))
    }

    /// The part of a name up to the next delimiter, if it has one behind the prefix.
    fn folder<'m>(&self, name: &'m str) -> Option<&'m str> {
        let delimiter = self.delimiter?;
        let at = name[self.prefix.len()..].find(delimiter)?;
        Some(&name[..self.prefix.len() + at + delimiter.len()])
    }
}

pub(super) fn blobs(state: &State, call: &Call) -> Result<Reply> {
    let name = call.container()?;
    let wanted = Wanted::of(call)?;
    let mut out = wanted.open(call, Some(name));
    out.push_str("<Blobs>");
    let (mut listed, mut last_folder, mut next) = (0, None, String::new());
    for (name, blob) in wanted.among(&state.container(name)?.blobs) {
        let folder = wanted.folder(name);
        if folder.is_some() && folder == last_folder {
            continue;
        }
        if listed == wanted.max_results {
            name.clone_into(&mut next);
            break;
        }
        listed += 1;
        last_folder = folder;
        match folder {
            Some(folder) => {
                out.push_str("<BlobPrefix>");
                xml::element(&mut out, "Name", folder);
                out.push_str("</BlobPrefix>");
            }
            None => blob_entry(&mut out, name, blob, wanted.metadata, state.now()),
        }
    }
    out.push_str("</Blobs>");
    xml::element(&mut out, "NextMarker", &next);
    out.push_str("</EnumerationResults>");
    Ok(reply::document(&out))
}

fn blob_entry(out: &mut String, name: &str, blob: &Blob, with_metadata: bool, now: Timestamp) {
    let about = &blob.about;
    let headers = &about.headers;
    out.push_str("<Blob>");
    xml::element(out, "Name", name);
    out.push_str("<Properties>");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let content_type = headers.content_type.as_deref().unwrap_or("application/octet-stream");
    for (name, value) in [
        ("Creation-Time", reply::http_date(about.created)),
        ("Last-Modified", reply::http_date(about.stamp.modified)),
        ("Etag", about.stamp.etag.clone()),
        ("Content-Length", blob.content.len().to_string()),
        ("Content-Type", content_type.to_owned()),
        ("Content-Encoding", text(&headers.encoding)),
        ("Content-Language", text(&headers.language)),
        ("Content-MD5", text(&headers.md5)),
        ("Cache-Control", text(&headers.cache_control)),
        ("Content-Disposition", text(&headers.disposition)),
        ("BlobType", "BlockBlob".to_owned()),
        ("AccessTier", "Hot".to_owned()),
        ("AccessTierInferred", "true".to_owned()),
        ("ServerEncrypted", "true".to_owned()),
    ] {
        xml::element(out, name, &value);
    }
    lease(out, blob.lease.as_ref(), now);
    out.push_str("</Properties>");
    if with_metadata {
        metadata(out, &about.metadata);
    }
    out.push_str("</Blob>");
}

pub(super) fn containers(state: &State, call: &Call) -> Result<Reply> {
    let wanted = Wanted::of(call)?;
    let mut out = wanted.open(call, None);
    out.push_str("<Containers>");
    let mut next = String::new();
    for (listed, (name, container)) in wanted.among(&state.containers).enumerate() {
        if listed == wanted.max_results {
            name.clone_into(&mut next);
            break;
        }
        let about = &container.about;
        out.push_str("<Container>");
        xml::element(&mut out, "Name", name);
        out.push_str("<Properties>");
        for (name, value) in [
            ("Last-Modified", reply::http_date(about.stamp.modified)),
            ("Etag", format!("\"{}\"", about.stamp.etag)),
            ("HasImmutabilityPolicy", "false".to_owned()),
            ("HasLegalHold", "false".to_owned()),
        ] {
            xml::element(&mut out, name, &value);
        }
        lease(&mut out, container.lease.as_ref(), state.now());
        out.push_str("</Properties>");
        if wanted.metadata {
            metadata(&mut out, &about.metadata);
        }
        out.push_str("</Container>");
    }
    out.push_str("</Containers>");
    xml::element(&mut out, "NextMarker", &next);
    out.push_str("</EnumerationResults>");
    Ok(reply::document(&out))
}

fn lease(out: &mut String, lease: Option<&Lease>, now: Timestamp) {
    let state = lease::State::of(lease, now);
    xml::element(out, "LeaseStatus", state.status());
    xml::element(out, "LeaseState", state.as_str());
    if let (Some(lease), lease::State::Leased) = (lease, state) {
        xml::element(out, "LeaseDuration", lease.duration());
    }
}

fn metadata(out: &mut String, metadata: &Metadata) {
    out.push_str("<Metadata>");
    for (name, value) in metadata {
        xml::element(out, name, value);
    }
    out.push_str("</Metadata>");
}
