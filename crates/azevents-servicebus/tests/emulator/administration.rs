//! Queues, topics, subscriptions and rules: made, changed, listed, counted, deleted.

use std::sync::Arc;
use std::time::Duration;

use azevents_emulator::{Emulator, Tls};
use azevents_servicebus::administration::{
    EntityStatus, QueueProperties, ServiceBusAdministrationClient, SubscriptionProperties, TopicProperties,
};
use azevents_servicebus::rule::DEFAULT_RULE;
use azevents_servicebus::{
    ConnectionString, CorrelationFilter, ErrorKind, Proxy, Rule, RuleFilter, SenderOptions, ServiceBusClient,
    Settlement, transfer_dead_letter_queue,
};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::security::{ShortLived, with_signature};
use crate::support::{client, emulator, id, message, options, soon};

fn text(emulator: &Emulator) -> &str {
    &emulator.ready().administration.connection_string
}

fn administration(emulator: &Emulator) -> ServiceBusAdministrationClient {
    ServiceBusAdministrationClient::from_connection_string_with(text(emulator), options()).unwrap()
}

#[tokio::test]
async fn a_queue_is_made_changed_and_deleted_with_its_settings() {
    let emulator = emulator().await;
    let admin = administration(&emulator);
    let mut queue = QueueProperties::new("deep/inside")
        .with_lock_duration(Duration::from_secs(30))
        .with_sessions()
        .with_duplicate_detection(Duration::from_secs(120))
        .with_time_to_live(Duration::from_secs(3600))
        .with_dead_lettering_on_expiration()
        .with_max_delivery_count(3);
    assert!(!soon(admin.queue_exists("deep/inside")).await.unwrap());
    assert_eq!(soon(admin.create_queue(&queue)).await.unwrap(), queue);
    assert_eq!(soon(admin.get_queue("deep/inside")).await.unwrap(), queue);

    queue.max_delivery_count = 5;
    queue.default_message_time_to_live = None;
    assert_eq!(soon(admin.update_queue(&queue)).await.unwrap(), queue);
    assert_eq!(soon(admin.get_queue("deep/inside")).await.unwrap(), queue);
    assert!(soon(admin.queue_exists("deep/inside")).await.unwrap());

    soon(admin.delete_queue("deep/inside")).await.unwrap();
    assert!(!soon(admin.queue_exists("deep/inside")).await.unwrap());
}

/// Makes a queue, a topic, a subscription and rules of fresh names, uses them, and takes them away again;
/// on a real namespace too.
pub(crate) async fn what_is_made_is_used_and_taken_away(
    admin: &ServiceBusAdministrationClient,
    client: &ServiceBusClient,
) {
    let fresh = |name: &str| format!("azevents-{name}-{}", uuid::Uuid::new_v4().simple());
    let (name, topic) = (fresh("queue"), fresh("topic"));
    let mut queue = QueueProperties::new(&name)
        .with_lock_duration(Duration::from_secs(30))
        .with_time_to_live(Duration::from_secs(3600))
        .with_dead_lettering_on_expiration()
        .with_max_delivery_count(3);
    let created = soon(admin.create_queue(&queue)).await.unwrap();
    // What the service chooses itself is not compared.
    queue.max_message_size_in_kilobytes = created.max_message_size_in_kilobytes;
    assert_eq!(created, queue);
    queue.max_delivery_count = 5;
    assert_eq!(soon(admin.update_queue(&queue)).await.unwrap(), queue);
    assert_eq!(soon(admin.get_queue(&name)).await.unwrap(), queue);
    let twice = soon(admin.create_queue(&queue)).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists, "{twice}");

    soon(admin.create_topic(&TopicProperties::new(&topic))).await.unwrap();
    let subscription = SubscriptionProperties::new(&topic, "large").with_forward_to(&name);
    let by = CorrelationFilter::default()
        .with_subject("<a> & 'b'")
        .with_property("n", 3);
    let rule = Rule::new("mine", RuleFilter::Correlation(by));
    let made = soon(admin.create_subscription_with_rule(&subscription, &rule))
        .await
        .unwrap();
    assert_eq!(made.forward_to.as_deref(), Some(name.as_str()));
    let sql = Rule::new("sql", RuleFilter::Sql("total > 5 AND note <> '<%'".into())).with_action("SET big = TRUE");
    soon(admin.create_rule(&topic, "large", &sql)).await.unwrap();
    let rules: Vec<Rule> = soon(admin.list_rules(&topic, "large").try_collect()).await.unwrap();
    assert_eq!(rules.len(), 2);
    assert!(rules.contains(&rule) && rules.contains(&sql), "{rules:?}");
    soon(admin.delete_rule(&topic, "large", "sql")).await.unwrap();

    // A transaction of the queue that reaches the topic; its subscription hands on to the queue.
    let (sender, receiver) = (client.create_sender(&name), client.create_receiver(&name));
    soon(sender.send(&message("first"))).await.unwrap();
    let first = soon(receiver.receive()).await.unwrap();
    let onward = client.create_sender_with(&topic, &SenderOptions::default().with_via(&name));
    let transaction = soon(client.begin_transaction()).await.unwrap();
    let next = message("next").with_subject("<a> & 'b'").with_property("n", 3);
    soon(transaction.send(&onward, &next)).await.unwrap();
    soon(transaction.settle(&receiver, &first, &Settlement::Complete))
        .await
        .unwrap();
    soon(transaction.commit()).await.unwrap();
    let next = soon(receiver.receive()).await.unwrap();
    assert_eq!(id(&next), "next");
    soon(receiver.complete(&next)).await.unwrap();

    let queues: Vec<_> = soon(admin.list_queues_runtime_properties().try_collect())
        .await
        .unwrap();
    assert!(queues.iter().any(|queue| queue.name == name));
    soon(admin.delete_topic(&topic)).await.unwrap();
    soon(admin.delete_queue(&name)).await.unwrap();
    assert!(!soon(admin.queue_exists(&name)).await.unwrap());
    assert!(!soon(admin.topic_exists(&topic)).await.unwrap());
}

