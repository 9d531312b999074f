//! Rules of subscriptions, as descriptions and back, and the calls about them.

use futures::stream::BoxStream;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::atom::{Described, Fields};
use super::client::{ServiceBusAdministrationClient, Write};
use super::subscriptions::path;
use super::xml::{Element, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::message::PropertyValue;
use crate::rule::{CorrelationFilter, Rule, RuleFilter};

const XML_SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";
/// The version of SQL that the service speaks ("SqlFilter.CompatibilityLevel").
const COMPATIBILITY_LEVEL: u32 = 20;

pub(super) fn write(rule: &Rule, out: &mut Writer) -> Result<()> {
    match &rule.filter {
        RuleFilter::True => sql(out, "Filter", "TrueFilter", "1=1"),
        RuleFilter::False => sql(out, "Filter", "FalseFilter", "1=0"),
        RuleFilter::Sql(text) => sql(out, "Filter", "SqlFilter", text),
        RuleFilter::Correlation(filter) => correlation(out, filter)?,
    }
    if let Some(text) = &rule.action {
        sql(out, "Action", "SqlRuleAction", text);
    } else {
        out.open("Action", "i:type=\"EmptyRuleAction\"");
        out.close("Action");
    }
    out.text("Name", &rule.name);
    Ok(())
}

fn sql(out: &mut Writer, name: &str, kind: &str, text: &str) {
    out.open(name, &format!("i:type=\"{kind}\""));
    out.text("SqlExpression", text);
    out.value("CompatibilityLevel", &COMPATIBILITY_LEVEL);
    out.close(name);
}

fn correlation(out: &mut Writer, filter: &CorrelationFilter) -> Result<()> {
    out.open("Filter", "i:type=\"CorrelationFilter\"");
    // In the order of the data contract.
    out.optional("CorrelationId", filter.correlation_id.as_deref());
    out.optional("MessageId", filter.message_id.as_deref());
    out.optional("To", filter.to.as_deref());
    out.optional("ReplyTo", filter.reply_to.as_deref());
    out.optional("Label", filter.subject.as_deref());
    out.optional("SessionId", filter.session_id.as_deref());
    out.optional("ReplyToSessionId", filter.reply_to_session_id.as_deref());
    out.optional("ContentType", filter.content_type.as_deref());
    out.open("Properties", "");
    for (name, value) in &filter.properties {
        let (kind, text) = written(name, value)?;
        out.open("KeyValueOfstringanyType", "");
        out.text("Key", name);
        out.open("Value", &format!("i:type=\"d6p1:{kind}\" xmlns:d6p1=\"{XML_SCHEMA}\""));
        out.content(&text);
        out.close("Value");
        out.close("KeyValueOfstringanyType");
    }
    out.close("Properties");
    out.close("Filter");
    Ok(())
}

/// The type of XML Schema that stands for a value: those the official clients write.
fn written(name: &str, value: &PropertyValue) -> Result<(&'static str, String)> {
    let number = |kind| value.as_i64().map(|number| (kind, number.to_string()));
    let written = match value {
        PropertyValue::String(text) => Some(("string", text.clone())),
        PropertyValue::Bool(truth) => Some(("boolean", truth.to_string())),
        PropertyValue::Byte(_)
        | PropertyValue::Ubyte(_)
        | PropertyValue::Short(_)
        | PropertyValue::Ushort(_)
        | PropertyValue::Int(_) => number("int"),
        PropertyValue::Uint(_) | PropertyValue::Long(_) | PropertyValue::Ulong(_) => number("long"),
        PropertyValue::Float(_) | PropertyValue::Double(_) => {
            value.as_f64().map(|number| ("double", number.to_string()))
        }
        PropertyValue::Timestamp(time) => time.format(&Rfc3339).ok().map(|time| ("dateTime", time)),
        _ => None,
    };
    written.ok_or_else(|| {
        let message = format!("a filter cannot ask for the value of `{name}`: take text, a number, a truth or a time");
        Error::new(ErrorKind::InvalidArgument, message)
    })
}

fn read(name: &str, value: &Element) -> Result<PropertyValue> {
    let (kind, text) = (value.kind().unwrap_or("string"), value.text().trim());
    let read = match kind {
        "string" => Some(PropertyValue::String(value.text().to_owned())),
        "boolean" => text.parse().ok().map(PropertyValue::Bool),
        "byte" | "short" | "int" | "unsignedByte" | "unsignedShort" => text.parse().ok().map(PropertyValue::Int),
        "long" | "unsignedInt" => text.parse().ok().map(PropertyValue::Long),
        "double" | "float" | "decimal" => text.parse().ok().map(PropertyValue::Double),
        "dateTime" => OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
            .ok()
            .map(PropertyValue::Timestamp),
        _ => None,
    };
    read.ok_or_else(|| unreadable(&format!("the value of `{name}`, `{text}` of type {kind}")))
}

fn unreadable(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("a rule cannot be read: {what}"))
}

