//! Rules of a subscription, on its management link.

use fe2o3_amqp::types::primitives::Timestamp;
use serde_amqp::{described::Described, descriptor::Descriptor};

use super::*;
use crate::servicebus::config::{SubscriptionConfig, TopicConfig};

fn map<'a>(pairs: impl IntoIterator<Item = &'a (&'a str, Value)>) -> Value {
    let pairs = pairs.into_iter();
    Value::Map(pairs.map(|(name, value)| (Value::from(*name), value.clone())).collect())
}

/// A request for a rule that wants these application properties.
fn wanting(properties: &[(&str, Value)]) -> Vec<(&'static str, Value)> {
    let filter = map(&[("properties", map(properties))]);
    vec![
        ("rule-name", Value::from("r")),
        ("rule-description", map(&[("correlation-filter", filter)])),
    ]
}

fn get(map: &Value, name: &str) -> Value {
    match map {
        Value::Map(map) => map.get(&Value::from(name)).cloned().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::List(list) => list.clone(),
        Value::Described(described) => list(&described.value),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rule_gives_back_the_values_it_was_given_and_when_that_was() {
    let broker = Broker::start();
    let topic = broker.namespace.create_topic(&TopicConfig::new("t")).unwrap();
    let config = SubscriptionConfig {
        rules: Vec::new(),
        ..SubscriptionConfig::new("s")
    };
    broker.namespace.create_subscription("t", &config).unwrap();
    // A length of time and a decimal are written as Microsoft's client for .NET writes them.
    let minute = Described {
        descriptor: Descriptor::Name("com.microsoft:timespan".into()),
        value: Value::Long(600_000_000),
    };
    let mut decimal = [0; 16];
    (decimal[0], decimal[1], decimal[14], decimal[15]) = (0x0c, 0x3c, 0x05, 0x46);
    let wanted = [
        ("boolean", Value::Bool(true)),
        ("decimal", Value::Decimal128(decimal.into())),
        ("fraction", Value::Double(2.5.into())),
        ("guid", Value::Uuid(Uuid::from([7; 16]))),
        ("integer", Value::Long(3)),
        ("span", Value::Described(Box::new(minute))),
        ("text", Value::from("text")),
        (
            "time",
            Value::Timestamp(Timestamp::from_milliseconds(1_577_836_800_250)),
        ),
    ];
    let mut client = broker.connect().await;
    let (add, enumerate) = ("com.microsoft:add-rule", "com.microsoft:enumerate-rules");
    let (status, ..) = client.request("t/Subscriptions/s", add, wanting(&wanted)).await;
    assert_eq!(status, 200);

    let page = vec![("top", Value::Int(10)), ("skip", Value::Int(0))];
    let (_, _, answer) = client.request("t/Subscriptions/s", enumerate, page).await;
    let rule = list(&get(&list(&get(&answer, "rules"))[0], "rule-description"));
    assert_eq!(list(&rule[0])[8], map(&wanted));
    let created_at = topic.rules("s").unwrap()[0].created_at.unwrap();
    assert_eq!(
        rule[3],
        Value::Timestamp(Timestamp::from_milliseconds(created_at.as_millis()))
    );

    let unheard_of = wanting(&[("x", Value::List(Vec::new()))]);
    let (status, ..) = client.request("t/Subscriptions/s", add, unheard_of).await;
    assert_eq!(status, 501);
}