#[tokio::test]
async fn one_scenario_serves_the_emulator_and_a_real_namespace() {
    let emulator = emulator().await;
    Box::pin(what_is_made_is_used_and_taken_away(
        &administration(&emulator),
        &client(&emulator),
    ))
    .await;
}

#[tokio::test]
async fn refusals_name_the_entity_and_the_remedy() {
    let emulator = emulator().await;
    let admin = administration(&emulator);
    let says = |error: azevents_servicebus::Error, kind, words: &[&str]| {
        let line = error.to_string();
        assert_eq!(error.kind(), kind, "{line}");
        for word in words {
            assert!(line.contains(word), "{line}");
        }
        assert_eq!(line.lines().count(), 1);
    };
    let twice = soon(admin.create_queue(&QueueProperties::new("q"))).await.unwrap_err();
    says(twice, ErrorKind::AlreadyExists, &["create queue q", "another name"]);
    let gone = soon(admin.get_queue("gone")).await.unwrap_err();
    says(gone, ErrorKind::EntityNotFound, &["get queue gone", "correct its name"]);
    let topic = soon(admin.get_queue("t")).await.unwrap_err();
    says(topic, ErrorKind::EntityNotFound, &["get queue t", "TopicDescription"]);
    for error in [
        soon(admin.update_queue(&QueueProperties::new("gone")))
            .await
            .unwrap_err(),
        soon(admin.delete_queue("gone")).await.unwrap_err(),
        soon(admin.get_subscription("t", "gone")).await.unwrap_err(),
        soon(admin.create_subscription(&SubscriptionProperties::new("gone", "s")))
            .await
            .unwrap_err(),
    ] {
        says(error, ErrorKind::EntityNotFound, &["gone", "correct its name"]);
    }
    let mut sessions = soon(admin.get_queue("q")).await.unwrap();
    sessions.requires_session = true;
    let fixed = soon(admin.update_queue(&sessions)).await.unwrap_err();
    says(fixed, ErrorKind::InvalidArgument, &["update queue q"]);
    for name in ["", "a//b", "../t"] {
        let error = soon(admin.get_queue(name)).await.unwrap_err();
        says(error, ErrorKind::InvalidArgument, &["is not the name of an entity"]);
    }
}