impl Described for Rule {
    const KIND: &'static str = "RuleDescription";

    fn read(name: &str, fields: &Fields<'_>) -> Result<Self> {
        let part = |name: &str| fields.0.child(name);
        let filter = part("Filter").ok_or_else(|| unreadable("it has no filter"))?;
        let expression = |part: &Element| {
            if part.child("Parameters").is_some_and(|all| !all.children.is_empty()) {
                // Left out, they would be lost by an update.
                return Err(unreadable("SQL with parameters is not supported"));
            }
            Ok(part.text_of("SqlExpression").unwrap_or_default().to_owned())
        };
        let filter = match filter.kind() {
            Some("TrueFilter") => RuleFilter::True,
            Some("FalseFilter") => RuleFilter::False,
            Some("SqlFilter") => RuleFilter::Sql(expression(filter)?),
            Some("CorrelationFilter") => RuleFilter::Correlation(read_correlation(filter)?),
            kind => return Err(unreadable(&format!("its filter is of the type {kind:?}"))),
        };
        let action = part("Action").filter(|action| action.kind() == Some("SqlRuleAction"));
        Ok(Self {
            name: fields.text("Name").unwrap_or(name).to_owned(),
            filter,
            action: action.map(expression).transpose()?,
        })
    }
}

fn read_correlation(filter: &Element) -> Result<CorrelationFilter> {
    let text = |name| filter.text_of(name).map(str::to_owned);
    let mut by = CorrelationFilter {
        correlation_id: text("CorrelationId"),
        message_id: text("MessageId"),
        to: text("To"),
        reply_to: text("ReplyTo"),
        subject: text("Label"),
        session_id: text("SessionId"),
        reply_to_session_id: text("ReplyToSessionId"),
        content_type: text("ContentType"),
        ..CorrelationFilter::default()
    };
    let pairs = filter.child("Properties").map_or(&[][..], |all| &all.children);
    for pair in pairs {
        let name = pair.child("Key").map_or("", Element::text);
        let value = pair
            .child("Value")
            .ok_or_else(|| unreadable("a property has no value"))?;
        by.properties.insert(name.to_owned(), read(name, value)?);
    }
    Ok(by)
}

impl ServiceBusAdministrationClient {
    /// Adds a rule to a subscription, and gives it as the service has it. A subscription starts with
    /// [`DEFAULT_RULE`](crate::rule::DEFAULT_RULE), which takes everything, unless it was created with
    /// another.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists): a rule of that name;
    /// [`EntityNotFound`](ErrorKind::EntityNotFound): no such subscription;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument): SQL the service cannot read, or a value that no
    /// filter can have.
    pub async fn create_rule(&self, topic: &str, subscription: &str, rule: &Rule) -> Result<Rule> {
        self.put_rule("create rule", topic, subscription, rule, false).await
    }

    /// Replaces a rule of the same name.
    ///
    /// # Errors
    /// As of [`create_rule`](Self::create_rule), and [`EntityNotFound`](ErrorKind::EntityNotFound) where
    /// there is no such rule.
    pub async fn update_rule(&self, topic: &str, subscription: &str, rule: &Rule) -> Result<Rule> {
        self.put_rule("update rule", topic, subscription, rule, true).await
    }

