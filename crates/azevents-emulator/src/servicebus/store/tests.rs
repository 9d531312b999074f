//! A namespace that is opened again is the one that was closed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    amqp::Right,
    clock::Clock,
    faults::Faults,
    servicebus::{
        AuthorizationRule, CorrelationFilter, Namespace, NamespaceConfig, Remarks, Rule, SqlAction, SqlFilter, Value,
        config::{QueueConfig, SubscriptionConfig, TopicConfig},
        engine::{LockToken, ReceiveMode, Settlement},
        filter,
        message::{PropertyChanges, testing::Sample},
        queue::{HeldSession, Queue},
    },
    state::{DataFolder, Folder},
};

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("azevents-servicebus-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self, clock: &Clock) -> Arc<Namespace> {
        self.open_with(NamespaceConfig::default(), clock)
    }

    fn open_with(&self, limits: NamespaceConfig, clock: &Clock) -> Arc<Namespace> {
        let folder = Folder::open(&DataFolder::new(&self.0)).unwrap();
        Namespace::open(limits, clock.clone(), Faults::none(), Some(&folder)).unwrap()
    }

    fn log_size(&self) -> u64 {
        self.0.join("servicebus.log").metadata().unwrap().len()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All that is to be kept, in one order.
fn state(namespace: &Namespace) -> Vec<String> {
    let mut records = Vec::new();
    namespace.describe(&mut records);
    records.iter().map(|record| format!("{record:?}")).collect()
}

/// Closes it and opens it again; it has to be what it was.
async fn again(scratch: &Scratch, clock: &Clock, namespace: Arc<Namespace>) -> Arc<Namespace> {
    let before = state(&namespace);
    namespace.journal().close().await;
    drop(namespace);
    let namespace = scratch.open(clock);
    let after = state(&namespace);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    namespace
}

fn create_all(namespace: &Namespace) {
    for (name, sessions) in [("plain", false), ("sessions", true)] {
        let config = QueueConfig {
            requires_session: sessions,
            max_delivery_count: 3,
            duplicate_detection: Some(Duration::from_secs(600)),
            dead_letter_on_expiration: true,
            auto_delete_on_idle: Some(Duration::from_secs(1_000_000_000)),
            max_message_size: Some(200_000),
            partitioned: sessions,
            authorization: vec![AuthorizationRule {
                key_name: "sender".into(),
                primary_key: String::new(),
                secondary_key: "second".into(),
                rights: vec![Right::Send],
                created: 0,
                modified: 0,
            }],
            remarks: Remarks {
                user_metadata: Some("a note".into()),
                ..Remarks::default()
            },
            ..QueueConfig::new(name)
        };
        namespace.create_queue(&config).unwrap();
    }
    for (name, to) in [("forwards", "plain"), ("nowhere", "missing")] {
        let mut config = QueueConfig::new(name);
        config.forwarding.to = Some(to.into());
        namespace.create_queue(&config).unwrap();
    }
    let topic = TopicConfig {
        partitioned: true,
        ..TopicConfig::new("topic")
    };
    namespace.create_topic(&topic).unwrap();
    let rule = Rule {
        name: "loud".into(),
        filter: filter::Filter::Sql(SqlFilter::parse("sys.MessageId LIKE '%1'").unwrap()),
        action: Some(SqlAction::parse("SET volume = 'high'").unwrap()),
        ..Rule::match_all()
    };
    let loud = SubscriptionConfig {
        rules: vec![rule],
        ..SubscriptionConfig::new("loud")
    };
    for subscription in [SubscriptionConfig::new("all"), loud] {
        namespace.create_subscription("topic", &subscription).unwrap();
    }
}

/// Numerical Recipes' generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Somebody who does whatever can be done.
struct Visitor {
    random: Random,
    sent: u64,
    locked: Vec<(Arc<Queue>, LockToken)>,
    held: Option<HeldSession>,
}

impl Visitor {
    fn outlet(&mut self, namespace: &Namespace) -> Arc<Queue> {
        let paths = [
            "plain",
            "topic/Subscriptions/all",
            "topic/Subscriptions/loud",
            "plain/$DeadLetterQueue",
            "sessions/$DeadLetterQueue",
        ];
        let path = paths[usize::try_from(self.random.below(5)).unwrap()];
        Arc::clone(namespace.resolve(path).unwrap().outlet().unwrap())
    }

    fn sample(&mut self, clock: &Clock) -> Sample {
        self.sent += 1;
        let number = self.sent - self.random.below(2);
        let sample = Sample::body(number.to_string()).id(&format!("id-{number}"));
        let sample = sample.session(["A", "B"][usize::try_from(self.random.below(2)).unwrap()]);
        match self.random.below(6) {
            0 => sample.scheduled_at_ms(clock.now().as_millis() + 5_000),
            1 => sample.ttl_ms(20_000),
            _ => sample,
        }
    }

    fn settlement(&mut self) -> Settlement {
        let mut changes = PropertyChanges::default();
        if self.random.below(2) == 0 {
            changes.set_text("seen", "yes");
        }
        match self.random.below(5) {
            0 => Settlement::Abandon(changes),
            1 => Settlement::Release,
            2 => Settlement::Defer(changes),
            3 => Settlement::DeadLetter {
                reason: Some("no good".into()),
                description: None,
                properties: changes,
            },
            _ => Settlement::Complete,
        }
    }

    async fn step(&mut self, namespace: &Namespace, clock: &Clock) {
        match self.random.below(13) {
            0..4 => {
                let to = ["plain", "sessions", "topic", "forwards", "nowhere"];
                let to = to[usize::try_from(self.random.below(5)).unwrap()];
                let node = namespace.resolve(to).unwrap();
                let sent = node.intake().unwrap().send(vec![self.sample(clock).message()]);
                sent.unwrap();
            }
            4..6 => {
                let queue = self.outlet(namespace);
                let received = queue.try_receive(2, ReceiveMode::PeekLock);
                let received = received
                    .into_iter()
                    .map(|received| (Arc::clone(&queue), received.token));
                self.locked.extend(received);
            }
            6..9 => {
                let settlement = self.settlement();
                if let Some((queue, token)) = self.locked.pop() {
                    // A lock may have ended.
                    let _ = queue.settle(token, &settlement);
                }
            }
            9 => {
                let queue = Arc::clone(namespace.resolve("sessions").unwrap().outlet().unwrap());
                self.held = None;
                let Ok(held) = queue.accept_session(None, Duration::ZERO).await else {
                    return;
                };
                let state = (self.random.below(3) > 0).then(|| self.sent.to_string().into());
                queue.set_session_state(held.id(), held.holder(), state).unwrap();
                for received in held.try_receive(2, ReceiveMode::PeekLock).unwrap() {
                    let settlement = self.settlement();
                    // Not in a dead-letter queue, under a young lock.
                    held.settle(received.token, &settlement).unwrap();
                }
                self.held = Some(held);
            }
            10 => {
                let queue = Arc::clone(namespace.resolve("plain").unwrap().outlet().unwrap());
                let deferred = queue.peek(0, 100, None).into_iter().find(|(_, stamp)| stamp.state == 1);
                if let Some((_, stamp)) = deferred {
                    // It may be locked.
                    let _ = queue.receive_deferred(&[stamp.sequence_number], None, ReceiveMode::ReceiveAndDelete);
                }
            }
            11 => {
                // What a transaction does.
                let plain = Arc::clone(namespace.resolve("plain").unwrap().managed());
                let topic = Arc::clone(namespace.resolve("topic").unwrap().managed());
                let sent = self.sample(clock).message();
                plain.together(|| {
                    for received in plain.try_receive(1, ReceiveMode::PeekLock) {
                        plain.settle(received.token, &Settlement::Complete).unwrap();
                    }
                    topic.send(vec![sent]).unwrap();
                });
            }
            _ => clock.advance(Duration::from_secs(self.random.below(20))),
        }
    }
}

#[tokio::test]
async fn whatever_is_done_to_messages_is_there_again() {
    for seed in 0..8 {
        let (scratch, clock) = (Scratch::new(&format!("all-{seed}")), Clock::start());
        let mut namespace = scratch.open(&clock);
        create_all(&namespace);
        let mut visitor = Visitor {
            random: Random(seed),
            sent: 0,
            locked: Vec::new(),
            held: None,
        };
        for _ in 0..3 {
            for _ in 0..150 {
                visitor.step(&namespace, &clock).await;
                // Forwarding is a task.
                tokio::task::yield_now().await;
            }
            visitor.locked.clear();
            visitor.held = None;
            namespace = again(&scratch, &clock, namespace).await;
        }
    }
}

#[tokio::test]
async fn times_of_creation_change_and_use_and_keys_are_there_again() {
    let (scratch, clock) = (Scratch::new("times"), Clock::start());
    let mut namespace = scratch.open(&clock);
    let hour = || clock.advance(Duration::from_secs(3600));
    create_all(&namespace);
    hour();
    namespace
        .resolve("plain")
        .unwrap()
        .managed()
        .send(vec![Sample::body("1").message()])
        .unwrap();
    let read = namespace.resolve("topic/Subscriptions/all").unwrap();
    read.managed().usage().receive();
    read.managed().peek(0, 1, None);
    hour();
    let config = QueueConfig {
        duplicate_detection: Some(Duration::from_secs(60)),
        ..QueueConfig::new("plain")
    };
    namespace.update_queue(&config).unwrap();
    let times = |namespace: &Namespace| {
        let of = |path: &str| namespace.resolve(path).unwrap().managed().times();
        let all = [
            "plain",
            "sessions",
            "topic",
            "topic/Subscriptions/all",
            "topic/Subscriptions/loud",
        ]
        .map(of);
        (
            namespace.times(),
            all,
            namespace.key_on("sessions/$management", "sender").map(|key| key.keys),
        )
    };
    let before = times(&namespace);
    let [plain, sessions, topic, all, loud] = before.1;
    assert!(plain.created() < plain.accessed() && plain.accessed() < plain.updated());
    assert!(sessions.accessed() < sessions.created() && sessions.updated() == sessions.created());
    assert_eq!(
        topic.accessed(),
        all.accessed(),
        "a topic is used with its subscriptions"
    );
    assert!(all.accessed() > all.created() && loud.accessed() < loud.created());
    for _ in 0..2 {
        hour();
        namespace = again(&scratch, &clock, namespace).await;
        assert_eq!(times(&namespace), before);
    }
}

#[tokio::test]
async fn entities_and_rules_are_there_again_and_deleted_ones_are_not() {
    let (scratch, clock) = (Scratch::new("entities"), Clock::start());
    let namespace = scratch.open(&clock);
    create_all(&namespace);
    let old = namespace.create_queue(&QueueConfig::new("again")).unwrap();
    old.send(vec![Sample::body("old").message()]).unwrap();
    let received = old.try_receive(1, ReceiveMode::PeekLock);
    namespace.delete("again").unwrap();
    let new = namespace.create_queue(&QueueConfig::new("again")).unwrap();
    new.send(vec![Sample::body("new").message()]).unwrap();
    // Somebody still has the old one; the first message of the new one has the same number.
    old.settle(received[0].token, &Settlement::Complete).unwrap();

    let topic = namespace.topics().remove(0);
    topic.unsubscribe("all").unwrap();
    topic.remove_rule("loud", "loud").unwrap();
    topic.add_rule("loud", Rule::match_all()).unwrap();
    clock.advance(Duration::from_secs(60));
    let values = [
        Value::Boolean(true),
        Value::Integer(i64::MIN),
        Value::Float(0.1 + 0.2),
        Value::Decimal("12.50".parse().unwrap()),
        Value::Text("a\"b".into()),
        Value::Guid(uuid::Uuid::from_u128(7)),
        Value::time(1_577_836_800_250),
        Value::Span(-1),
    ];
    let by = CorrelationFilter {
        properties: values.into_iter().map(|value| (format!("{value:?}"), value)).collect(),
        ..CorrelationFilter::default()
    };
    let exact = Rule {
        name: "exact".into(),
        filter: filter::Filter::Correlation(by),
        ..Rule::match_all()
    };
    topic.add_rule("loud", exact).unwrap();
    let rules = topic.rules("loud").unwrap();
    let [default, exact] = &rules[..] else {
        panic!("{rules:?}")
    };
    assert!(exact.created_at.unwrap() >= default.created_at.unwrap() + Duration::from_secs(60));
    clock.advance(Duration::from_secs(60));
    let changed = QueueConfig {
        lock_duration: Duration::from_secs(7),
        duplicate_detection: Some(Duration::from_secs(600)),
        ..QueueConfig::new("plain")
    };
    namespace.update_queue(&changed).unwrap();

    let namespace = again(&scratch, &clock, namespace).await;
    let names: Vec<_> = namespace
        .queues()
        .iter()
        .map(|(_, config)| config.name.clone())
        .collect();
    assert_eq!(names, ["again", "forwards", "nowhere", "plain", "sessions"]);
    let counts = |path: &str| namespace.resolve(path).unwrap().managed().counts().active;
    assert_eq!(counts("again"), 1);
    assert_eq!(namespace.queues()[3].1.lock_duration, Duration::from_secs(7));
    assert_eq!(
        namespace.topics()[0].rules("loud").unwrap(),
        rules,
        "also as old as they were"
    );
    assert!(namespace.resolve("topic/Subscriptions/all").is_err());
}

#[tokio::test]
async fn what_was_created_under_higher_limits_is_there_again() {
    let (scratch, clock) = (Scratch::new("limits"), Clock::start());
    let namespace = scratch.open(&clock);
    create_all(&namespace);
    let before = state(&namespace);
    namespace.journal().close().await;
    drop(namespace);
    let namespace = scratch.open_with(NamespaceConfig::with_largest_message(Some(1024)), &clock);
    assert_eq!(state(&namespace), before);
    assert!(
        namespace.update_queue(&namespace.queues()[2].1).is_err(),
        "but can't be asked for again"
    );
}

#[tokio::test]
async fn a_duplicate_is_one_after_a_restart_too_and_numbers_go_on() {
    let (scratch, clock) = (Scratch::new("duplicates"), Clock::start());
    let namespace = scratch.open(&clock);
    create_all(&namespace);
    let send = |namespace: &Namespace, id: &str| {
        let queue = Arc::clone(namespace.resolve("plain").unwrap().managed());
        queue.send(vec![Sample::body(id).id(id).message()]).unwrap()[0]
    };
    assert_eq!([send(&namespace, "1"), send(&namespace, "2")], [1, 2]);
    let namespace = again(&scratch, &clock, namespace).await;
    assert_eq!([send(&namespace, "2"), send(&namespace, "3")], [3, 4]);
    let queue = Arc::clone(namespace.resolve("plain").unwrap().managed());
    assert_eq!(queue.counts().active, 3);
}

#[tokio::test]
async fn a_log_written_anew_says_the_same_in_less() {
    let (scratch, clock) = (Scratch::new("anew"), Clock::start());
    let namespace = scratch.open(&clock);
    create_all(&namespace);
    let queue = Arc::clone(namespace.resolve("plain").unwrap().managed());
    for _ in 0..90 {
        queue.send(vec![Sample::body(vec![7; 200_000]).message()]).unwrap();
        let received = queue.try_receive(1, ReceiveMode::PeekLock);
        queue.settle(received[0].token, &Settlement::Complete).unwrap();
        namespace.written().await.unwrap();
    }
    assert!(scratch.log_size() < 16 * 1024 * 1024);
    queue.send(vec![Sample::body("last").message()]).unwrap();
    let namespace = again(&scratch, &clock, namespace).await;
    let queue = namespace.resolve("plain").unwrap();
    assert_eq!(queue.managed().peek(0, 10, None).len(), 1);
    assert_eq!(
        queue.managed().send(vec![Sample::body("next").message()]).unwrap(),
        [92]
    );
}
