//! The rules of a subscription.
//!
//! Requests carry maps, answers described lists; the descriptors are those of the official clients'
//! constants (`descriptorCodes` in azure-sdk-for-js).

use serde_amqp::{
    Value,
    described::Described,
    descriptor::Descriptor,
    primitives::{OrderedMap, Timestamp},
};

use super::{Answer, Arguments, Call, field};
use crate::servicebus::{BrokerError, CorrelationFilter, Filter, Rule, SqlAction, SqlFilter, topic::Topic};

const RULE: u64 = 0x137_0000_0004;
const NO_ACTION: u64 = 0x137_0000_0005;
const SQL_ACTION: u64 = 0x137_0000_0006;
const SQL_FILTER: u64 = 0x13_7000_0006;
const TRUE_FILTER: u64 = 0x13_7000_0007;
const FALSE_FILTER: u64 = 0x13_7000_0008;
const CORRELATION_FILTER: u64 = 0x13_7000_0009;

/// Version of the SQL, which the service writes behind each expression.
const COMPATIBILITY: i32 = 20;

impl Call<'_> {
    pub(super) fn add_rule(&self) -> Answer {
        let (topic, subscription) = self.subscription()?;
        let name = self.arguments.required_text("rule-name")?;
        let description = self.arguments.required_map("rule-description")?;
        let rule = Rule {
            name: name.to_owned(),
            filter: filter(&description)?,
            action: match description.map("sql-rule-action")? {
                Some(action) => match action.text("expression")? {
                    None | Some("") => None,
                    Some(text) => Some(SqlAction::parse(text)?),
                },
                None => None,
            },
            created_at: None,
        };
        topic.add_rule(subscription, rule)?;
        Ok(Some(OrderedMap::new()))
    }

    pub(super) fn remove_rule(&self) -> Answer {
        let (topic, subscription) = self.subscription()?;
        topic.remove_rule(subscription, self.arguments.required_text("rule-name")?)?;
        Ok(Some(OrderedMap::new()))
    }

    pub(super) fn enumerate_rules(&self) -> Answer {
        let (topic, subscription) = self.subscription()?;
        let number = |name| {
            let number = self.arguments.integer(name)?.unwrap_or_default();
            Ok::<_, BrokerError>(usize::try_from(number).unwrap_or_default())
        };
        let (skip, top) = (number("skip")?, number("top")?);
        let rules = topic.rules(subscription)?.into_iter().skip(skip).take(top);
        let rules: Vec<Value> = rules
            .map(|rule| Value::Map(field("rule-description", described_rule(&rule))))
            .collect();
        Ok((!rules.is_empty()).then(|| field("rules", Value::List(rules))))
    }

    fn subscription(&self) -> Result<(&Topic, &str), BrokerError> {
        match &self.node.subscription {
            Some((topic, name)) => Ok((topic, name)),
            None => Err(BrokerError::NotAllowed("Only subscriptions have rules.".into())),
        }
    }
}

fn filter(description: &Arguments<'_>) -> Result<Filter, BrokerError> {
    if let Some(sql) = description.map("sql-filter")? {
        return Ok(match sql.required_text("expression")? {
            // How clients write the two that have no expression.
            "1=1" => Filter::True,
            "1=0" => Filter::False,
            text => Filter::Sql(SqlFilter::parse(text)?),
        });
    }
    let Some(by) = description.map("correlation-filter")? else {
        return Err(BrokerError::Malformed(
            "The rule has neither a 'sql-filter' nor a 'correlation-filter'.".into(),
        ));
    };
    let text = |name| by.text(name).map(|text| text.map(str::to_owned));
    Ok(Filter::Correlation(CorrelationFilter {
        correlation_id: text("correlation-id")?,
        message_id: text("message-id")?,
        to: text("to")?,
        reply_to: text("reply-to")?,
        subject: text("label")?,
        session_id: text("session-id")?,
        reply_to_session_id: text("reply-to-session-id")?,
        content_type: text("content-type")?,
        properties: match by.map("properties")? {
            Some(properties) => properties.properties()?,
            None => Default::default(),
        },
    }))
}

fn described(code: u64, fields: Vec<Value>) -> Value {
    Value::Described(Box::new(Described {
        descriptor: Descriptor::Code(code),
        value: Value::List(fields),
    }))
}

fn expression(text: &str) -> Vec<Value> {
    vec![Value::String(text.to_owned()), Value::Int(COMPATIBILITY)]
}

fn described_rule(rule: &Rule) -> Value {
    let filter = match &rule.filter {
        // Without fields: a client that reads none of the filter's would take one for the action.
        Filter::True => described(TRUE_FILTER, Vec::new()),
        Filter::False => described(FALSE_FILTER, Vec::new()),
        Filter::Sql(sql) => described(SQL_FILTER, expression(sql.text())),
        Filter::Correlation(by) => {
            let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
            let mut fields: Vec<Value> = [
                &by.correlation_id,
                &by.message_id,
                &by.to,
                &by.reply_to,
                &by.subject,
                &by.session_id,
                &by.reply_to_session_id,
                &by.content_type,
            ]
            .map(text)
            .into();
            let properties = by.properties.iter().map(|(name, wanted)| {
                let encoded = wanted.encode();
                let value = encoded.and_then(|encoded| serde_amqp::from_slice(&encoded).ok());
                (Value::String(name.clone()), value.unwrap_or(Value::Null))
            });
            fields.push(Value::Map(properties.collect()));
            described(CORRELATION_FILTER, fields)
        }
    };
    let action = match &rule.action {
        Some(action) => described(SQL_ACTION, expression(action.text())),
        None => described(NO_ACTION, Vec::new()),
    };
    let created_at = Timestamp::from_milliseconds(rule.created_at.unwrap_or_default().as_millis());
    let name = Value::String(rule.name.clone());
    described(RULE, vec![filter, action, name, Value::Timestamp(created_at)])
}
