//! What an entity refuses, what is deleted in batches, and rules that fail.

use fe2o3_amqp::{link::RecvError, types::primitives::Timestamp};

use super::*;
use crate::servicebus::{
    EntityStatus, Filter, Rule, SqlFilter,
    config::{SubscriptionConfig, TopicConfig},
    message::testing::Sample,
};

impl Broker {
    fn set_status(&self, name: &str, status: EntityStatus) {
        let config = QueueConfig {
            status,
            ..QueueConfig::new(name)
        };
        self.namespace.update_queue(&config).unwrap();
    }
}

fn rejection(outcome: &Outcome) -> &Error {
    match outcome {
        Outcome::Rejected(rejected) => rejected.error.as_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_suspended_queue_refuses_and_ends_receivers_until_it_is_active_again() {
    let broker = Broker::start();
    broker.namespace.create_queue(&QueueConfig::new("w")).unwrap();
    let mut client = broker.connect().await;
    let mut sender = Sender::attach(&mut client.session, "s", "w").await.unwrap();
    broker.set_status("w", EntityStatus::SendDisabled);
    let outcome = sender.send("x").await.unwrap();
    assert_eq!(condition(rejection(&outcome)), "com.microsoft:entity-disabled");
    let error = rejection(&outcome).description.as_deref().unwrap();
    assert!(
        error.contains("'w' is currently disabled for Send operations"),
        "{error}"
    );

    let mut receiver = client.receiver("r", "w").await;
    broker.set_status("w", EntityStatus::ReceiveDisabled);
    let ended = timeout(PATIENCE, receiver.recv::<Value>()).await.unwrap();
    assert!(matches!(ended, Err(RecvError::LinkStateError(_))), "{ended:?}");
    assert!(matches!(sender.send("y").await.unwrap(), Outcome::Accepted(_)));
    let refused = broker.refusal(source("w", None)).await;
    assert_eq!(condition(&refused), "com.microsoft:entity-disabled");

    broker.set_status("w", EntityStatus::Active);
    let mut client = broker.connect().await;
    let mut receiver = client.receiver("r", "w").await;
    assert_eq!(text(&recv(&mut receiver).await), "y");
}

#[tokio::test]
async fn a_deleted_queue_ends_its_receivers() {
    let broker = Broker::start();
    broker.namespace.create_queue(&QueueConfig::new("w")).unwrap();
    let mut client = broker.connect().await;
    let mut receiver = client.receiver("r", "w").await;
    let mut dead = client.receiver("d", "w/$DeadLetterQueue").await;
    broker.namespace.delete("w").unwrap();
    for receiver in [&mut receiver, &mut dead] {
        let ended = timeout(PATIENCE, receiver.recv::<Value>()).await.unwrap();
        assert!(matches!(ended, Err(RecvError::LinkStateError(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn a_queue_with_an_open_receiver_is_not_idle_and_one_that_is_deleted_is_told_to_senders() {
    const HOUR: Duration = Duration::from_secs(3600);
    let broker = Broker::start();
    let config = QueueConfig {
        auto_delete_on_idle: Some(HOUR),
        ..QueueConfig::new("w")
    };
    broker.namespace.create_queue(&config).unwrap();
    let pass = || {
        broker.namespace.clock().advance(2 * HOUR);
        broker.namespace.delete_idle();
    };
    let mut client = broker.connect().await;
    let mut sender = Sender::attach(&mut client.session, "s", "w").await.unwrap();
    let receiver = client.receiver("r", "w").await;
    pass();
    assert!(matches!(sender.send("x").await.unwrap(), Outcome::Accepted(_)));
    receiver.close().await.unwrap();
    let gone = async {
        while broker.namespace.resolve("w").is_ok() {
            pass();
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    let outcome = sender.send("y").await.unwrap();
    let text = format!("{:?}", rejection(&outcome));
    assert!(text.contains("NotFound") && text.contains("'w'"), "{text}");
}

#[tokio::test]
async fn a_premium_namespace_takes_large_messages() {
    let large = "x".repeat(2 * 1024 * 1024);
    for (limit, taken) in [(3 * 1024 * 1024, true), (1024 * 1024, false)] {
        let limits = NamespaceConfig::with_largest_message(Some(limit));
        let broker = Broker::with_limits(limits);
        let mut client = broker.connect().await;
        let mut sender = Sender::attach(&mut client.session, "s", "q").await.unwrap();
        let sent = timeout(PATIENCE, sender.send(large.as_str())).await.unwrap();
        assert_eq!(matches!(sent, Ok(Outcome::Accepted(_))), taken, "{sent:?}");
    }
}

#[tokio::test]
async fn a_queue_may_take_smaller_messages_than_its_namespace() {
    let broker = Broker::start();
    let config = QueueConfig {
        max_message_size: Some(4096),
        ..QueueConfig::new("notes")
    };
    broker.namespace.create_queue(&config).unwrap();
    let mut client = broker.connect().await;
    let mut sender = Sender::attach(&mut client.session, "s", "notes").await.unwrap();
    assert_eq!(sender.max_message_size(), Some(4096));
    assert!(matches!(
        sender.send("x".repeat(4000)).await.unwrap(),
        Outcome::Accepted(_)
    ));
    assert!(!matches!(sender.send("x".repeat(4100)).await, Ok(Outcome::Accepted(_))));
    let large = "x".repeat(4100);
    let outcomes = client.send("q", None, &[large.as_str()]).await;
    assert!(matches!(outcomes[..], [Outcome::Accepted(_)]));
}

#[tokio::test]
async fn a_queue_takes_no_more_than_its_size() {
    let broker = Broker::start();
    let config = QueueConfig {
        max_megabytes: Some(1),
        ..QueueConfig::new("small")
    };
    let queue = broker.namespace.create_queue(&config).unwrap();
    let large = "x".repeat(200 * 1024);
    let mut client = broker.connect().await;
    let outcomes = client.send("small", None, &[large.as_str(); 6]).await;
    let (last, taken) = outcomes.split_last().unwrap();
    assert!(taken.iter().all(|outcome| matches!(outcome, Outcome::Accepted(_))));
    let text = format!("{:?}", rejection(last));
    assert!(
        text.contains("ResourceLimitExceeded") && text.contains("maximum entity size"),
        "{text}"
    );
    // There is room again when something has gone.
    let mut receiver = client.receiver("r", "small").await;
    let delivery = recv(&mut receiver).await;
    receiver.accept(&delivery).await.unwrap();
    let outcome = client.send("small", None, &[large.as_str()]).await;
    assert!(matches!(outcome[..], [Outcome::Accepted(_)]));
    assert!(queue.size() < 1 << 20);
}

#[tokio::test]
async fn a_message_with_too_large_properties_is_refused_and_the_link_goes_on() {
    let broker = Broker::start();
    let mut client = broker.connect().await;
    let mut sender = Sender::attach(&mut client.session, "s", "q").await.unwrap();
    for (sizes, condition, words) in [
        (&[33_000][..], "InternalError", "'p0'"),
        (&[30_000, 30_000, 30_000], "MessageSizeExceeded", "65536"),
    ] {
        let mut properties = ApplicationProperties::default();
        for (n, size) in sizes.iter().enumerate() {
            properties.insert(format!("p{n}"), SimpleValue::String("x".repeat(*size)));
        }
        let message = Message::builder().application_properties(properties).value("b").build();
        let text = format!("{:?}", rejection(&sender.send(message).await.unwrap()));
        assert!(text.contains(condition) && text.contains(words), "{text}");
    }
    assert!(matches!(sender.send("small").await.unwrap(), Outcome::Accepted(_)));
}

#[tokio::test]
async fn messages_are_deleted_in_batches_by_their_time_and_not_those_that_are_locked() {
    let broker = Broker::start();
    let queue = broker.namespace.create_queue(&QueueConfig::new("w")).unwrap();
    let mut client = broker.connect().await;
    client.send("w", None, &["held", "a", "b", "c"]).await;
    let held = queue.try_receive(1, crate::servicebus::engine::ReceiveMode::PeekLock);
    let now = || broker.namespace.clock().now().as_millis();
    let before = now() + 1;
    broker.namespace.clock().advance(Duration::from_secs(10));
    client.send("w", None, &["later"]).await;
    let delete = "com.microsoft:batch-delete-messages";
    let body = |count: i32, before: i64| {
        vec![
            ("message-count", Value::Int(count)),
            (
                "enqueued-time-utc",
                Value::Timestamp(Timestamp::from_milliseconds(before)),
            ),
        ]
    };
    for (count, deleted) in [(2, 2), (500, 1)] {
        let (status, _, answer) = client.request("w", delete, body(count, before)).await;
        assert_eq!(status, 200);
        let Value::Map(answer) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(answer.get(&Value::from("message-count")), Some(&Value::Int(deleted)));
    }
    let (status, ..) = client.request("w", delete, body(10, before)).await;
    assert_eq!(status, 204, "nothing more that is old enough");
    let (status, condition, _) = client.request("w", delete, body(501, before)).await;
    let condition = condition.as_deref();
    assert_eq!((status, condition), (400, Some("com.microsoft:argument-out-of-range")));
    assert_eq!(held.len(), 1);
    assert_eq!(queue.counts().active, 2, "the locked one and the later one");
}

#[tokio::test]
async fn a_message_that_a_rule_fails_on_is_kept_where_the_subscription_says_so() {
    let broker = Broker::start();
    let topic = broker.namespace.create_topic(&TopicConfig::new("t")).unwrap();
    let rule = Rule {
        filter: Filter::Sql(SqlFilter::parse("kind = 'good' OR (kind = 'bad' AND 1 / 0 = 1)").unwrap()),
        ..Rule::match_all()
    };
    let subscribe = |name: &str, dead_letter_on_filter_error| {
        let config = SubscriptionConfig {
            dead_letter_on_filter_error,
            rules: vec![rule.clone()],
            ..SubscriptionConfig::new(name)
        };
        broker.namespace.create_subscription("t", &config).unwrap()
    };
    let (keeping, dropping) = (subscribe("keeping", true), subscribe("dropping", false));
    let message = |kind: &str| Sample::body("b").property("kind", kind).message();
    topic
        .intake()
        .send(vec![message("good"), message("bad"), message("other")])
        .unwrap();
    let counts = |queue: &crate::servicebus::Queue| {
        let dead = queue.dead_letters().unwrap().counts().active;
        (queue.counts().active, dead)
    };
    assert_eq!(counts(&keeping), (1, 1));
    assert_eq!(counts(&dropping), (1, 0));
    let mut client = broker.connect().await;
    let mut dead = client.receiver("d", "t/Subscriptions/keeping/$DeadLetterQueue").await;
    let letter = timeout(PATIENCE, dead.recv::<Body<Value>>()).await.unwrap().unwrap();
    let properties = format!("{:?}", letter.message().application_properties);
    assert!(
        properties.contains("FilterException") && properties.contains("$Default"),
        "{properties}"
    );
}
