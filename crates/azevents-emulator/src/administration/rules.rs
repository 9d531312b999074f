//! Descriptions of rules, from the broker's to XML and back.

use std::fmt::Write;

use super::{atom::Entry, document::Element, fields, values};
use crate::{
    servicebus::{BrokerError, CorrelationFilter, Filter, Parameters, Rule, SqlAction, SqlFilter},
    xml::element,
};

pub(super) fn rule(rule: &Rule) -> Entry {
    let mut out = String::new();
    let none = Parameters::new();
    match &rule.filter {
        Filter::True => sql(&mut out, "Filter", "TrueFilter", "1=1", &none),
        Filter::False => sql(&mut out, "Filter", "FalseFilter", "1=0", &none),
        Filter::Sql(filter) => sql(&mut out, "Filter", "SqlFilter", filter.text(), filter.parameters()),
        Filter::Correlation(filter) => correlation(&mut out, filter),
    }
    match &rule.action {
        Some(action) => sql(&mut out, "Action", "SqlRuleAction", action.text(), action.parameters()),
        None => out.push_str("<Action i:type=\"EmptyRuleAction\" />"),
    }
    let created_at = rule.created_at.unwrap_or_default();
    element(&mut out, "CreatedAt", &fields::instant(created_at));
    element(&mut out, "Name", &rule.name);
    Entry {
        title: rule.name.clone(),
        kind: "RuleDescription",
        fields: out,
        times: None,
    }
}

fn sql(out: &mut String, name: &str, kind: &str, text: &str, parameters: &Parameters) {
    let _ = write!(out, "<{name} i:type=\"{kind}\">");
    element(out, "SqlExpression", text);
    element(out, "CompatibilityLevel", "20");
    if !parameters.is_empty() {
        out.push_str("<Parameters>");
        for (name, value) in parameters {
            values::write(out, name, value);
        }
        out.push_str("</Parameters>");
    }
    let _ = write!(out, "</{name}>");
}

fn correlation(out: &mut String, filter: &CorrelationFilter) {
    out.push_str("<Filter i:type=\"CorrelationFilter\">");
    for (name, value) in [
        ("CorrelationId", &filter.correlation_id),
        ("MessageId", &filter.message_id),
        ("To", &filter.to),
        ("ReplyTo", &filter.reply_to),
        ("Label", &filter.subject),
        ("SessionId", &filter.session_id),
        ("ReplyToSessionId", &filter.reply_to_session_id),
        ("ContentType", &filter.content_type),
    ] {
        if let Some(value) = value {
            element(out, name, value);
        }
    }
    out.push_str("<Properties>");
    for (name, value) in &filter.properties {
        values::write(out, name, value);
    }
    out.push_str("</Properties></Filter>");
}

/// Reads what a client wants a rule to be.
pub(super) fn read_rule(name: &str, description: &Element) -> Result<Rule, BrokerError> {
    let filter = match description.find("Filter") {
        None => Filter::True,
        Some(filter) => match filter.kind.as_deref() {
            Some("TrueFilter") => Filter::True,
            Some("FalseFilter") => Filter::False,
            Some("SqlFilter") => match filter.child("SqlExpression").unwrap_or_default() {
                "1=1" => Filter::True,
                "1=0" => Filter::False,
                text => Filter::Sql(SqlFilter::with_parameters(text, parameters(filter)?)?),
            },
            Some("CorrelationFilter") => Filter::Correlation(read_correlation(filter)?),
            other => return Err(BrokerError::Malformed(format!("There is no filter of type {other:?}."))),
        },
    };
    let action = description.find("Action");
    let action = action.and_then(|action| Some((action, action.child("SqlExpression")?)));
    Ok(Rule {
        name: name.to_owned(),
        filter,
        action: match action {
            Some((action, text)) => Some(SqlAction::with_parameters(text, parameters(action)?)?),
            None => None,
        },
        created_at: None,
    })
}

fn parameters(sql: &Element) -> Result<Parameters, BrokerError> {
    values::read(sql.find("Parameters")).collect()
}

fn read_correlation(filter: &Element) -> Result<CorrelationFilter, BrokerError> {
    let text = |name| filter.child(name).map(str::to_owned);
    let properties = values::read(filter.find("Properties"));
    Ok(CorrelationFilter {
        correlation_id: text("CorrelationId"),
        message_id: text("MessageId"),
        to: text("To"),
        reply_to: text("ReplyTo"),
        subject: text("Label"),
        session_id: text("SessionId"),
        reply_to_session_id: text("ReplyToSessionId"),
        content_type: text("ContentType"),
        properties: properties.collect::<Result<_, _>>()?,
    })
}
