//! Requests as they arrive, for tests of an account.

use std::sync::Arc;

use azure_core::http::{Method, Request};
use serde_json::Value;
use url::Url;

use super::{account::Account, engine::Answer, target::Target};

/// Asks the account for something, with a body unless that is null.
pub(super) async fn ask(
    account: &Arc<Account>,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &Value,
) -> Answer {
    let url = Url::parse("http://127.0.0.1:1").unwrap().join(path).unwrap();
    let mut request = Request::new(url, method);
    for (name, value) in headers {
        request.insert_header(*name, (*value).to_owned());
    }
    if !body.is_null() {
        request.set_body(body.to_string());
    }
    let target = Target::of(&request);
    account.execute(request, target).await
}
