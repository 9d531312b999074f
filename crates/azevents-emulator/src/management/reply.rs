//! Answers in JSON, and errors as one sentence.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

pub(super) type Reply = Response<Full<Bytes>>;

/// 200 with a body of JSON that is already written.
pub(super) fn json_text(json: String) -> Reply {
    with_status(StatusCode::OK, json)
}

/// 200 with a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(json) => json_text(json),
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error with a sentence that says what to do instead.
pub(super) fn failed(status: StatusCode, sentence: &str) -> Reply {
    with_status(status, serde_json::json!({ "error": sentence }).to_string())
}

fn with_status(status: StatusCode, json: String) -> Reply {
    let mut reply = Response::new(Full::from(json));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
