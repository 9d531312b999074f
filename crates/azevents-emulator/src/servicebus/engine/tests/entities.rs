//! Topics, and entities that are there already.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_topic_copies_to_the_subscriptions_whose_rules_match() {
    let namespace = namespace();
    let topic = namespace.create_topic(&TopicConfig::new("t1")).unwrap();
    let all = namespace
        .create_subscription("T1", &SubscriptionConfig::new("all"))
        .unwrap();
    let mut config = SubscriptionConfig::new("german");
    let filter = CorrelationFilter {
        session_id: Some("S".into()),
        properties: [("country".into(), Value::Text("DE".into()))].into(),
        ..CorrelationFilter::default()
    };
    config.rules = vec![Rule {
        name: "de".into(),
        filter: Filter::Correlation(filter),
        ..Rule::match_all()
    }];
    let german = namespace.create_subscription("t1", &config).unwrap();
    config = SubscriptionConfig::new("sessions");
    config.requires_session = true;
    let sessions = namespace.create_subscription("t1", &config).unwrap();
    send(
        topic.intake(),
        [
            Sample::body("de").session("S").property("country", "DE"),
            Sample::body("fr").session("S").property("country", "FR"),
            Sample::body("none"),
        ],
    );
    assert_eq!(texts(&take(&all, 10)), ["de", "fr", "none"]);
    assert_eq!(texts(&take(&german, 10)), ["de"]);
    let (dead, reason, _) = dead_letter(&sessions);
    assert_eq!((text(&dead), &*reason), ("none".into(), "Session ID is null"));
    let found = namespace.resolve("t1/subscriptions/ALL/$deadletterqueue");
    assert!(found.is_ok_and(|node| node.intake().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_topic_schedules_and_detects_duplicates_once_for_all_subscriptions() {
    let namespace = namespace();
    let mut config = TopicConfig::new("t1");
    config.duplicate_detection = Some(60 * SECOND);
    let topic = namespace.create_topic(&config).unwrap();
    let all = namespace
        .create_subscription("t1", &SubscriptionConfig::new("s1"))
        .unwrap();
    let at = timestamp_in(2 * SECOND);
    send(
        topic.intake(),
        [Sample::body("a").id("1").scheduled_at_ms(at), Sample::body("a").id("1")],
    );
    assert!(take(&all, 10).is_empty());
    let received = timeout(3 * SECOND, all.receive(10, PEEK_LOCK)).await.unwrap().unwrap();
    assert_eq!(texts(&received), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_passed_on_is_counted_apart() {
    // Nobody passes anything on here.
    let queue = queue_with(|config| config.forwarding.to = Some("elsewhere".into()));
    let later = Sample::body("later").scheduled_at_ms(timestamp_in(SECOND));
    send(&queue, [Sample::body("1"), Sample::body("2"), later]);
    let counts = MessageCounts {
        transferred: 2,
        scheduled: 1,
        ..MessageCounts::default()
    };
    assert_eq!(queue.counts(), counts);
}

#[tokio::test(start_paused = true)]
async fn creating_twice_keeps_what_is_there() {
    let namespace = namespace();
    let queue = namespace.create_queue(&QueueConfig::new("Orders/In")).unwrap();
    send(&queue, [Sample::body("a")]);
    let again = namespace.create_queue(&QueueConfig::new("orders/in")).unwrap();
    assert_eq!(again.counts().active, 1);
    assert!(namespace.create_topic(&TopicConfig::new("orders/in")).is_err());
    assert!(namespace.create_queue(&QueueConfig::new("$cbs")).is_err());
    assert_eq!(
        namespace.resolve("nowhere").unwrap_err(),
        BrokerError::EntityNotFound("nowhere".into())
    );
}
