//! What becomes of each operation, and the answer to the batch.

use azure_core::http::{StatusCode, headers::Headers};
use bytes::Bytes;
use serde_json::Value;

use crate::cosmos::{
    charge::{self, IndexingPolicy, Weight},
    engine::Answer,
};

/// What one operation has done.
#[derive(Debug)]
pub(super) struct Outcome {
    status: u16,
    charge: f64,
    etag: Option<String>,
    item: Bytes,
}

impl Outcome {
    pub(super) fn written(answer: &Answer, charge: f64, echo: bool) -> Self {
        let item = if echo { answer.body.clone() } else { Bytes::new() };
        Self::of(answer, answer.status.into(), charge, item)
    }

    /// The etag is the one the item had.
    pub(super) fn deleted(before: &Answer, charge: f64) -> Self {
        Self::of(before, 204, charge, Bytes::new())
    }

    pub(super) fn read(answer: &Answer) -> Self {
        let charge = charge::point_read(answer.body.len());
        Self::of(answer, 200, charge, answer.body.clone())
    }

    pub(super) fn not_modified(answer: &Answer) -> Self {
        Self::of(answer, 304, charge::NOTHING_READ, Bytes::new())
    }

    /// Not done, or taken back.
    fn failed(status: u16, charge: f64) -> Self {
        Self {
            status,
            charge,
            etag: None,
            item: Bytes::new(),
        }
    }

    fn of(answer: &Answer, status: u16, charge: f64, item: Bytes) -> Self {
        Self {
            status,
            charge,
            etag: answer.header("etag").map(str::to_owned),
            item,
        }
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(format!(r#"{{"statusCode":{},"requestCharge":{}"#, self.status, self.charge).as_bytes());
        if let Some(etag) = &self.etag {
            body.extend_from_slice(br#","eTag":"#);
            body.extend_from_slice(Value::from(etag.as_str()).to_string().as_bytes());
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

/// The answer to a batch of `count` operations of which one fails: it has its status, all others
/// 424. `tried` is what those before it have cost; nothing was tried after it.
pub(super) fn failed(count: usize, tried: &[f64], status: u16) -> Answer {
    let outcomes: Vec<Outcome> = (0..count)
        .map(|at| match tried.get(at) {
            Some(charge) => Outcome::failed(424, *charge),
            None if at == tried.len() => Outcome::failed(status, charge::REFUSED),
            None => Outcome::failed(424, 0.0),
        })
        .collect();
    let charge = tried.iter().sum::<f64>() + charge::REFUSED;
    answer(StatusCode::MultiStatus, Headers::new(), charge, outcomes.iter())
}

/// Puts charges into the emulator's own answer to a batch: it has the same for every operation.
pub(super) fn charge_each(answer: &mut Answer, batch: &[u8], policy: &IndexingPolicy) {
    let operations: Vec<Value> = serde_json::from_slice(batch).unwrap_or_default();
    let mut results: Vec<Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    if results.is_empty() || operations.len() != results.len() {
        charge::set(answer, charge::REFUSED);
        return;
    }
    let mut sum = 0.0;
    for (operation, result) in operations.iter().zip(&mut results) {
        let status = result["statusCode"].as_u64().unwrap_or_default();
        let weight = Weight::of(operation["resourceBody"].to_string().as_bytes(), policy);
        let charge = match (operation["operationType"].as_str(), status) {
            (_, 424) => 0.0,
            (Some("Read"), 200) => charge::point_read(result["resourceBody"].to_string().len()),
            (Some("Read"), _) => charge::NOTHING_READ,
            (Some("Delete"), 204) => charge::delete(weight),
            (_, 201) => charge::create(weight),
            (_, 200..300) => charge::replace(weight),
            _ => charge::REFUSED,
        };
        sum += charge;
        result["requestCharge"] = charge.into();
    }
    answer.body = Value::Array(results).to_string().into();
    charge::set(answer, sum);
}

fn answer<'a>(
    status: StatusCode,
    mut headers: Headers,
    charge: f64,
    outcomes: impl Iterator<Item = &'a Outcome>,
) -> Answer {
    headers.insert("content-type", "application/json");
    let mut body = vec![b'['];
    for outcome in outcomes {
        if body.len() > 1 {
            body.push(b',');
        }
        outcome.append(&mut body);
    }
    body.push(b']');
    let mut answer = Answer {
        status,
        headers,
        body: body.into(),
    };
    charge::set(&mut answer, charge);
    answer
}
