//! Results as tables or JSON, on stdout.

use std::io::{self, Write};

use anyhow::Result;
use azevents_core::{Failures, Message};
use azevents_servicebus::{PropertyValue, ReceivedMessage, RedriveReport};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) fn list(messages: &[ReceivedMessage], as_json: bool) -> Result<()> {
    if as_json {
        return print(&serde_json::to_string_pretty(
            &messages.iter().map(summary).collect::<Vec<_>>(),
        )?);
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "NUMBER",
        "SENT",
        "MESSAGE ID",
        "SESSION",
        "SUBJECT",
        "REASON",
        "DESCRIPTION",
    ]);
    for message in messages {
        table.add_row([
            message.sequence_number().to_string(),
            instant(message.enqueued_time()),
            message.message_id().unwrap_or_default().to_owned(),
            message.session_id().unwrap_or_default().to_owned(),
            message.subject().unwrap_or_default().to_owned(),
            message.dead_letter_reason().unwrap_or_default().to_owned(),
            shortened(message.dead_letter_error_description().unwrap_or_default()),
        ]);
    }
    print(&table.trim_fmt())
}

pub(crate) fn show(message: &ReceivedMessage, as_json: bool) -> Result<()> {
    let mut value = summary(message);
    value.extend(failures(
        &Failures::of(&Message::from(message).headers).unwrap_or_default(),
    ));
    value.insert("properties".into(), properties(message));
    match std::str::from_utf8(message.body()) {
        Ok(text) => value.insert("body".into(), text.into()),
        Err(_) => value.insert("bodyBase64".into(), BASE64_STANDARD.encode(message.body()).into()),
    };
    if as_json {
        return print(&serde_json::to_string_pretty(&value)?);
    }
    print(&fields(&value))
}

/// A field per line, those of objects by their path.
pub(crate) fn fields(value: &Map<String, Value>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (name, value) in value {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    table.add_row([format!("{name}.{field}"), plain(value)]);
                }
            }
            value => {
                table.add_row([name.clone(), plain(value)]);
            }
        }
    }
    table.trim_fmt()
}

pub(crate) fn report(report: RedriveReport, done: &str, dry_run: bool, as_json: bool) -> Result<()> {
    let RedriveReport {
        chosen,
        moved,
        too_often,
        left,
        ..
    } = report;
    if as_json {
        let value = json!({"dryRun": dry_run, "chosen": chosen, "moved": moved, "tooOften": too_often, "left": left});
        return print(&value.to_string());
    }
    if dry_run {
        return print(&format!(
            "{chosen} would be {done}; {too_often} stay, as they came back too often"
        ));
    }
    print(&format!(
        "{moved} of {chosen} {done}, {left} left; {too_often} stay, as they came back too often"
    ))
}

fn summary(message: &ReceivedMessage) -> Map<String, Value> {
    let value = json!({
        "sequenceNumber": message.sequence_number(),
        "enqueuedTime": message.enqueued_time().map(|at| instant(Some(at))),
        "messageId": message.message_id(),
        "sessionId": message.session_id(),
        "subject": message.subject(),
        "contentType": message.content_type(),
        "deliveryCount": message.delivery_count(),
        "deadLetterReason": message.dead_letter_reason(),
        "deadLetterErrorDescription": message.dead_letter_error_description(),
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What was tried before a message was set aside, if its headers say so.
pub(crate) fn failures(story: &Failures) -> Option<(String, Value)> {
    let value = json!({
        "consumer": story.consumer,
        "attempts": story.attempts,
        "firstAt": instant(story.first_at),
        "lastAt": instant(story.last_at),
        "firstError": story.first_error,
        "lastError": story.last_error,
    });
    (story.attempts > 0).then(|| ("failures".to_owned(), value))
}

fn properties(message: &ReceivedMessage) -> Value {
    let value = |value: &PropertyValue| match value {
        PropertyValue::Bool(value) => Value::from(*value),
        PropertyValue::Binary(bytes) => BASE64_STANDARD.encode(bytes).into(),
        value => value
            .as_str()
            .map(Value::from)
            .or_else(|| value.as_i64().map(Value::from))
            .or_else(|| value.as_f64().map(Value::from))
            .unwrap_or_else(|| format!("{value:?}").into()),
    };
    let properties = message.properties().iter();
    Value::Object(properties.map(|(name, one)| (name.clone(), value(one))).collect())
}

pub(crate) fn instant(at: Option<OffsetDateTime>) -> String {
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The first line, cut to what fits beside the other columns.
pub(crate) fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 {
        return line.to_owned();
    }
    line.chars().take(59).chain(['…']).collect()
}

/// A reader that has gone away, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
