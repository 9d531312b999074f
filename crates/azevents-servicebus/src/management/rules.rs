//! The rules of a subscription, over the connection that messages use: no right to manage is needed.

use fe2o3_amqp::types::primitives::{OrderedMap, Value};
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::{Management, Map, entry, items, malformed, text};
use crate::amqp::values::{self, map};
use crate::error::Result;
use crate::message::{AmqpValue, Properties, PropertyValue};
use crate::rule::{CorrelationFilter, Rule, RuleFilter};

/// Rules that are asked for at once.
const PAGE: i32 = 100;

impl Management {
    pub(crate) async fn add_rule(&self, rule: &Rule) -> Result<()> {
        let mut description: Map = OrderedMap::new();
        match &rule.filter {
            RuleFilter::True => description.insert(text("sql-filter"), expression("1=1")),
            RuleFilter::False => description.insert(text("sql-filter"), expression("1=0")),
            RuleFilter::Sql(sql) => description.insert(text("sql-filter"), expression(sql)),
            RuleFilter::Correlation(filter) => description.insert(text("correlation-filter"), correlation(filter)),
        };
        if let Some(action) = &rule.action {
            description.insert(text("sql-rule-action"), expression(action));
        }
        let body = map([
            ("rule-name", text(&rule.name)),
            ("rule-description", Value::Map(description)),
        ]);
        self.call("add rule", "com.microsoft:add-rule", body, None)
            .await
            .map(drop)
    }

    pub(crate) async fn remove_rule(&self, name: &str) -> Result<()> {
        let body = map([("rule-name", text(name))]);
        self.call("remove rule", "com.microsoft:remove-rule", body, None)
            .await
            .map(drop)
    }

    pub(crate) async fn rules(&self) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        loop {
            let skip = i32::try_from(rules.len()).unwrap_or(i32::MAX);
            let body = map([("top", Value::Int(PAGE)), ("skip", Value::Int(skip))]);
            let answer = self
                .call("list rules", "com.microsoft:enumerate-rules", body, None)
                .await?;
            if answer.status() == Some(204) {
                return Ok(rules);
            }
            let page = items(&answer, "rules").ok_or_else(|| malformed("list rules", &self.entity))?;
            for item in page {
                let rule = match item {
                    Value::Map(item) => entry(item, "rule-description").and_then(rule),
                    _ => None,
                };
                rules.push(rule.ok_or_else(|| malformed("list rules", &self.entity))?);
            }
            if page.len() < PAGE.unsigned_abs() as usize {
                return Ok(rules);
            }
        }
    }
}

fn expression(sql: &str) -> Value {
    Value::Map(map([("expression", text(sql))]))
}

fn correlation(filter: &CorrelationFilter) -> Value {
    let mut fields: Map = OrderedMap::new();
    for (name, value) in filter.fields() {
        if let Some(value) = value {
            fields.insert(text(name), text(value));
        }
    }
    if !filter.properties.is_empty() {
        let properties = filter.properties.iter();
        let properties = properties.map(|(name, value)| (text(name), Value::from(value.to_wire())));
        fields.insert(text("properties"), Value::Map(properties.collect()));
    }
    Value::Map(fields)
}

/// What the service calls the described lists it answers with: by name or by number, as the official
/// clients know them.
enum Kind {
    Rule,
    SqlFilter,
    TrueFilter,
    FalseFilter,
    CorrelationFilter,
    SqlAction,
    Unknown,
}

fn kind(descriptor: &Descriptor) -> Kind {
    match descriptor {
        Descriptor::Code(0x137_0000_0004) => Kind::Rule,
        Descriptor::Code(0x137_0000_0006) => Kind::SqlAction,
        Descriptor::Code(0x13_7000_0006) => Kind::SqlFilter,
        Descriptor::Code(0x13_7000_0007) => Kind::TrueFilter,
        Descriptor::Code(0x13_7000_0008) => Kind::FalseFilter,
        Descriptor::Code(0x13_7000_0009) => Kind::CorrelationFilter,
        Descriptor::Code(_) => Kind::Unknown,
        Descriptor::Name(name) => match name.as_str() {
            "com.microsoft:rule-description:list" => Kind::Rule,
            "com.microsoft:sql-rule-action:list" => Kind::SqlAction,
            "com.microsoft:sql-filter:list" => Kind::SqlFilter,
            "com.microsoft:true-filter:list" => Kind::TrueFilter,
            "com.microsoft:false-filter:list" => Kind::FalseFilter,
            "com.microsoft:correlation-filter:list" => Kind::CorrelationFilter,
            _ => Kind::Unknown,
        },
    }
}

