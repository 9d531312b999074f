//! Answers that are not the emulator's own: of faults, where the request was not executed, and the
//! account's to clients who came over TLS.

use std::time::Duration;

use azure_core::http::StatusCode;

use url::Url;

use super::engine::Answer;

/// How long a throttled client is told to wait. Short, so that tests with faults stay fast.
const RETRY_AFTER_MS: &str = "20";

/// "Request rate is large": the substatus of 429 that clients wait for and try again.
const SUBSTATUS_RU_BUDGET_EXCEEDED: &str = "3200";

/// What the service charges for a refusal, as an account answered ("429" in azure-sdk-for-java, issue 31844).
const RATE_TOO_LARGE_CHARGE: &str = "0.38";

/// 429: the request units of this second are used up. In the service's words, which clients show.
pub(super) fn rate_too_large(wait: Duration) -> Answer {
    let mut answer = Answer::error(
        StatusCode::TooManyRequests,
        "429",
        "Message: {\"Errors\":[\"Request rate is large. More Request Units may be needed, so no changes were made. \
         Please retry this request later. Learn more: http://aka.ms/cosmosdb-error-429\"]}",
    );
    answer
        .headers
        .insert("x-ms-retry-after-ms", wait.as_millis().to_string());
    answer.headers.insert("x-ms-substatus", SUBSTATUS_RU_BUDGET_EXCEEDED);
    answer.headers.insert("x-ms-request-charge", RATE_TOO_LARGE_CHARGE);
    answer
}

/// 429: come back in [`RETRY_AFTER_MS`].
pub(super) fn throttled() -> Answer {
    let mut answer = Answer::error(
        StatusCode::TooManyRequests,
        "TooManyRequests",
        "Request rate is large (injected by the emulator's fault plan).",
    );
    answer.headers.insert("x-ms-retry-after-ms", RETRY_AFTER_MS);
    answer.headers.insert("x-ms-substatus", SUBSTATUS_RU_BUDGET_EXCEEDED);
    answer.headers.insert("x-ms-request-charge", "0");
    answer
}

/// 400, as of an account without continuous backup. Microsoft's emulator would show the latest versions, each as if
/// it had just been created, and no deletions.
pub(super) fn no_all_versions() -> Answer {
    Answer::error(
        StatusCode::BadRequest,
        "BadRequest",
        "The emulator keeps the latest version of an item: there is no change feed of all versions and deletes. Read \
         the latest-version feed, and mark items as deleted before they expire.",
    )
}

/// 449: two writes met.
pub(super) fn retry_with() -> Answer {
    let mut answer = Answer::error(
        StatusCode::from(449),
        "RetryWith",
        "The request conflicted with another one; try it again (injected by the emulator's fault plan).",
    );
    answer.headers.insert("x-ms-retry-after-ms", RETRY_AFTER_MS);
    answer.headers.insert("x-ms-request-charge", "0");
    answer
}

/// 503.
pub(super) fn unavailable() -> Answer {
    Answer::error(
        StatusCode::ServiceUnavailable,
        "ServiceUnavailable",
        "Service is currently unavailable (injected by the emulator's fault plan).",
    )
}

/// Makes the account name itself the way the client came: it goes on with the address it reads here.
pub(super) fn name_https(answer: &mut Answer, endpoint: &Url) {
    if let Ok(text) = std::str::from_utf8(&answer.body) {
        let plain = endpoint.as_str();
        answer.body = text.replace(plain, &plain.replacen("http", "https", 1)).into();
    }
}
