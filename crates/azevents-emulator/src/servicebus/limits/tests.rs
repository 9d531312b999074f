//! What is refused, with the service's words.

use super::*;
use crate::{
    clock::Clock,
    faults::Faults,
    servicebus::{
        CorrelationFilter, Namespace, QueueConfig, SqlAction, SqlFilter, SubscriptionConfig, TopicConfig,
        engine::{ReceiveMode, Settlement},
        message::testing::Sample,
    },
};

fn full<T: std::fmt::Debug>(refused: Result<T, BrokerError>) -> String {
    let error = refused.expect_err("there is no room");
    assert_eq!(
        (error.condition(), error.status_code()),
        ("amqp:resource-limit-exceeded", 403)
    );
    error.to_string()
}

#[tokio::test]
async fn a_namespace_and_a_topic_take_as_many_as_the_service_does() {
    let limits = NamespaceConfig {
        entities: 2,
        subscriptions: 2,
        sql_rules: 2,
        correlation_rules: 1,
        ..NamespaceConfig::default()
    };
    let namespace = Namespace::new(limits, Clock::start(), Faults::none());
    namespace.create_queue(&QueueConfig::new("q")).unwrap();
    let topic = namespace.create_topic(&TopicConfig::new("t")).unwrap();
    let refused = full(namespace.create_queue(&QueueConfig::new("more")));
    assert!(refused.contains("queues and topics of a namespace, 2,"), "{refused}");
    full(namespace.create_topic(&TopicConfig::new("more")));
    namespace.create_queue(&QueueConfig::new("Q")).expect("it is there");

    let rule = |name: &str, filter: Filter| Rule {
        name: name.into(),
        filter,
        ..Rule::match_all()
    };
    let sql = |name: &str| rule(name, Filter::Sql(SqlFilter::parse("a = 1").unwrap()));
    let correlation = |name: &str| rule(name, Filter::Correlation(CorrelationFilter::default()));
    let subscription = |name: &str, rules: Vec<Rule>| SubscriptionConfig {
        rules,
        ..SubscriptionConfig::new(name)
    };
    let create = |name: &str, rules| namespace.create_subscription("t", &subscription(name, rules)).map(drop);
    let too_many = full(create("a", vec![sql("1"), sql("2"), sql("3")]));
    assert!(too_many.contains("SQL filters of a topic, 2,"), "{too_many}");
    create("a", vec![sql("1"), correlation("2")]).unwrap();
    create("b", vec![sql("1"), Rule::match_all()]).unwrap();
    assert!(full(create("c", Vec::new())).contains("subscriptions of a topic, 2,"));
    full(topic.add_rule("b", sql("3")));
    full(topic.add_rule("a", correlation("3")));
    topic.remove_rule("a", "1").unwrap();
    topic.add_rule("b", sql("3")).unwrap();
    topic.unsubscribe("a").unwrap();
    create("c", vec![correlation("1")]).unwrap();
}

#[tokio::test]
async fn names_are_as_long_as_the_service_takes_them() {
    let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none());
    let queue = |length: usize| namespace.create_queue(&QueueConfig::new("q".repeat(length))).map(drop);
    queue(260).unwrap();
    let refused = queue(261).unwrap_err();
    assert_eq!(refused.status_code(), 400);
    assert!(refused.to_string().contains("from 1 to 260"), "{refused}");
    let topic = namespace.create_topic(&TopicConfig::new("t/with/levels")).unwrap();
    let subscribe = |name: &str| {
        let config = SubscriptionConfig::new(name);
        namespace.create_subscription("t/with/levels", &config).map(drop)
    };
    subscribe(&"s".repeat(50)).unwrap();
    for name in ["", "a/b", &"s".repeat(51)] {
        assert_eq!(subscribe(name).unwrap_err().status_code(), 400, "{name}");
    }
    let rule = |name: &str| Rule {
        name: name.into(),
        ..Rule::match_all()
    };
    topic.add_rule(&"s".repeat(50), rule(&"r".repeat(50))).unwrap();
    for name in ["", "a/b", &"r".repeat(51)] {
        let refused = topic.add_rule(&"s".repeat(50), rule(name)).unwrap_err();
        assert_eq!(refused.status_code(), 400, "{name}");
    }
}

