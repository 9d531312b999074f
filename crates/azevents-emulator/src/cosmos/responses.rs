//! Answers that do not come from Microsoft's emulator, in the shape the service gives its errors.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};

/// How long a throttled client is told to wait. Short, so that tests with faults stay fast.
const RETRY_AFTER_MS: &str = "20";

/// "Request rate is large": the substatus of 429 that clients wait for and try again.
const SUBSTATUS_RU_BUDGET_EXCEEDED: &str = "3200";

/// An error the way Cosmos DB words it: a code and a message in JSON.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "code": code, "message": message }).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        headers.insert(HeaderName::from_static("x-ms-activity-id"), id);
    }
    response
}

/// 429: nothing was executed, come back in [`RETRY_AFTER_MS`].
pub(super) fn throttled() -> Response<Full<Bytes>> {
    let mut response = error(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "Request rate is large (injected by the emulator's fault plan).",
    );
    let headers = response.headers_mut();
    let set = [
        ("x-ms-retry-after-ms", RETRY_AFTER_MS),
        ("x-ms-substatus", SUBSTATUS_RU_BUDGET_EXCEEDED),
        ("x-ms-request-charge", "0"),
    ];
    for (name, value) in set {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// 503: nothing was executed.
pub(super) fn unavailable() -> Response<Full<Bytes>> {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "Service is currently unavailable (injected by the emulator's fault plan).",
    )
}
