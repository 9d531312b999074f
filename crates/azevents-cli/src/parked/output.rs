//! Parked messages as tables or JSON.

use anyhow::Result;
use azevents_core::Parked;
use azevents_core::dead_letter::{PARKED_OFFSET, PARKED_SEQUENCE_NUMBER, PARKED_SOURCE};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Map, Value, json};

use crate::output::{failures, fields, instant, print, shortened};

pub(super) fn list(letters: &[Parked], as_json: bool) -> Result<()> {
    if as_json {
        let letters: Vec<_> = letters.iter().map(summary).collect();
        return print(&serde_json::to_string_pretty(&letters)?);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "ID",
        "KEY",
        "TYPE",
        "PARKED",
        "SOURCE",
        "NUMBER",
        "REASON",
        "DESCRIPTION",
    ]);
    for letter in letters {
        let message = &letter.message;
        table.add_row([
            message.id.clone(),
            message.key.clone(),
            message.event_type.clone(),
            instant(letter.at),
            header(letter, PARKED_SOURCE),
            number(letter),
            letter.why.reason.clone(),
            shortened(&letter.why.description),
        ]);
    }
    print(&table.trim_fmt())
}

pub(super) fn show(letter: &Parked, as_json: bool) -> Result<()> {
    let mut value = summary(letter);
    value.extend(failures(&letter.why.failures));
    value.insert("headers".into(), json!(letter.message.headers));
    match std::str::from_utf8(&letter.message.body) {
        Ok(text) => value.insert("body".into(), text.into()),
        Err(_) => value.insert("bodyBase64".into(), BASE64_STANDARD.encode(&letter.message.body).into()),
    };
    if as_json {
        return print(&serde_json::to_string_pretty(&value)?);
    }
    print(&fields(&value))
}

pub(super) fn sent(count: u64, to: &str, as_json: bool) -> Result<()> {
    if as_json {
        return print(&json!({"sent": count, "to": to}).to_string());
    }
    print(&format!("{count} sent again to {to}"))
}

fn summary(letter: &Parked) -> Map<String, Value> {
    let message = &letter.message;
    let value = json!({
        "id": message.id,
        "key": message.key,
        "type": message.event_type,
        "contentType": message.content_type,
        "parkedAt": letter.at.map(|at| instant(Some(at))),
        "source": header(letter, PARKED_SOURCE),
        "number": number(letter),
        "reason": letter.why.reason,
        "description": letter.why.description,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn number(letter: &Parked) -> String {
    match header(letter, PARKED_SEQUENCE_NUMBER) {
        number if number.is_empty() => header(letter, PARKED_OFFSET),
        number => number,
    }
}

fn header(letter: &Parked, name: &str) -> String {
    letter.message.headers.get(name).cloned().unwrap_or_default()
}