#[tokio::test]
async fn a_copy_that_a_rule_makes_too_large_is_dead_lettered() {
    let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none());
    let topic = namespace.create_topic(&TopicConfig::new("t")).unwrap();
    let rule = Rule {
        action: Some(SqlAction::parse("SET b = a; SET c = a; SET d = a").unwrap()),
        ..Rule::match_all()
    };
    let config = SubscriptionConfig {
        rules: vec![rule],
        ..SubscriptionConfig::new("s")
    };
    let subscription = namespace.create_subscription("t", &config).unwrap();
    let message = Sample::body("b").property("a", &"x".repeat(20_000)).message();
    topic.intake().send(vec![message]).unwrap();
    assert_eq!(subscription.counts().active, 0);
    let dead = subscription
        .dead_letters()
        .unwrap()
        .try_receive(1, ReceiveMode::PeekLock);
    let text = String::from_utf8_lossy(dead[0].message.application_properties()).into_owned();
    assert!(text.contains("HeaderSizeExceeded"), "{text}");
}

#[tokio::test]
async fn a_topic_takes_no_more_than_its_size_until_all_copies_of_something_are_gone() {
    let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none());
    let config = TopicConfig {
        max_megabytes: Some(1),
        ..TopicConfig::new("t")
    };
    let topic = namespace.create_topic(&config).unwrap();
    let send = || {
        topic
            .intake()
            .send(vec![Sample::body(vec![b'x'; 300 * 1024]).message()])
    };
    for _ in 0..5 {
        send().expect("nobody keeps it");
    }
    let subscribe = |name: &str| {
        namespace
            .create_subscription("t", &SubscriptionConfig::new(name))
            .unwrap()
    };
    let subscriptions = [subscribe("a"), subscribe("b")];
    for _ in 0..3 {
        send().expect("copies count once");
    }
    assert!(full(send()).contains("maximum entity size"));
    let complete = |queue: &crate::servicebus::Queue| {
        let received = queue.try_receive(1, ReceiveMode::PeekLock).remove(0);
        queue.settle(received.token, &Settlement::Complete).unwrap();
    };
    complete(&subscriptions[0]);
    full(send());
    complete(&subscriptions[1]);
    send().unwrap();
    full(send());
    // Dead letters don't count, as those of queues.
    for queue in &subscriptions {
        let received = queue.try_receive(1, ReceiveMode::PeekLock).remove(0);
        let dead = Settlement::DeadLetter {
            reason: None,
            description: None,
            properties: Default::default(),
        };
        queue.settle(received.token, &dead).unwrap();
    }
    send().unwrap();
    topic.unsubscribe("a").unwrap();
    drop(subscriptions);
    assert!(topic.intake().size() > 0);
    topic.unsubscribe("b").unwrap();
    assert_eq!(topic.intake().size(), 0);
}

#[test]
fn a_message_with_too_long_properties_is_refused() {
    let text = |length: usize| "x".repeat(length);
    let checked = |sample: Sample| check_message(&sample.message());
    let sample = || Sample::body("b");
    checked(sample().id(&text(128)).session(&text(128)).property("a", &text(32_768))).unwrap();
    checked(sample().property("a", &text(32_000)).property("b", &text(32_000))).unwrap();
    for (sample, condition) in [
        (sample().id(&text(129)), "com.microsoft:argument-error"),
        (sample().session(&text(129)), "com.microsoft:argument-error"),
        (sample().partition_key(&text(129)), "com.microsoft:argument-error"),
        (sample().property("a", &text(32_769)), "amqp:internal-error"),
        (
            sample()
                .property("a", &text(30_000))
                .property("b", &text(30_000))
                .property("c", &text(6000)),
            "amqp:link:message-size-exceeded",
        ),
    ] {
        assert_eq!(checked(sample).unwrap_err().condition(), condition);
    }
}