#[tokio::test]
async fn what_was_made_is_used_and_counted() {
    let emulator = emulator().await;
    let (admin, client) = (administration(&emulator), client(&emulator));
    soon(admin.create_queue(&QueueProperties::new("new"))).await.unwrap();
    let (sender, receiver) = (client.create_sender("new"), client.create_receiver("new"));
    for n in 0..5 {
        soon(sender.send(&message(n))).await.unwrap();
    }
    let first = soon(receiver.receive()).await.unwrap();
    soon(receiver.dead_letter(&first, "Bad", "very")).await.unwrap();
    let found = soon(admin.get_queue_runtime_properties("new")).await.unwrap();
    let counts = found.counts;
    assert_eq!((counts.active, counts.dead_letter, counts.total), (4, 1, 5));
    assert!(found.created_at.is_some());

    soon(client.create_sender("t").send(&message(1).with_session_id("s")))
        .await
        .unwrap();
    let topic = soon(admin.get_topic_runtime_properties("t")).await.unwrap();
    assert_eq!(topic.subscription_count, 2);
    let all = admin.list_subscriptions_runtime_properties("t");
    let all: Vec<_> = soon(all.try_collect()).await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|s| (s.topic.as_str(), s.name.as_str(), s.counts.active))
        .collect();
    assert_eq!(all, [("t", "a", 1), ("t", "s", 1)]);
    let namespace = soon(admin.get_namespace_properties()).await.unwrap();
    assert_eq!(namespace.messaging_sku, "Standard");
}

#[tokio::test]
async fn messages_are_passed_on_and_those_that_cannot_be_are_dead_letters_of_the_transfer() {
    let emulator = emulator().await;
    let (admin, client) = (administration(&emulator), client(&emulator));
    soon(admin.create_queue(&QueueProperties::new("sink"))).await.unwrap();
    let mut source = QueueProperties::new("source").with_forward_to("sink");
    source.forward_dead_lettered_messages_to = Some("q".to_owned());
    assert_eq!(soon(admin.create_queue(&source)).await.unwrap(), source);
    let billing = SubscriptionProperties::new("t", "billing").with_forward_to("source");
    assert_eq!(soon(admin.create_subscription(&billing)).await.unwrap(), billing);
    soon(client.create_sender("t").send(&message("through").with_session_id("s")))
        .await
        .unwrap();
    let passed = soon(client.create_receiver("sink").receive()).await.unwrap();
    assert_eq!(id(&passed), "through");

    soon(admin.delete_queue("sink")).await.unwrap();
    soon(client.create_sender("source").send(&message("stuck")))
        .await
        .unwrap();
    let stuck = client.create_receiver(&transfer_dead_letter_queue("source"));
    let letter = soon(stuck.receive()).await.unwrap();
    assert_eq!(id(&letter), "stuck");
    assert!(letter.dead_letter_reason().is_some(), "{letter:?}");
    let counts = soon(admin.get_queue_runtime_properties("source")).await.unwrap().counts;
    assert_eq!((counts.transfer_dead_letter, counts.active), (1, 0));
    soon(stuck.complete(&letter)).await.unwrap();
    let counts = soon(admin.get_queue_runtime_properties("source")).await.unwrap().counts;
    assert_eq!(counts.transfer_dead_letter, 0);

    // What is not forwarded any more can be received.
    source.forward_to = None;
    assert_eq!(soon(admin.update_queue(&source)).await.unwrap(), source);
    soon(client.create_sender("source").send(&message("stays")))
        .await
        .unwrap();
    assert_eq!(
        id(&soon(client.create_receiver("source").receive()).await.unwrap()),
        "stays"
    );
}

#[tokio::test]
async fn an_entity_that_is_switched_off_says_so_until_it_is_switched_on() {
    let emulator = emulator().await;
    let (admin, client) = (administration(&emulator), client(&emulator));
    let (sender, receiver) = (client.create_sender("q"), client.create_receiver("q"));
    let mut queue = soon(admin.get_queue("q")).await.unwrap();
    for (status, may_send, may_receive) in [
        (EntityStatus::SendDisabled, false, true),
        (EntityStatus::ReceiveDisabled, true, false),
        (EntityStatus::Disabled, false, false),
        (EntityStatus::Active, true, true),
    ] {
        queue.status = status;
        assert_eq!(soon(admin.update_queue(&queue)).await.unwrap(), queue);
        let may = |result: Result<(), azevents_servicebus::Error>| match result {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::EntityDisabled, "{error}");
                assert!(error.to_string().contains("enable the entity"), "{error}");
                false
            }
        };
        let sent = may(soon(sender.send(&message(1))).await);
        let received = may(soon(receiver.receive_batch(1, Duration::from_millis(200)))
            .await
            .map(drop));
        assert_eq!((sent, received), (may_send, may_receive), "{:?}", queue.status);
    }
}

