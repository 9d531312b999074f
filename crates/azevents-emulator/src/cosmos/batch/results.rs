//! What becomes of each operation, and the answer to the batch.

use azure_core::http::{StatusCode, headers::Headers};
use bytes::Bytes;

use crate::cosmos::engine::Answer;

/// What one operation has done.
#[derive(Debug)]
pub(super) struct Outcome {
    status: u16,
    charge: f64,
    etag: Option<String>,
    item: Bytes,
}

impl Outcome {
    pub(super) fn written(answer: &Answer, echo: bool) -> Self {
        let item = if echo { answer.body.clone() } else { Bytes::new() };
        Self::of(answer, answer.status.into(), item)
    }

    /// The etag is the one the item had.
    pub(super) fn deleted(before: &Answer) -> Self {
        Self::of(before, 204, Bytes::new())
    }

    pub(super) fn read(answer: &Answer) -> Self {
        Self::of(answer, 200, answer.body.clone())
    }

    pub(super) fn not_modified(answer: &Answer) -> Self {
        Self::of(answer, 304, Bytes::new())
    }

    fn of(answer: &Answer, status: u16, item: Bytes) -> Self {
        let charge = answer
            .header("x-ms-request-charge")
            .and_then(|charge| charge.parse().ok());
        Self {
            status,
            charge: charge.unwrap_or(1.0),
            etag: answer.header("etag").map(str::to_owned),
            item,
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(format!(r#"{{"statusCode":{},"requestCharge":{}"#, self.status, self.charge).as_bytes());
        if let Some(etag) = &self.etag {
            body.extend_from_slice(br#","eTag":"#);
            body.extend_from_slice(serde_json::Value::from(etag.as_str()).to_string().as_bytes());
        }
        if !self.item.is_empty() {
            body.extend_from_slice(br#","resourceBody":"#);
            body.extend_from_slice(&self.item);
        }
        body.push(b'}');
    }
}

/// The answer to a batch whose every operation succeeded. `last` is its last write, which knows
/// the session token that covers them all.
pub(super) fn succeeded(outcomes: &[Option<Outcome>], last: Option<Answer>) -> Answer {
    let mut headers = last.map(|last| last.headers).unwrap_or_default();
    // These are about one item.
    for name in ["etag", "x-ms-item-lsn", "x-ms-cosmos-item-llsn"] {
        headers.remove(name);
    }
    let outcomes = || outcomes.iter().flatten();
    let charge: f64 = outcomes().map(|outcome| outcome.charge).sum();
    // A read that found nothing new is not a success in the sense of this status.
    let status = if outcomes().any(|outcome| outcome.status >= 300) {
        StatusCode::MultiStatus
    } else {
        StatusCode::Ok
    };
    answer(status, headers, charge, outcomes())
}

/// The answer to a batch that the operation at `index` fails: it has its status, all others 424.
pub(super) fn failed(count: usize, index: usize, status: u16) -> Answer {
    let outcomes: Vec<Outcome> = (0..count)
        .map(|at| Outcome {
            status: if at == index { status } else { 424 },
            charge: 1.0,
            etag: None,
            item: Bytes::new(),
        })
        .collect();
    answer(StatusCode::MultiStatus, Headers::new(), 1.0, outcomes.iter())
}

fn answer<'a>(
    status: StatusCode,
    mut headers: Headers,
    charge: f64,
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> Answer {
    headers.insert("content-type", "application/json");
    headers.insert("x-ms-request-charge", format!("{charge:.2}"));
    let mut body = vec![b'['];
    for outcome in outcomes {
        if body.len() > 1 {
            body.push(b',');
        }
        outcome.append(&mut body);
    }
    body.push(b']');
    Answer {
        status,
        headers,
        body: body.into(),
    }
}
