//! Refusals of the API as errors.

use hyper::{Method, StatusCode};

use super::http::Answer;
use super::xml::Element;
use crate::error::{Error, ErrorKind};

/// Another change of the same entity is under way ("Service Bus resource manager exceptions").
const IN_PROGRESS: &str = "SubCode=40901";
/// The operation is not allowed on the entity, whatever its quota.
const INVALID_OPERATION: &str = "SubCode=40301";

pub(super) fn refused(method: &Method, update: bool, answer: &Answer) -> Error {
    let detail = Element::parse(&answer.body)
        .and_then(|error| error.text_of("Detail").map(str::to_owned))
        .or_else(|| {
            answer
                .body
                .lines()
                .next()
                .map(str::to_owned)
                .filter(|line| line.len() < 300)
        })
        .unwrap_or_default();
    let kind = kind(method, update, answer.status, &detail);
    let status = answer.status;
    let message = match (kind, detail.is_empty()) {
        (ErrorKind::Unauthorized, _) => {
            format!(
                "{detail} Administration takes a key with the right Manage, or the role Azure Service Bus Data Owner"
            )
        }
        (_, true) => format!("the service answered {status}"),
        (_, false) => detail,
    };
    Error::new(kind, message.trim().to_owned()).with_condition(status.as_u16().to_string())
}

fn kind(method: &Method, update: bool, status: StatusCode, detail: &str) -> ErrorKind {
    match status {
        StatusCode::BAD_REQUEST => ErrorKind::InvalidArgument,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
        StatusCode::FORBIDDEN if detail.contains(INVALID_OPERATION) => ErrorKind::InvalidArgument,
        StatusCode::FORBIDDEN => ErrorKind::QuotaExceeded,
        StatusCode::NOT_FOUND | StatusCode::NO_CONTENT | StatusCode::GONE => ErrorKind::EntityNotFound,
        // An update or deletion that meets another change: the official clients call that transient.
        StatusCode::CONFLICT if update || method == Method::DELETE || detail.contains(IN_PROGRESS) => {
            ErrorKind::ServiceUnavailable
        }
        StatusCode::CONFLICT => ErrorKind::AlreadyExists,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ErrorKind::Timeout,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => ErrorKind::ServerBusy,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => ErrorKind::ServiceUnavailable,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_subcodes_become_kinds() {
        let kind = |method: &Method, update, status, detail: &str| {
            let body = format!("<Error><Code>{status}</Code><Detail>{detail}</Detail></Error>");
            let status = StatusCode::from_u16(status).unwrap();
            refused(method, update, &Answer { status, body }).kind()
        };
        let put = Method::PUT;
        assert_eq!(
            kind(&put, false, 409, "SubCode=40900. Conflict."),
            ErrorKind::AlreadyExists
        );
        assert_eq!(kind(&put, false, 409, "SubCode=40901."), ErrorKind::ServiceUnavailable);
        assert_eq!(kind(&put, true, 409, "SubCode=40900."), ErrorKind::ServiceUnavailable);
        assert_eq!(kind(&Method::DELETE, false, 409, ""), ErrorKind::ServiceUnavailable);
        assert_eq!(kind(&put, false, 403, "SubCode=40301."), ErrorKind::InvalidArgument);
        assert_eq!(kind(&put, false, 403, "quota"), ErrorKind::QuotaExceeded);
        assert_eq!(kind(&Method::GET, false, 503, ""), ErrorKind::ServerBusy);
        assert_eq!(kind(&Method::GET, false, 418, ""), ErrorKind::Other);
    }

    #[test]
    fn what_a_gateway_answers_is_told_as_it_stands() {
        let answer = Answer {
            status: StatusCode::BAD_GATEWAY,
            body: "upstream is gone\nmore".to_owned(),
        };
        let error = refused(&Method::GET, false, &answer).during("get", "q");
        assert_eq!(error.to_string(), "get q: upstream is gone (502)");
    }
}