#[tokio::test]
async fn topics_and_subscriptions_are_made_changed_listed_and_deleted() {
    let emulator = emulator().await;
    let admin = administration(&emulator);
    let mut topic = TopicProperties::new("orders").with_duplicate_detection(Duration::from_secs(60));
    topic.support_ordering = true;
    soon(admin.create_topic(&topic)).await.unwrap();
    topic.default_message_time_to_live = Some(Duration::from_secs(2 * 86_400));
    assert_eq!(soon(admin.update_topic(&topic)).await.unwrap(), topic);
    let topics: Vec<_> = soon(admin.list_topics().try_collect()).await.unwrap();
    assert!(topics.contains(&topic) && topics.iter().any(|topic| topic.name == "t"));

    let mut billing = SubscriptionProperties::new("orders", "billing")
        .with_lock_duration(Duration::from_secs(10))
        .with_max_delivery_count(7)
        .with_sessions();
    billing.dead_lettering_on_filter_evaluation_exceptions = false;
    assert_eq!(soon(admin.create_subscription(&billing)).await.unwrap(), billing);
    billing.max_delivery_count = 8;
    assert_eq!(soon(admin.update_subscription(&billing)).await.unwrap(), billing);
    assert_eq!(
        soon(admin.get_subscription("orders", "billing")).await.unwrap(),
        billing
    );
    assert_eq!(billing.status, EntityStatus::Active);
    let all: Vec<_> = soon(admin.list_subscriptions("orders").try_collect()).await.unwrap();
    assert_eq!(all, [billing]);
    soon(admin.delete_subscription("orders", "billing")).await.unwrap();
    assert!(!soon(admin.subscription_exists("orders", "billing")).await.unwrap());
    soon(admin.delete_topic("orders")).await.unwrap();
    assert!(!soon(admin.topic_exists("orders")).await.unwrap());
}

#[tokio::test]
async fn rules_say_what_a_subscription_takes() {
    let emulator = emulator().await;
    let (admin, client) = (administration(&emulator), client(&emulator));
    let large = Rule::new("large", RuleFilter::Sql("total > 1000 AND note LIKE '<%'".into()))
        .with_action("SET priority = 'high'");
    let subscription = SubscriptionProperties::new("t", "large");
    soon(admin.create_subscription_with_rule(&subscription, &large))
        .await
        .unwrap();
    assert_eq!(soon(admin.get_rule("t", "large", "large")).await.unwrap(), large);
    assert!(!soon(admin.rule_exists("t", "large", DEFAULT_RULE)).await.unwrap());
    // The rule manager, over AMQP, has the same.
    let over_amqp = soon(client.create_rule_manager("t", "large").list()).await.unwrap();
    assert_eq!(over_amqp, [large]);

    let by = CorrelationFilter::default()
        .with_subject("a & b")
        .with_property("tier", "gold")
        .with_property("n", 3);
    let mine = Rule::new("mine", RuleFilter::Correlation(by));
    assert_eq!(soon(admin.create_rule("t", "large", &mine)).await.unwrap(), mine);
    let nothing = Rule::new("mine", RuleFilter::False);
    assert_eq!(soon(admin.update_rule("t", "large", &nothing)).await.unwrap(), nothing);
    let all: Vec<Rule> = soon(admin.list_rules("t", "large").try_collect()).await.unwrap();
    assert_eq!(
        all.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(),
        ["large", "mine"]
    );

    let wrong = Rule::new("wrong", RuleFilter::Sql("total >".into()));
    let error = soon(admin.create_rule("t", "large", &wrong)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(
        error
            .to_string()
            .starts_with("create rule t/subscriptions/large/rules/wrong: "),
        "{error}"
    );
    soon(admin.delete_rule("t", "large", "mine")).await.unwrap();
    let error = soon(admin.get_rule("t", "large", "mine")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EntityNotFound, "{error}");
}

#[tokio::test]
async fn lists_go_over_as_many_pages_as_there_are() {
    let emulator = emulator().await;
    let admin = administration(&emulator);
    let names: Vec<String> = (0..205).map(|n| format!("many-{n:03}")).collect();
    for name in &names {
        soon(admin.create_queue(&QueueProperties::new(name))).await.unwrap();
    }
    let listed: Vec<_> = soon(admin.list_queues().try_collect()).await.unwrap();
    let listed = listed
        .iter()
        .map(|queue| &queue.name)
        .filter(|name| name.starts_with("many-"));
    assert!(listed.eq(&names));
    let counted: Vec<_> = soon(admin.list_queues_runtime_properties().try_collect())
        .await
        .unwrap();
    assert!(counted.len() >= 205 && counted.iter().all(|queue| queue.counts.total == 0));
    // Nobody lists what is not there.
    let rules: Result<Vec<_>, _> = soon(admin.list_rules("gone", "s").try_collect()).await;
    assert_eq!(rules.unwrap_err().kind(), ErrorKind::EntityNotFound);
}

#[tokio::test]
async fn a_token_credential_and_a_signature_are_taken_and_a_wrong_key_refused_without_showing_it() {
    let emulator = emulator().await;
    let credential = Arc::new(ShortLived::new(Duration::from_secs(3600)));
    let admin = ServiceBusAdministrationClient::for_emulator(text(&emulator), credential, options()).unwrap();
    soon(admin.get_queue("q")).await.unwrap();
    let signed = with_signature(text(&emulator));
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&signed, options()).unwrap();
    soon(admin.get_queue("q")).await.unwrap();

    let with_key = |key: &str| {
        let parts = text(&emulator)
            .split(';')
            .map(|part| match part.strip_prefix("SharedAccessKey=") {
                Some(_) => format!("SharedAccessKey={key}"),
                None => part.to_owned(),
            });
        let text = parts.collect::<Vec<_>>().join(";");
        ServiceBusAdministrationClient::from_connection_string_with(&text, options()).unwrap()
    };
    let admin = with_key("d3Jvbmc=");
    let error = soon(admin.get_queue("q")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("Manage"), "{error}");
    assert!(!format!("{error} {error:?} {admin:?}").contains("d3Jvbmc="));
}

