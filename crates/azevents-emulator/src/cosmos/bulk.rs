//! Bulk: many operations in one request that have nothing to do with each other.
//!
//! On the wire it is a batch that says it isn't atomic, for one physical partition, whose every
//! operation names its partition key (see `executeBulkOperations` of the JavaScript SDK). Each is
//! executed as the request it would be alone.

use azure_core::http::{Method, Request, StatusCode, headers::Headers};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use url::Url;

use super::{
    account::Account,
    charge,
    containers::ContainerState,
    engine::Answer,
    item::address,
    target::header,
    writes::{self, body},
};

/// Most operations of one request.
const MAX_OPERATIONS: usize = 100;

/// Whether a batch is one in name only.
pub(super) fn is_bulk(request: &Request) -> bool {
    header(request, "x-ms-cosmos-batch-atomic").is_some_and(|atomic| atomic.eq_ignore_ascii_case("false"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    #[serde(rename = "operationType")]
    kind: String,
    id: Option<String>,
    /// A string with JSON in it, or the array itself.
    partition_key: Option<Value>,
    #[serde(borrow)]
    resource_body: Option<&'a RawValue>,
    if_match: Option<String>,
    if_none_match: Option<String>,
}

/// Executes all of them, each whatever becomes of the others.
pub(super) async fn execute(account: &Account, state: &mut ContainerState, request: &Request) -> Answer {
    let text = body(request);
    let operations: Vec<Operation<'_>> = match serde_json::from_slice(&text) {
        Ok(operations) => operations,
        Err(error) => return bad_request(&format!("The body is not a list of operations: {error}.")),
    };
    if operations.len() > MAX_OPERATIONS {
        return bad_request(&format!("A bulk request has at most {MAX_OPERATIONS} operations."));
    }
    let echo = writes::wants_content(request);
    let (mut results, mut sum, mut session) = (Vec::new(), 0.0, None);
    for operation in &operations {
        let answer = match operation.request(request.url(), echo) {
            Ok((alone, _)) if alone.method() == Method::Get => account.read_locked(&alone).await,
            Ok((alone, id)) => account.write_locked(state, id, &alone).await,
            Err(what) => bad_request(&what),
        };
        if let Some(token) = answer.header("x-ms-session-token") {
            session = Some(token.to_owned());
        }
        let charge = answer
            .header("x-ms-request-charge")
            .and_then(|charge| charge.parse().ok());
        sum += charge.unwrap_or(0.0);
        results.push(result(&answer, charge.unwrap_or(0.0)));
    }
    let all_well = results
        .iter()
        .all(|result| result["statusCode"].as_u64().is_some_and(|status| status < 300));
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json");
    if let Some(session) = session {
        headers.insert("x-ms-session-token", session);
    }
    let mut answer = Answer {
        status: if all_well {
            StatusCode::Ok
        } else {
            StatusCode::MultiStatus
        },
        headers,
        body: Value::Array(results).to_string().into(),
    };
    charge::set(&mut answer, sum);
    answer
}

impl Operation<'_> {
    /// The request this would be alone, and the id in its address.
    fn request(&self, items: &Url, echo: bool) -> Result<(Request, Option<String>), String> {
        let partition_key = match &self.partition_key {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(format!("The operation {} names no partition key.", self.kind)),
        };
        let (method, needs_id) = match self.kind.as_str() {
            "Create" | "Upsert" => (Method::Post, false),
            "Read" => (Method::Get, true),
            "Replace" => (Method::Put, true),
            "Delete" => (Method::Delete, true),
            "Patch" => (Method::Patch, true),
            other => return Err(format!("There is no operation {other} in bulk.")),
        };
        let id = match (needs_id, &self.id) {
            (false, _) => None,
            (true, Some(id)) => Some(id.clone()),
            (true, None) => return Err(format!("The operation {} names no id.", self.kind)),
        };
        let mut request = Request::new(address(items, id.as_deref()), method);
        request.insert_header("x-ms-documentdb-partitionkey", partition_key);
        request.insert_header(writes::RESPONSE_ON_WRITE, if echo { "true" } else { "false" });
        if self.kind == "Upsert" {
            request.insert_header("x-ms-documentdb-is-upsert", "true");
        }
        if let Some(etag) = &self.if_match {
            request.insert_header("if-match", etag.clone());
        }
        if let Some(etag) = &self.if_none_match {
            request.insert_header("if-none-match", etag.clone());
        }
        if let Some(body) = self.resource_body {
            request.set_body(body.get().as_bytes().to_vec());
        }
        Ok((request, id))
    }
}

fn result(answer: &Answer, charge: f64) -> Value {
    let mut result = json!({ "statusCode": u16::from(answer.status), "requestCharge": charge });
    if let Some(etag) = answer.header("etag") {
        result["eTag"] = etag.into();
    }
    if answer.status.is_success()
        && let Ok(item) = serde_json::from_slice(&answer.body)
    {
        result["resourceBody"] = item;
    }
    if let Some(substatus) = answer
        .header("x-ms-substatus")
        .and_then(|text| text.parse::<u32>().ok())
    {
        result["subStatusCode"] = substatus.into();
    }
    result
}

fn bad_request(message: &str) -> Answer {
    Answer::error(StatusCode::BadRequest, "BadRequest", message)
}
