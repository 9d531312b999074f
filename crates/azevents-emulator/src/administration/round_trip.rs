//! What a client is given back it may give again: descriptions lose nothing on the way to XML and back.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::{document::Element, queue};
use crate::{
    amqp::Right,
    clock::Clock,
    faults::Faults,
    servicebus::{AuthorizationRule, EntityStatus, Forwarding, Namespace, NamespaceConfig, QueueConfig, Remarks, Tier},
};

fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

fn rules() -> impl Strategy<Value = Vec<AuthorizationRule>> {
    let rights = prop_oneof![
        Just(vec![Right::Send]),
        Just(vec![Right::Listen, Right::Send]),
        Just(vec![Right::Manage, Right::Send, Right::Listen]),
    ];
    let rule =
        ("[!-~]{1,40}", "[!-~]{1,40}", rights).prop_map(|(primary_key, secondary_key, rights)| AuthorizationRule {
            key_name: String::new(),
            primary_key,
            secondary_key,
            rights,
            created: 0,
            modified: 0,
        });
    vec(rule, 0..4).prop_map(|mut rules| {
        for (n, rule) in rules.iter_mut().enumerate() {
            rule.key_name = format!("<rule> & {n}");
        }
        rules
    })
}

fn remarks() -> impl Strategy<Value = Remarks> {
    (option::of("[ -~äß€\n]{0,40}"), any::<bool>()).prop_map(|(user_metadata, batched_operations)| Remarks {
        user_metadata,
        batched_operations,
        ..Remarks::default()
    })
}

fn config() -> impl Strategy<Value = QueueConfig> {
    let times = (
        seconds(1..301),
        option::of(seconds(20..604_801)),
        option::of(seconds(1..100_000_000)),
        option::of(seconds(300..100_000_000)),
    );
    let choices = (any::<bool>(), any::<bool>(), any::<bool>(), 0..EntityStatus::ALL.len());
    let sizes = (1..2001_u32, 1..6_u64, option::of(1..257_u64));
    let others = (option::of("[a-p/]{0,3}[a-p]"), rules(), remarks());
    (times, choices, sizes, others).prop_map(|(times, choices, sizes, (dead_letters_to, authorization, remarks))| {
        QueueConfig {
            name: "q".into(),
            lock_duration: times.0,
            max_delivery_count: sizes.0,
            requires_session: choices.0,
            duplicate_detection: times.1,
            default_ttl: times.2,
            dead_letter_on_expiration: choices.1,
            forwarding: Forwarding {
                to: None,
                dead_letters_to,
            },
            status: EntityStatus::ALL[choices.3],
            max_megabytes: Some(sizes.1 * 1024),
            auto_delete_on_idle: times.3,
            max_message_size: sizes.2.map(|kilobytes| kilobytes * 1024),
            partitioned: choices.2,
            authorization,
            // The service gives a window back in any case.
            remarks: Remarks {
                history_window: times.1.or(Some(Duration::from_secs(600))),
                ..remarks
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_that_is_read_and_written_again_is_the_same(config in config()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none());
        let made = namespace.create_queue(&config).unwrap();
        let entry = queue::write(&made, &config);
        let document = format!("<a><{0} xmlns:i=\"i\">{1}</{0}></a>", entry.kind, entry.fields);
        let document = Element::parse(&document).expect("it is XML");
        let description = document.description("QueueDescription", "queue").unwrap();
        prop_assert_eq!(queue::read("q", description, Tier::Standard).unwrap(), config);
    }
}
