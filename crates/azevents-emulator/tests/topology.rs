//! Microsoft's `Config.json` files are read as they are, and what is wrong in one is said with its
//! place and a remedy.

use std::time::Duration;

use azevents_emulator::{
    AuthorizationRule, Emulator, EmulatorBuilder, EntityStatus, Filter, Queue, TimeToLive, Topology,
};

const SERVICE_BUS: &str = r#"{
  "UserConfig": {
    "Namespaces": [
      {
        "Name": "sbemulatorns",
        "Queues": [
          {
            "Name": "queue.1",
            "Properties": {
              "DeadLetteringOnMessageExpiration": true,
              "DefaultMessageTimeToLive": "PT1H",
              "DuplicateDetectionHistoryTimeWindow": "PT20S",
              "ForwardDeadLetteredMessagesTo": "plain",
              "ForwardTo": "",
              "LockDuration": "PT30S",
              "MaxDeliveryCount": 3,
              "RequiresDuplicateDetection": true,
              "RequiresSession": true
            }
          },
          { "Name": "plain" }
        ],
        "Topics": [
          {
            "Name": "topic.1",
            "Properties": { "RequiresDuplicateDetection": false },
            "Subscriptions": [
              { "Name": "all" },
              {
                "Name": "some",
                "Properties": { "LockDuration": "PT1M", "RequiresSession": true },
                "Rules": [
                  {
                    "Name": "by-subject",
                    "Properties": {
                      "FilterType": "Correlation",
                      "CorrelationFilter": { "Label": "placed", "Properties": { "tier": "gold" } }
                    }
                  }
                ]
              }
            ]
          }
        ]
      }
    ],
    "Logging": { "Type": "File" }
  }
}"#;

const EVENT_HUBS: &str = r#"{
  "UserConfig": {
    "NamespaceConfig": [
      {
        "Type": "EventHub",
        "Name": "emulatorNs1",
        "Entities": [
          { "Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [ { "Name": "cg1" } ] },
          { "Name": "eh2", "PartitionCount": 8, "ConsumerGroups": [ { "Name": "$Default" } ] }
        ]
      }
    ],
    "LoggingConfig": { "Type": "File" }
  }
}"#;

#[test]
fn the_service_bus_emulators_file_is_read() {
    let topology = Topology::from_json("Config.json", SERVICE_BUS).unwrap();
    let [queue, plain] = &topology.queues[..] else {
        panic!("{topology:?}")
    };
    assert_eq!(queue.name, "queue.1");
    assert_eq!(queue.lock_duration, Duration::from_secs(30));
    assert_eq!(queue.max_delivery_count, 3);
    assert_eq!(queue.duplicate_detection, Some(Duration::from_secs(20)));
    assert_eq!(queue.default_time_to_live, Some(Duration::from_secs(3600)));
    assert!(queue.requires_session && queue.dead_letter_on_expiration);
    assert_eq!(queue.forward_to, None, "empty text is nothing");
    assert_eq!(queue.forward_dead_letters_to.as_deref(), Some("plain"));
    assert_eq!(plain.lock_duration, Duration::from_secs(60));
    assert_eq!(plain.max_delivery_count, 10);
    assert_eq!(plain.duplicate_detection, None);

    let [topic] = &topology.topics[..] else {
        panic!("{topology:?}")
    };
    let [all, some] = &topic.subscriptions[..] else {
        panic!("{topic:?}")
    };
    assert!(all.rules.is_empty());
    assert!(some.requires_session);
    let Filter::Correlation(filter) = &some.rules[0].filter else {
        panic!("{some:?}")
    };
    assert_eq!(filter.subject.as_deref(), Some("placed"));
    assert_eq!(filter.properties["tier"], "gold".into());
}

#[test]
fn the_event_hubs_emulators_file_is_read_with_partition_counts_as_text_or_number() {
    let topology = Topology::from_json("Config.json", EVENT_HUBS).unwrap();
    let [first, second] = &topology.event_hubs[..] else {
        panic!("{topology:?}")
    };
    assert_eq!((first.partition_count, second.partition_count), (2, 8));
    assert_eq!(first.consumer_groups, ["cg1"]);
    assert!(second.consumer_groups.is_empty(), "$Default is always there");
}

#[tokio::test]
async fn a_limit_larger_than_the_emulators_is_refused_with_the_way_to_raise_that() {
    let queue = azevents_emulator::Queue::new("large").with_max_message_size(1 << 20);
    let error = Emulator::builder()
        .queue(queue.clone())
        .start()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`large`") && error.contains("--max-message-size 1048576"),
        "{error}"
    );
    let emulator = Emulator::builder()
        .queue(queue)
        .max_message_size(1 << 20)
        .start()
        .await
        .unwrap();
    emulator.shutdown().await;
}

