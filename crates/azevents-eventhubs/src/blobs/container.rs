//! What is asked of Blob Storage: metadata by compare-and-swap, and a listing.

use std::collections::HashMap;
use std::time::Duration;

use azevents_core::{Error, ErrorKind, Result};
use azure_core::http::headers::{self, HeaderName};
use azure_core::http::{Etag, RequestContent, StatusCode, Url};
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders, BlobClientSetMetadataOptions, BlobContainerClientListBlobsOptions,
    BlockBlobClientUploadOptions, ListBlobsIncludeItem,
};
use futures::TryStreamExt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

pub(super) type Metadata = HashMap<String, String>;

/// A blob as it is now.
pub(super) struct Stored {
    pub(super) metadata: Metadata,
    pub(super) etag: String,
    /// How long ago it was written, by the service's clock.
    pub(super) age: Duration,
}

/// A blob in a listing.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) metadata: Metadata,
    pub(super) etag: String,
    pub(super) last_modified: OffsetDateTime,
}

pub(super) struct Container(BlobContainerClient);

impl Container {
    pub(super) fn new(client: BlobContainerClient) -> Self {
        Self(client)
    }

    /// Without its query, which may be a signature.
    pub(super) fn url(&self) -> String {
        let mut url: Url = self.0.url().clone();
        url.set_query(None);
        url.to_string()
    }

    /// A blob's metadata and version; `None` when there is none.
    pub(super) async fn read(&self, name: &str, operation: &'static str) -> Result<Option<Stored>> {
        let response = match self.0.blob_client(name).get_properties(None).await {
            Ok(response) => response,
            Err(error) if is_missing_blob(&error) => return Ok(None),
            Err(error) => return Err(from_azure(operation, name, error)),
        };
        let wrap = |error| from_azure(operation, name, error);
        let asked = response.headers().get_optional_str(&HeaderName::from_static("date"));
        let asked = asked.and_then(http_date).unwrap_or_else(OffsetDateTime::now_utc);
        let written = response.last_modified().map_err(wrap)?.unwrap_or(asked);
        let etag = response.etag().map_err(wrap)?;
        Ok(Some(Stored {
            metadata: response.metadata().map_err(wrap)?,
            etag: etag.ok_or_else(|| no_etag(operation, name))?.to_string(),
            age: (asked - written).try_into().unwrap_or_default(),
        }))
    }

    /// Replaces a blob's metadata if it is still of this version; `None` if it is not.
    pub(super) async fn replace(
        &self,
        name: &str,
        metadata: &Metadata,
        etag: &str,
        operation: &'static str,
    ) -> Result<Option<String>> {
        let options = BlobClientSetMetadataOptions {
            if_match: Some(Etag::from(etag.to_owned())),
            ..Default::default()
        };
        match self.0.blob_client(name).set_metadata(metadata, Some(options)).await {
            Ok(response) => {
                let etag = response.headers().get_optional_str(&headers::ETAG);
                Ok(Some(etag.ok_or_else(|| no_etag(operation, name))?.to_owned()))
            }
            Err(error) if is_conflict(&error) || is_missing_blob(&error) => Ok(None),
            Err(error) => Err(from_azure(operation, name, error)),
        }
    }

    /// Creates an empty blob; `None` if there is one already.
    pub(super) async fn create(
        &self,
        name: &str,
        metadata: &Metadata,
        operation: &'static str,
    ) -> Result<Option<String>> {
        let options = BlockBlobClientUploadOptions {
            metadata: Some(metadata.clone()),
            ..Default::default()
        };
        let client = self.0.blob_client(name).block_blob_client();
        let content = RequestContent::from(Vec::new());
        match client.upload(content, Some(options.if_not_exists())).await {
            Ok(result) => Ok(Some(result.etag.ok_or_else(|| no_etag(operation, name))?.to_string())),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(from_azure(operation, name, error)),
        }
    }

    /// All blobs whose name begins with `prefix`.
    pub(super) async fn list(&self, prefix: &str, operation: &'static str) -> Result<Vec<Listed>> {
        let wrap = |error| from_azure(operation, prefix, error);
        let options = BlobContainerClientListBlobsOptions {
            include: Some(vec![ListBlobsIncludeItem::Metadata]),
            prefix: Some(prefix.to_owned()),
            ..Default::default()
        };
        let mut blobs = self.0.list_blobs(Some(options)).map_err(wrap)?;
        let mut listed = Vec::new();
        while let Some(blob) = blobs.try_next().await.map_err(wrap)? {
            let (Some(name), Some(properties)) = (blob.name, blob.properties) else {
                continue;
            };
            listed.push(Listed {
                name,
                metadata: blob.metadata.and_then(|metadata| metadata.values).unwrap_or_default(),
                etag: properties.etag.map(|etag| etag.to_string()).unwrap_or_default(),
                last_modified: properties.last_modified.unwrap_or_else(OffsetDateTime::now_utc),
            });
        }
        Ok(listed)
    }
}

/// RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, which differs from RFC 2822 in the zone's name.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()
}

fn is_missing_blob(error: &azure_core::Error) -> bool {
    match error.kind() {
        azure_core::error::ErrorKind::HttpResponse { status, error_code, .. } => {
            *status == StatusCode::NotFound && error_code.as_deref() != Some("ContainerNotFound")
        }
        _ => false,
    }
}

/// Whether a condition was not met: 412, and 409 for a blob that exists already.
fn is_conflict(error: &azure_core::Error) -> bool {
    matches!(
        error.http_status(),
        Some(StatusCode::PreconditionFailed | StatusCode::Conflict)
    )
}

fn from_azure(operation: &'static str, name: &str, error: azure_core::Error) -> Error {
    let kind = match error.http_status() {
        Some(StatusCode::NotFound) => ErrorKind::NotFound,
        Some(StatusCode::Unauthorized | StatusCode::Forbidden) => ErrorKind::Unauthorized,
        Some(StatusCode::BadRequest) => ErrorKind::InvalidInput,
        Some(StatusCode::TooManyRequests) => ErrorKind::Throttled,
        Some(_) => ErrorKind::Unavailable,
        None => match error.kind() {
            azure_core::error::ErrorKind::Credential => ErrorKind::Unauthorized,
            azure_core::error::ErrorKind::DataConversion => ErrorKind::Corrupt,
            // A connection that breaks after the request may have left its effect.
            _ => ErrorKind::OutcomeUnknown,
        },
    };
    Error::new(kind, operation, name).with_source(error)
}

fn no_etag(operation: &'static str, name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, operation, name).with_message("the service sent no etag")
}