#[tokio::test]
async fn https_is_spoken_where_no_emulator_is_meant() {
    let tls = Tls::generate(&[]).unwrap();
    let emulator = Emulator::builder().tls(tls).start().await.unwrap();
    let port = ConnectionString::parse(text(&emulator)).unwrap().port();
    let key: Vec<_> = text(&emulator)
        .split(';')
        .filter(|part| part.starts_with("SharedAccessKey"))
        .collect();
    let text = format!("Endpoint=sb://shop.servicebus.windows.net/;{}", key.join(";"));
    let way = options()
        .with_proxy(Proxy::Direct)
        .with_custom_endpoint(format!("localhost:{port}"));
    let untrusted = way
        .clone()
        .with_retry(options().retry.with_policy(azevents_core::RetryPolicy::none()));
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&text, untrusted).unwrap();
    assert_eq!(
        soon(admin.get_queue("q")).await.unwrap_err().kind(),
        ErrorKind::Connection
    );
    let trusted = way.with_trusted_ca(&emulator.ready().tls.as_ref().unwrap().ca_pem);
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&text, trusted).unwrap();
    soon(admin.create_queue(&QueueProperties::new("q"))).await.unwrap();
    assert!(soon(admin.queue_exists("q")).await.unwrap());
}

#[tokio::test]
async fn a_port_that_does_not_speak_http_is_told_apart_from_one_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut chunk = [0; 1024];
        assert!(near.read(&mut chunk).await.unwrap() > 0);
        near.write_all(b"AMQP\0\x01\0\0").await.unwrap();
    });
    let text =
        format!("Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true");
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&text, options()).unwrap();
    let error = soon(admin.get_queue("q")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("port of its own"), "{error}");
}

#[tokio::test]
async fn a_call_survives_connections_that_end_before_or_within_the_answer() {
    let emulator = emulator().await;
    let target = ConnectionString::parse(text(&emulator)).unwrap().port();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The n-th connection is closed after so many bytes of answers: at once, within the headers, within
    // the body, after one whole answer.
    let gateway = tokio::spawn(async move {
        for after in [0, 20, 700, 100_000, 100_000] {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let (mut left, mut chunk) = (after, vec![0; 64 * 1024]);
            while left > 0 {
                let read = near.read(&mut chunk).await.unwrap();
                if read == 0 {
                    break;
                }
                far.write_all(&chunk[..read]).await.unwrap();
                let read = far.read(&mut chunk).await.unwrap().min(left);
                near.write_all(&chunk[..read]).await.unwrap();
                left = if after == 100_000 { 0 } else { left - read };
            }
        }
    });
    let text = text(&emulator).replace(&format!(":{target}"), &format!(":{port}"));
    let admin = ServiceBusAdministrationClient::from_connection_string_with(&text, options()).unwrap();
    assert_eq!(soon(admin.get_queue("q")).await.unwrap().name, "q");
    // The connection was closed behind the answer: the next call opens another, without a retry.
    assert_eq!(soon(admin.get_queue("dedupe")).await.unwrap().name, "dedupe");
    soon(gateway).await.unwrap();
}
