//! Translates between hyper's requests and responses and those of the Azure SDK.

use azure_core::http::{Method, Request as SdkRequest, StatusCode as SdkStatus};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING},
};
use tracing::debug;
use url::Url;

use super::engine::Answer;
use crate::http_server::{Unread, read_body};

/// Cosmos DB takes 2 MB in one request; what is twice that is an accident, not an item.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Reads a request to its end, addressed to `endpoint` whatever host name the client used.
pub(super) async fn read_request(request: Request<Incoming>, endpoint: &Url) -> Result<SdkRequest, Answer> {
    let (head, body) = request.into_parts();
    let method = method(&head.method).ok_or_else(|| {
        Answer::error(
            SdkStatus::MethodNotAllowed,
            "MethodNotAllowed",
            &format!("Cosmos DB has no method {}.", head.method),
        )
    })?;
    let mut translated = SdkRequest::new(target(endpoint, &head.uri), method);
    for (name, value) in &head.headers {
        let value = value
            .to_str()
            .map_err(|_| bad_request(&format!("The value of header {name} is not visible ASCII.")))?;
        translated.insert_header(name.as_str().to_owned(), value.to_owned());
    }
    let body = read_body(body, MAX_BODY_BYTES).await.map_err(|unread| match unread {
        Unread::TooLarge(_) => Answer::error(SdkStatus::PayloadTooLarge, "RequestEntityTooLarge", &unread.to_string()),
        Unread::Stalled(_) => Answer::error(SdkStatus::RequestTimeout, "RequestTimeout", &unread.to_string()),
        Unread::Broken(_) => bad_request(&unread.to_string()),
    })?;
    translated.set_body(body);
    Ok(translated)
}

/// Turns an answer into one for the wire.
pub(super) fn write_response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status.into()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers.iter() {
        let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_str().as_bytes()),
            HeaderValue::from_str(value.as_str()),
        ) else {
            debug!(?name, "header left out of an answer");
            continue;
        };
        // How the body is framed on the wire is hyper's business.
        if ![CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The emulator refuses a trailing slash (its reading of the service); the service's gateway and
/// therefore clients other than Rust's use one, so it is taken off here.
fn target(endpoint: &Url, uri: &hyper::Uri) -> Url {
    let mut url = endpoint.clone();
    url.set_path(uri.path().trim_end_matches('/'));
    url.set_query(uri.query());
    url
}

fn method(method: &hyper::Method) -> Option<Method> {
    Some(match *method {
        hyper::Method::GET => Method::Get,
        hyper::Method::HEAD => Method::Head,
        hyper::Method::POST => Method::Post,
        hyper::Method::PUT => Method::Put,
        hyper::Method::PATCH => Method::Patch,
        hyper::Method::DELETE => Method::Delete,
        _ => return None,
    })
}

fn bad_request(message: &str) -> Answer {
    Answer::error(SdkStatus::BadRequest, "BadRequest", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_and_another_host_name_do_not_matter() {
        let endpoint = Url::parse("http://127.0.0.1:8081/").unwrap();
        let cases = [
            ("http://localhost:8081/", "http://127.0.0.1:8081/"),
            ("/dbs/", "http://127.0.0.1:8081/dbs"),
            ("/dbs/a%20b/colls?x=1", "http://127.0.0.1:8081/dbs/a%20b/colls?x=1"),
        ];
        for (given, expected) in cases {
            assert_eq!(target(&endpoint, &given.parse().unwrap()).as_str(), expected);
        }
    }
}