    async fn put_rule(
        &self,
        operation: &'static str,
        topic: &str,
        subscription: &str,
        rule: &Rule,
        update: bool,
    ) -> Result<Rule> {
        let path = rule_path(topic, subscription, &rule.name);
        let mut fields = Writer::default();
        write(rule, &mut fields).map_err(|error| error.during(operation, &path))?;
        let write = Write::forwarding(update, false, false);
        self.put(operation, &path, fields, write).await
    }

    /// One rule of a subscription.
    ///
    /// # Errors
    /// [`EntityNotFound`](ErrorKind::EntityNotFound); [`Other`](ErrorKind::Other) for SQL with parameters.
    pub async fn get_rule(&self, topic: &str, subscription: &str, name: &str) -> Result<Rule> {
        self.get("get rule", &rule_path(topic, subscription, name)).await
    }

    /// Whether a subscription has a rule of that name.
    ///
    /// # Errors
    /// It cannot be told: there is no such subscription, or it cannot be reached.
    pub async fn rule_exists(&self, topic: &str, subscription: &str, name: &str) -> Result<bool> {
        self.exists::<Rule>("get rule", &rule_path(topic, subscription, name))
            .await
    }

    /// Takes a rule away from a subscription.
    ///
    /// # Errors
    /// [`EntityNotFound`](ErrorKind::EntityNotFound).
    pub async fn delete_rule(&self, topic: &str, subscription: &str, name: &str) -> Result<()> {
        self.delete("delete rule", &rule_path(topic, subscription, name)).await
    }

    /// All rules of a subscription, a page at a time as they are asked for.
    pub fn list_rules(&self, topic: &str, subscription: &str) -> BoxStream<'static, Result<Rule>> {
        self.list("list rules", format!("{}/rules", path(topic, subscription)))
    }
}

fn rule_path(topic: &str, subscription: &str, rule: &str) -> String {
    format!("{}/rules/{rule}", path(topic, subscription))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_xml(rule: &Rule) -> Result<Rule> {
        let mut out = Writer::default();
        out.open("RuleDescription", "xmlns:i=\"i\"");
        write(rule, &mut out)?;
        out.close("RuleDescription");
        let description = Element::parse(&out.into_string()).unwrap();
        Rule::read(&rule.name, &Fields(&description))
    }

    #[test]
    fn rules_survive_the_way_there_and_back() {
        let all = CorrelationFilter::default()
            .with_correlation_id("c")
            .with_subject("<order> & 'more'")
            .with_property("text", " a ")
            .with_property("truth", true)
            .with_property("int", -3)
            .with_property("long", i64::MAX)
            .with_property("double", 1.5)
            .with_property("time", OffsetDateTime::UNIX_EPOCH);
        for filter in [
            RuleFilter::True,
            RuleFilter::False,
            RuleFilter::Sql("a < 5 AND b = '&'".into()),
            RuleFilter::Correlation(all),
        ] {
            let plain = Rule::new("r", filter);
            assert_eq!(through_xml(&plain).unwrap(), plain);
            let acting = plain.with_action("SET a = '<'");
            assert_eq!(through_xml(&acting).unwrap(), acting);
        }
    }

    #[test]
    fn a_value_that_no_filter_can_have_is_named() {
        let filter = CorrelationFilter::default().with_property("blob", bytes::Bytes::new());
        let error = through_xml(&Rule::new("r", RuleFilter::Correlation(filter))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("`blob`"), "{error}");
    }

    #[test]
    fn sql_with_parameters_is_refused_rather_than_shortened() {
        let text = "<RuleDescription><Filter type='SqlFilter'><SqlExpression>a=@b</SqlExpression>\
                    <Parameters><KeyValueOfstringanyType/></Parameters></Filter></RuleDescription>";
        let description = Element::parse(text).unwrap();
        let error = Rule::read("r", &Fields(&description)).unwrap_err();
        assert!(error.to_string().contains("parameters"), "{error}");
    }
}