/// The error for a file in which `from` was replaced by `to`, and the line that was changed.
fn error(file: &str, from: &str, to: &str) -> (usize, String) {
    let (before, _) = file.split_once(from).expect("the file has it");
    let changed = file.replacen(from, to, 1);
    let error = Topology::from_json("Config.json", &changed).unwrap_err();
    (before.lines().count(), error.to_string())
}

#[tokio::test]
async fn keys_and_partitions_that_the_service_would_not_have_are_refused() {
    let refused = async |builder: EmulatorBuilder| builder.start().await.unwrap_err().to_string();
    let nothing = Queue::new("q").with_authorization_rule(AuthorizationRule::new("idle", "key"));
    let error = refused(Emulator::builder().queue(nothing)).await;
    assert!(error.contains("`q`") && error.contains("one of the rights"), "{error}");
    let premium = Emulator::builder().max_message_size(1 << 20);
    let error = refused(premium.queue(Queue::new("q").with_partitions())).await;
    assert!(error.contains("Premium tier"), "{error}");
    let owner = AuthorizationRule::new("owner", "key").with_manage();
    let good = Queue::new("q").with_partitions().with_authorization_rule(owner);
    let emulator = Emulator::builder().queue(good).start().await.expect("it starts");
    emulator.shutdown().await;
}

