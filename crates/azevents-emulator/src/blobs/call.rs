//! A request taken apart: whose container and blob, which query, which headers.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName},
};
use percent_encoding::percent_decode_str;

use super::{
    error::{self, BlobError, Result},
    model::{ContentHeaders, Metadata},
};
use crate::http_server::{Unread, read_body};

/// What one request may carry. The service takes 5,000 MB; what is kept here is kept in memory.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of all metadata of one blob ("Setting and retrieving properties and metadata").
const MAX_METADATA_BYTES: usize = 8 * 1024;

/// A request, read to its end.
#[derive(Debug)]
pub(super) struct Call {
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    pub(super) method: Method,
    /// As it came, still percent-encoded: signatures are over this.
    pub(super) raw_path: String,
    pub(super) account: String,
    pub(super) container: Option<String>,
    pub(super) blob: Option<String>,
    /// Decoded, names in lower case.
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) async fn read(request: Request<Incoming>, tls: bool) -> Result<Self> {
        let (head, body) = request.into_parts();
        let raw_path = head.uri.path().to_owned();
        let mut segments = raw_path.trim_start_matches('/').splitn(3, '/').map(decode);
        let mut segment = || {
            segments
                .next()
                .transpose()
                .map(|part| part.filter(|part| !part.is_empty()))
        };
        let (account, container, blob) = (segment()?.unwrap_or_default(), segment()?, segment()?);
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().replace('+', "%2B").as_bytes())
            .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
            .collect();
        let body = read_body(body, MAX_BODY_BYTES).await.map_err(|unread| match unread {
            Unread::TooLarge(_) => BlobError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestBodyTooLarge",
                format!("The emulator takes at most {MAX_BODY_BYTES} bytes in one request; put blocks instead."),
            ),
            Unread::Stalled(_) => BlobError::new(StatusCode::REQUEST_TIMEOUT, "OperationTimedOut", unread.to_string()),
            Unread::Broken(_) => error::invalid_input(unread.to_string()),
        })?;
        Ok(Self {
            scheme: if tls { "https" } else { "http" },
            method: head.method,
            raw_path,
            account,
            container,
            blob,
            query,
            headers: head.headers,
            body,
        })
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A header's value; `None` also for an empty one, as the service takes it.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn container(&self) -> Result<&str> {
        self.container
            .as_deref()
            .ok_or_else(|| error::invalid_input("The address has no container."))
    }

    pub(super) fn blob(&self) -> Result<&str> {
        self.blob
            .as_deref()
            .ok_or_else(|| error::invalid_input("The address has no blob."))
    }

    /// The metadata that comes with a write. It replaces what was there, whole.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        let mut metadata = Metadata::new();
        let mut bytes = 0;
        for (header, value) in &self.headers {
            let Some(name) = header.as_str().strip_prefix("x-ms-meta-") else {
                continue;
            };
            let invalid = |why: &str| BlobError::new(StatusCode::BAD_REQUEST, "InvalidMetadata", why.to_owned());
            // Names are C# identifiers.
            let first = name.chars().next();
            let name_ok = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !name_ok {
                return Err(invalid(&format!(
                    "'{name}' can't be the name of metadata: letters, digits and underscores, no digit first."
                )));
            }
            let value = value
                .to_str()
                .map_err(|_| invalid(&format!("The value of metadata '{name}' is not visible ASCII.")))?;
            bytes += name.len() + value.len();
            metadata.insert(name.to_owned(), value.to_owned());
        }
        if bytes > MAX_METADATA_BYTES {
            return Err(BlobError::new(
                StatusCode::BAD_REQUEST,
                "MetadataTooLarge",
                format!("The metadata has {bytes} bytes; {MAX_METADATA_BYTES} are allowed."),
            ));
        }
        Ok(metadata)
    }

    /// The headers to keep with a blob. `x-ms-blob-…` go before those of HTTP.
    pub(super) fn content_headers(&self) -> ContentHeaders {
        let kept = |own: &str, plain: Option<HeaderName>| {
            let plain = plain.as_ref().map(HeaderName::as_str);
            self.header(own)
                .or_else(|| plain.and_then(|name| self.header(name)))
                .map(str::to_owned)
        };
        ContentHeaders {
            content_type: kept("x-ms-blob-content-type", Some(CONTENT_TYPE)),
            encoding: kept("x-ms-blob-content-encoding", Some(CONTENT_ENCODING)),
            language: kept("x-ms-blob-content-language", Some(CONTENT_LANGUAGE)),
            disposition: kept("x-ms-blob-content-disposition", None),
            cache_control: kept("x-ms-blob-cache-control", Some(CACHE_CONTROL)),
            md5: kept("x-ms-blob-content-md5", None),
        }
    }
}

fn decode(segment: &str) -> Result<String> {
    percent_decode_str(segment)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| BlobError::new(StatusCode::BAD_REQUEST, "InvalidUri", "The address is not UTF-8."))
}
