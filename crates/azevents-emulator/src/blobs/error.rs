//! Errors in the service's shape: a status, a code in `x-ms-error-code`, a sentence in XML.

use hyper::StatusCode;

/// A request that is not done.
#[derive(Debug)]
pub(super) struct BlobError {
    pub(super) status: StatusCode,
    /// One of the service's codes ("Blob service error codes").
    pub(super) code: &'static str,
    pub(super) message: String,
}

pub(super) type Result<T> = std::result::Result<T, BlobError>;

impl BlobError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

pub(super) fn forbidden(message: impl Into<String>) -> BlobError {
    BlobError::new(StatusCode::FORBIDDEN, "AuthenticationFailed", message)
}

pub(super) fn no_permission(message: impl Into<String>) -> BlobError {
    BlobError::new(StatusCode::FORBIDDEN, "AuthorizationPermissionMismatch", message)
}

pub(super) fn invalid_header(name: &str, why: &str) -> BlobError {
    BlobError::new(
        StatusCode::BAD_REQUEST,
        "InvalidHeaderValue",
        format!("The header {name} {why}."),
    )
}

pub(super) fn invalid_query(name: &str, why: &str) -> BlobError {
    BlobError::new(
        StatusCode::BAD_REQUEST,
        "InvalidQueryParameterValue",
        format!("The query parameter '{name}' {why}."),
    )
}

pub(super) fn invalid_input(message: impl Into<String>) -> BlobError {
    BlobError::new(StatusCode::BAD_REQUEST, "InvalidInput", message)
}

pub(super) fn no_container(name: &str) -> BlobError {
    BlobError::new(
        StatusCode::NOT_FOUND,
        "ContainerNotFound",
        format!("The container '{name}' does not exist."),
    )
}

pub(super) fn no_blob(name: &str) -> BlobError {
    BlobError::new(
        StatusCode::NOT_FOUND,
        "BlobNotFound",
        format!("The blob '{name}' does not exist."),
    )
}

/// What the service has and this emulator has not.
pub(super) fn not_implemented(what: &str) -> BlobError {
    BlobError::new(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        format!("The emulator does not have {what}; it has what checkpoint stores and claim checks use."),
    )
}

pub(super) fn internal(message: &str) -> BlobError {
    BlobError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
}