fn list(value: &Value) -> Option<(Kind, &[Value])> {
    match value {
        Value::Described(described) => {
            let Described { descriptor, value } = described.as_ref();
            match value {
                Value::List(fields) => Some((kind(descriptor), fields)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Filter, action, name.
fn rule(value: &Value) -> Option<Rule> {
    let (Kind::Rule, fields) = list(value)? else {
        return None;
    };
    Some(Rule {
        filter: filter(fields.first()?)?,
        action: match fields.get(1).and_then(list) {
            Some((Kind::SqlAction, fields)) => fields.first().and_then(values::text).map(str::to_owned),
            _ => None,
        },
        name: fields.get(2).and_then(values::text)?.to_owned(),
    })
}

fn filter(value: &Value) -> Option<RuleFilter> {
    let (kind, fields) = list(value)?;
    Some(match kind {
        Kind::SqlFilter => RuleFilter::Sql(fields.first().and_then(values::text)?.to_owned()),
        Kind::TrueFilter => RuleFilter::True,
        Kind::FalseFilter => RuleFilter::False,
        Kind::CorrelationFilter => {
            let field = |index: usize| fields.get(index).and_then(values::text).map(str::to_owned);
            RuleFilter::Correlation(CorrelationFilter {
                correlation_id: field(0),
                message_id: field(1),
                to: field(2),
                reply_to: field(3),
                subject: field(4),
                session_id: field(5),
                reply_to_session_id: field(6),
                content_type: field(7),
                properties: fields.get(8).map(properties).unwrap_or_default(),
            })
        }
        Kind::Rule | Kind::SqlAction | Kind::Unknown => return None,
    })
}

fn properties(value: &Value) -> Properties {
    let AmqpValue::Map(pairs) = AmqpValue::from_wire(value.clone()) else {
        return Properties::new();
    };
    pairs
        .into_iter()
        .filter_map(|pair| match pair {
            (
                AmqpValue::Simple(PropertyValue::String(name) | PropertyValue::Symbol(name)),
                AmqpValue::Simple(value),
            ) => Some((name, value)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(code: u64, fields: Vec<Value>) -> Value {
        Value::Described(Box::new(Described {
            descriptor: Descriptor::Code(code),
            value: Value::List(fields),
        }))
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_answered_is_a_rule_or_none(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            // Enough of what is random decodes as some value.
            if let Ok(value) = crate::amqp::guard::decode::<Value>(&bytes) {
                let _ = (rule(&value), filter(&value), properties(&value));
                let _ = rule(&described(0x137_0000_0004, vec![value.clone(), value.clone(), value]));
            }
        }
    }

    #[test]
    fn the_services_own_descriptions_of_rules_are_read() {
        let sql = described(0x13_7000_0006, vec![text("total > 10"), Value::Int(20)]);
        let action = described(0x137_0000_0006, vec![text("SET big = TRUE"), Value::Int(20)]);
        let read = rule(&described(0x137_0000_0004, vec![sql, action, text("big")])).unwrap();
        assert_eq!(
            read,
            Rule::new("big", RuleFilter::Sql("total > 10".into())).with_action("SET big = TRUE")
        );

        let nothing = described(0x137_0000_0005, Vec::new());
        let all = described(0x13_7000_0007, vec![text("1=1"), Value::Int(20)]);
        let read = rule(&described(0x137_0000_0004, vec![all, nothing, text("$Default")])).unwrap();
        assert_eq!(read, Rule::new("$Default", RuleFilter::True));

        let by = Value::Map(map([("country", text("France"))]));
        let fields = vec![Value::Null, Value::Null, Value::Null, Value::Null, text("OrderPlaced")];
        let correlation = [fields, vec![Value::Null; 3], vec![by]].concat();
        let correlation = described(0x13_7000_0009, correlation);
        let read = rule(&described(0x137_0000_0004, vec![correlation, Value::Null, text("fr")])).unwrap();
        let filter = CorrelationFilter::default()
            .with_subject("OrderPlaced")
            .with_property("country", "France");
        assert_eq!(read, Rule::new("fr", RuleFilter::Correlation(filter)));
    }
}
