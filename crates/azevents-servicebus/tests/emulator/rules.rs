//! What a subscription takes, changed over the connection that messages use.

use std::time::Duration;

use azevents_servicebus::rule::DEFAULT_RULE;
use azevents_servicebus::{CorrelationFilter, ErrorKind, Rule, RuleFilter, subscription};

use crate::support::{client, emulator, id, message, soon};

const SHORTLY: Duration = Duration::from_millis(300);

#[tokio::test]
async fn rules_are_added_listed_and_removed() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let rules = client.create_rule_manager("t", "a");
    let default = Rule::new(DEFAULT_RULE, RuleFilter::True);
    assert_eq!(soon(rules.list()).await.unwrap(), [default]);

    let correlation = CorrelationFilter::default()
        .with_correlation_id("c")
        .with_subject("OrderPlaced")
        .with_property("country", "France")
        .with_property("lines", 3_i64);
    let french = Rule::new("french", RuleFilter::Correlation(correlation));
    let large = Rule::new("large", RuleFilter::Sql("total > 1000".into())).with_action("SET big = TRUE");
    for rule in [&french, &large] {
        soon(rules.add(rule)).await.unwrap();
    }
    let error = soon(rules.add(&large)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    soon(rules.remove(DEFAULT_RULE)).await.unwrap();
    let mut listed = soon(rules.list()).await.unwrap();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(listed, [french, large]);
    let error = soon(rules.remove(DEFAULT_RULE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EntityNotFound, "{error}");
    let broken = Rule::new("broken", RuleFilter::Sql("total >".into()));
    let error = soon(rules.add(&broken)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_subscription_takes_what_its_rules_match_and_changes_it() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let rules = client.create_rule_manager("t", "a");
    let large = Rule::new("large", RuleFilter::Sql("total > 1000".into())).with_action("SET big = TRUE");
    soon(rules.add(&large)).await.unwrap();
    soon(rules.remove(DEFAULT_RULE)).await.unwrap();
    let sender = client.create_sender("t");
    for (n, total) in [(1, 5_i64), (2, 5000)] {
        let order = message(n).with_session_id("s").with_property("total", total);
        soon(sender.send(&order)).await.unwrap();
    }
    let receiver = client.create_receiver(&subscription("t", "a"));
    let received = soon(receiver.receive()).await.unwrap();
    assert_eq!(id(&received), "2");
    assert!(received.properties().contains_key("big"));
    soon(receiver.complete(&received)).await.unwrap();
    assert!(soon(receiver.receive_batch(1, SHORTLY)).await.unwrap().is_empty());
}