#[test]
fn an_error_names_file_line_and_what_to_write_instead() {
    let cases = [
        (r#""LockDuration": "PT30S""#, r#""LockDuration": "30""#, "PT30S"),
        (r#""MaxDeliveryCount": 3"#, r#""MaxDeliveryCount": 0"#, "at least 1"),
        (r#""ForwardTo": """#, r#""ForwardTo": 7"#, "a string"),
        (r#""RequiresSession": true"#, r#""RequiresSession": "yes""#, "boolean"),
        (r#""LockDuration": "PT30S""#, r#""LockTime": "PT30S""#, "LockTime"),
        (r#""FilterType": "Correlation""#, r#""FilterType": "Regex""#, "`Regex`"),
        (
            r#""FilterType": "Correlation""#,
            r#""FilterType": "Sql", "SqlFilter": {"SqlExpression": "total >"}"#,
            "the end",
        ),
    ];
    for (from, to, says) in cases {
        let (line, error) = error(SERVICE_BUS, from, to);
        assert!(error.starts_with(&format!("Config.json:{line}:")), "{to}: {error}");
        assert!(error.contains(says), "{to}: {error}");
    }
    let (line, error) = error(EVENT_HUBS, r#""PartitionCount": "2""#, r#""PartitionCount": "two""#);
    assert!(error.starts_with(&format!("Config.json:{line}:")), "{error}");
    assert!(error.contains("whole number"), "{error}");
}

#[test]
fn names_that_clash_or_cannot_be_addressed_are_refused() {
    let cases = [
        (r#""Name": "plain""#, r#""Name": "QUEUE.1""#, "`QUEUE.1` is there twice"),
        (r#""Name": "plain""#, r#""Name": "topic.1""#, "`topic.1` is there twice"),
        (r#""Name": "plain""#, r#""Name": "pl ain""#, "`pl ain`"),
        (r#""Name": "plain""#, r#""Name": """#, "1 to 260 characters"),
        (
            r#""Name": "some""#,
            r#""Name": "all""#,
            "subscription of topic `topic.1` `all`",
        ),
        (
            r#""Name": "some""#,
            r#""Name": "a-subscription-whose-name-has-more-than-fifty-characters""#,
            "1 to 50 characters",
        ),
    ];
    for (from, to, says) in cases {
        let (_, error) = error(SERVICE_BUS, from, to);
        assert!(
            error.starts_with("Config.json: ") && error.contains(says),
            "{to}: {error}"
        );
    }
    let (_, error) = error(EVENT_HUBS, r#""PartitionCount": 8"#, r#""PartitionCount": 0"#);
    assert!(error.contains("`eh2` has 0 partitions"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Topology::from_file("no/such/Config.json").unwrap_err().to_string();
    assert!(error.starts_with("no/such/Config.json: cannot be read"), "{error}");
}

const ALL_SERVICES: &str = r#"
[[queue]]
name = "invoices"
sessions = true
lock_duration = "30s"
max_delivery_count = 3
time_to_live = "PT1H"
status = "SendDisabled"
auto_delete_on_idle = "1h"
max_message_size = 65536

[[topic]]
name = "orders"
status = "Disabled"
auto_delete_on_idle = "PT5M"
max_message_size = 2048
partitioned = true
authorization_rules = [{ name = "reader", key = "secret", rights = ["Listen"] }]

[[topic.subscriptions]]
name = "billing"
status = "ReceiveDisabled"
auto_delete_on_idle = "2h"
dead_letter_on_filter_error = true
rules = [{ name = "new", subject = "placed", properties = { tier = "gold", n = 3, eu = true } }]

[[event_hub]]
name = "order-events"
partitions = 8
consumer_groups = ["analytics", "$Default"]
retention = "1h"
max_partition_bytes = 65536
opaque_offsets = true

[[database]]
name = "shop"

[[database.containers]]
name = "events"
partition_key = ["/tenant", "/stream"]
time_to_live = "per item"

[[blob_container]]
name = "checkpoints"
"#;

#[test]
fn a_toml_file_has_all_services_in_it() {
    let topology = Topology::from_toml("all.toml", ALL_SERVICES).unwrap();
    let queue = &topology.queues[0];
    assert_eq!(
        (queue.name.as_str(), queue.requires_session, queue.max_delivery_count),
        ("invoices", true, 3)
    );
    assert_eq!(queue.lock_duration, Duration::from_secs(30));
    assert_eq!(queue.default_time_to_live, Some(Duration::from_secs(3600)));
    let hour = Duration::from_secs(3600);
    assert_eq!(
        (queue.status, queue.auto_delete_on_idle, queue.max_message_size),
        (EntityStatus::SendDisabled, Some(hour), Some(65_536))
    );
    let topic = &topology.topics[0];
    assert_eq!(
        (topic.status, topic.auto_delete_on_idle, topic.max_message_size),
        (EntityStatus::Disabled, Some(hour / 12), Some(2048))
    );
    let reader = AuthorizationRule::new("reader", "secret").with_listen();
    assert!(topic.partitioned && topic.authorization_rules == [reader]);
    assert!(!queue.partitioned && queue.authorization_rules.is_empty());
    let billing = &topic.subscriptions[0];
    assert_eq!(
        (
            billing.status,
            billing.auto_delete_on_idle,
            billing.dead_letter_on_filter_error
        ),
        (EntityStatus::ReceiveDisabled, Some(2 * hour), true)
    );
    let Filter::Correlation(filter) = &billing.rules[0].filter else {
        panic!("a correlation filter");
    };
    assert_eq!(
        (filter.subject.as_deref(), filter.properties.len()),
        (Some("placed"), 3)
    );
    let hub = &topology.event_hubs[0];
    assert_eq!(
        (hub.partition_count, &hub.consumer_groups[..]),
        (8, &["analytics".to_owned()][..])
    );
    assert_eq!((hub.retention.as_secs(), hub.max_partition_bytes), (3600, 65536));
    assert!(hub.opaque_offsets);
    let events = &topology.databases[0].containers[0];
    assert_eq!(events.partition_key, ["/tenant", "/stream"]);
    assert_eq!(events.time_to_live, TimeToLive::PerItem);
    assert_eq!(topology.blob_containers, ["checkpoints"]);
}

#[test]
fn what_is_wrong_in_a_toml_file_is_said_with_its_place_and_a_remedy() {
    let cases = [
        (
            "[[queue]]\nname = \"q\"\nlock_duration = \"soon\"\n",
            "f.toml:3:17: `soon` is not a duration; write",
        ),
        (
            "[[queue]]\nname = \"q\"\nmax_delivery_count = 0\n",
            "f.toml:3:22: max_delivery_count must be at least 1",
        ),
        (
            "\n[[queues]]\nname = \"q\"\n",
            "f.toml:2:3: unknown field `queues`, expected one of `queue`",
        ),
        ("[[queue]]\nlock_duration = \"5s\"\n", "missing field `name`"),
        (
            "[[database]]\nname = \"d\"\ncontainers = [{ name = \"c\", partition_key = \"stream\" }]\n",
            "f.toml: container of database `d` `c`: the partition key `stream` is not a path; write",
        ),
        (
            "[[database]]\nname = \"d\"\n[[database]]\nname = \"d\"\n",
            "is there twice; remove or rename",
        ),
        (
            "[[queue]]\nname = \"q\"\nstatus = \"off\"\n",
            "f.toml:3:10: `off` is no status; write one of \"Active\", \"Disabled\"",
        ),
        (
            "[[queue]]\nname = \"q\"\nauto_delete_on_idle = \"4m\"\n",
            "f.toml:3:23: auto_delete_on_idle must be at least \"5m\"",
        ),
        (
            "[[topic]]\nname = \"t\"\nmax_message_size = 5\n",
            "f.toml:3:20: max_message_size is a number of bytes, from 1024",
        ),
        ("[[queue]\n", "f.toml:1:"),
    ];
    for (text, expected) in cases {
        let error = Topology::from_toml("f.toml", text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  does not have\n{expected}");
    }
}
