//! One promise each, on the paused clock, through the queue that receivers use.

use std::{sync::Arc, time::Duration};

use tokio::time::{advance, timeout};

use super::{LockToken, MessageCounts, ReceiveMode, Received, Settlement};
use crate::{
    faults::{FaultKind, FaultPlan, Faults},
    servicebus::{
        BrokerError, Namespace, NamespaceConfig,
        clock::{Clock, Timestamp},
        config::{QueueConfig, SubscriptionConfig, TopicConfig},
        filter::{CorrelationFilter, Filter, Rule},
        message::{
            PropertyChanges,
            testing::{Sample, body, decode},
        },
        queue::Queue,
        sql::Value,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const PEEK_LOCK: ReceiveMode = ReceiveMode::PeekLock;

fn namespace() -> Namespace {
    Namespace::new(NamespaceConfig::default(), Clock::start(), Faults::none())
}

fn queue_with(change: impl FnOnce(&mut QueueConfig)) -> Arc<Queue> {
    let mut config = QueueConfig::new("q1");
    config.lock_duration = 5 * SECOND;
    config.max_delivery_count = 3;
    change(&mut config);
    namespace().create_queue(&config).unwrap()
}

fn queue() -> Arc<Queue> {
    queue_with(|_| {})
}

fn send(queue: &Queue, samples: impl IntoIterator<Item = Sample>) -> Vec<i64> {
    queue
        .send(samples.into_iter().map(|sample| sample.message()).collect())
        .unwrap()
}

fn text(received: &Received) -> String {
    let message = decode(&received.message.encode_whole(&received.stamp));
    String::from_utf8(body(&message)).unwrap()
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(text).collect()
}

fn take(queue: &Queue, max: usize) -> Vec<Received> {
    queue.try_receive(max, PEEK_LOCK)
}

fn abandon() -> Settlement {
    Settlement::Abandon(PropertyChanges::default())
}

fn property(received: &Received, name: &str) -> Option<String> {
    let message = decode(&received.message.encode_whole(&received.stamp));
    match message.application_properties?.0.get(name)? {
        fe2o3_amqp_types::primitives::SimpleValue::String(text) => Some(text.clone()),
        other => panic!("{name} is {other:?}"),
    }
}

/// The dead letter, its reason and its description.
fn dead_letter(queue: &Queue) -> (Received, String, String) {
    let mut dead = take(queue.dead_letters().unwrap(), 10);
    assert_eq!(dead.len(), 1, "one dead letter");
    let dead = dead.remove(0);
    let reason = property(&dead, "DeadLetterReason").unwrap_or_default();
    let description = property(&dead, "DeadLetterErrorDescription").unwrap_or_default();
    (dead, reason, description)
}

fn timestamp_in(after: Duration) -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (now + after).as_millis() as i64
}

#[tokio::test(start_paused = true)]
async fn messages_come_in_the_order_they_were_sent_and_complete_removes_them() {
    let queue = queue();
    let numbers = send(&queue, ["a", "b"].map(Sample::body));
    let received = take(&queue, 10);
    assert_eq!(texts(&received), ["a", "b"]);
    assert!(numbers[0] < numbers[1]);
    for message in received {
        queue.settle(message.token, &Settlement::Complete).unwrap();
    }
    assert_eq!(queue.counts(), MessageCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_expires_brings_the_message_back_counted() {
    let queue = queue();
    send(&queue, [Sample::body("a")]);
    let first = take(&queue, 1).remove(0);
    assert!(take(&queue, 1).is_empty());
    advance(5 * SECOND).await;
    let again = take(&queue, 1).remove(0);
    assert_eq!(again.stamp.delivery_count, first.stamp.delivery_count + 1);
    assert_eq!(
        queue.settle(first.token, &Settlement::Complete),
        Err(BrokerError::MessageLockLost)
    );
    queue.settle(again.token, &Settlement::Complete).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_gets_a_message_whose_lock_expires() {
    let queue = queue();
    send(&queue, [Sample::body("a")]);
    take(&queue, 1);
    let again = timeout(6 * SECOND, queue.receive(1, PEEK_LOCK)).await.unwrap();
    assert_eq!(texts(&again.unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_waits_sees_a_lock_expire_by_a_jump_of_the_clock() {
    let clock = Clock::start();
    let namespace = Namespace::new(NamespaceConfig::default(), clock.clone(), Faults::none());
    let queue = namespace.create_queue(&QueueConfig::new("q1")).unwrap();
    send(&queue, [Sample::body("a")]);
    take(&queue, 1);
    let (again, ()) = tokio::join!(timeout(SECOND, queue.receive(1, PEEK_LOCK)), async {
        tokio::task::yield_now().await;
        clock.advance(600 * SECOND);
    });
    assert_eq!(texts(&again.unwrap().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lock_holds_longer() {
    let queue = queue();
    send(&queue, [Sample::body("a")]);
    let held = take(&queue, 1).remove(0);
    advance(4 * SECOND).await;
    let until = queue.renew_lock(held.token).unwrap();
    assert!(until > held.stamp.locked_until.unwrap());
    advance(4 * SECOND).await;
    queue.settle(held.token, &Settlement::Complete).unwrap();
    assert_eq!(queue.renew_lock(held.token), Err(BrokerError::MessageLockLost));
}

#[tokio::test(start_paused = true)]
async fn the_last_permitted_delivery_that_fails_dead_letters_the_message() {
    let queue = queue();
    send(&queue, [Sample::body("poison")]);
    for delivery in 0..3 {
        let received = take(&queue, 1).remove(0);
        assert_eq!(received.stamp.delivery_count, delivery);
        queue.settle(received.token, &abandon()).unwrap();
    }
    assert!(take(&queue, 1).is_empty());
    let (dead, reason, description) = dead_letter(&queue);
    assert_eq!(reason, "MaxDeliveryCountExceeded");
    assert_eq!(description, "Message could not be consumed after 3 delivery attempts.");
    assert_eq!(dead.message.dead_letter_source().map(|source| &**source), Some("q1"));
    // It stays there however often it is abandoned.
    let dead_letters = queue.dead_letters().unwrap();
    let mut token = dead.token;
    for _ in 0..20 {
        dead_letters.settle(token, &abandon()).unwrap();
        token = take(dead_letters, 1).remove(0).token;
    }
    dead_letters.settle(token, &Settlement::Complete).unwrap();
    assert_eq!(dead_letters.counts().active, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_what_the_receiver_said() {
    let queue = queue();
    send(&queue, [Sample::body("bad").property("kept", "yes")]);
    let received = take(&queue, 1).remove(0);
    let mut properties = PropertyChanges::default();
    properties.set_text("seen-by", "me");
    let settlement = Settlement::DeadLetter {
        reason: Some("Undecodable".into()),
        description: Some("field total".into()),
        properties,
    };
    queue.settle(received.token, &settlement).unwrap();
    let (dead, reason, description) = dead_letter(&queue);
    assert_eq!((&*reason, &*description), ("Undecodable", "field total"));
    assert_eq!(property(&dead, "kept").as_deref(), Some("yes"));
    assert_eq!(property(&dead, "seen-by").as_deref(), Some("me"));
    assert_eq!(text(&dead), "bad");
    let refused = queue.dead_letters().unwrap().settle(dead.token, &settlement);
    assert!(matches!(refused, Err(BrokerError::NotAllowed(_))));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_message_comes_before_later_ones_with_its_changed_properties() {
    let queue = queue();
    send(&queue, ["a", "b"].map(Sample::body));
    let first = take(&queue, 1).remove(0);
    let mut changes = PropertyChanges::default();
    changes.set_text("attempt", "1");
    queue.settle(first.token, &Settlement::Abandon(changes)).unwrap();
    let received = take(&queue, 2);
    assert_eq!(texts(&received), ["a", "b"]);
    assert_eq!(property(&received[0], "attempt").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_properties_grow_too_large_is_dead_lettered() {
    for settlement in [Settlement::Abandon, Settlement::Defer] {
        let queue = queue();
        let large = "x".repeat(30_000);
        send(&queue, [Sample::body("a").property("a", &large).property("b", &large)]);
        let held = take(&queue, 1).remove(0);
        let mut changes = PropertyChanges::default();
        changes.set_text("c", &large);
        queue.settle(held.token, &settlement(changes)).unwrap();
        assert_eq!(queue.counts(), MessageCounts::default());
        let (dead, reason, description) = dead_letter(&queue);
        assert_eq!(reason, "HeaderSizeExceeded");
        assert_eq!(description, "The size quota for this stream has been exceeded.");
        assert_eq!(text(&dead), "a");
        // There is nowhere else for it to go.
        let dead_letters = queue.dead_letters().unwrap();
        let mut changes = PropertyChanges::default();
        changes.set_text("d", "y");
        dead_letters.settle(dead.token, &Settlement::Abandon(changes)).unwrap();
        assert_eq!(dead_letters.counts().active, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_message_comes_back_uncounted() {
    let queue = queue();
    send(&queue, [Sample::body("a")]);
    let first = take(&queue, 1).remove(0);
    queue.settle(first.token, &Settlement::Release).unwrap();
    assert_eq!(take(&queue, 1)[0].stamp.delivery_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_message_is_only_fetched_by_its_number() {
    let queue = queue();
    let number = send(&queue, [Sample::body("later")])[0];
    let held = take(&queue, 1).remove(0);
    queue
        .settle(held.token, &Settlement::Defer(PropertyChanges::default()))
        .unwrap();
    assert_eq!(
        queue.counts(),
        MessageCounts {
            deferred: 1,
            ..Default::default()
        }
    );
    assert!(take(&queue, 1).is_empty());
    assert_eq!(
        queue.receive_deferred(&[number, 99], None, PEEK_LOCK).unwrap_err(),
        BrokerError::MessageNotFound(99)
    );
    let held = queue.receive_deferred(&[number], None, PEEK_LOCK).unwrap();
    assert_eq!(held[0].stamp.state, 1);
    // Its lock expires: deferred again, not active.
    advance(5 * SECOND).await;
    assert!(take(&queue, 1).is_empty());
    let held = queue.receive_deferred(&[number], None, PEEK_LOCK).unwrap();
    queue.settle(held[0].token, &Settlement::Complete).unwrap();
    assert_eq!(queue.counts(), MessageCounts::default());
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_dropped_or_dead_lettered_as_the_queue_says() {
    let dropping = queue();
    send(&dropping, [Sample::body("a").ttl_ms(1000), Sample::body("b")]);
    advance(SECOND).await;
    assert_eq!(texts(&take(&dropping, 10)), ["b"]);

    let keeping = queue_with(|config| {
        config.dead_letter_on_expiration = true;
        config.default_ttl = Some(SECOND);
    });
    send(&keeping, [Sample::body("a").ttl_ms(60_000)]);
    // Nobody asks for it; a receiver of dead letters waits.
    let dead = keeping.dead_letters().unwrap();
    let dead = timeout(2 * SECOND, dead.receive(1, PEEK_LOCK)).await.unwrap().unwrap();
    assert_eq!(
        property(&dead[0], "DeadLetterReason").as_deref(),
        Some("TTLExpiredException")
    );
}

#[tokio::test(start_paused = true)]
async fn a_locked_message_expires_only_when_its_lock_ends() {
    let queue = queue();
    send(&queue, [Sample::body("a").ttl_ms(1000), Sample::body("b").ttl_ms(1000)]);
    let held = take(&queue, 2);
    advance(2 * SECOND).await;
    queue.settle(held[0].token, &Settlement::Complete).unwrap();
    queue.settle(held[1].token, &abandon()).unwrap();
    assert_eq!(queue.counts().active, 0);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_message_joins_the_end_of_the_queue_when_its_time_comes() {
    let queue = queue();
    let at = timestamp_in(2 * SECOND);
    let numbers = send(
        &queue,
        [
            Sample::body("later").scheduled_at_ms(at),
            Sample::body("never").scheduled_at_ms(at),
            Sample::body("now"),
        ],
    );
    assert_eq!(queue.peek(1, 10, None)[0].1.state, 2);
    queue.cancel_scheduled(&numbers[1..2]).unwrap();
    assert_eq!(
        queue.cancel_scheduled(&numbers[1..2]),
        Err(BrokerError::MessageNotFound(numbers[1]))
    );
    assert_eq!(texts(&take(&queue, 10)), ["now"]);
    let later = timeout(3 * SECOND, queue.receive(10, PEEK_LOCK))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(texts(&later), ["later"]);
    assert!(later[0].stamp.sequence_number > numbers[2]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_within_the_window_is_accepted_and_dropped() {
    let queue = queue_with(|config| config.duplicate_detection = Some(20 * SECOND));
    send(&queue, [Sample::body("1").id("a"), Sample::body("2").id("a")]);
    let received = queue.try_receive(10, ReceiveMode::ReceiveAndDelete);
    assert_eq!(texts(&received), ["1"]);
    advance(19 * SECOND).await;
    send(
        &queue,
        [Sample::body("3").id("a"), Sample::body("no id"), Sample::body("no id")],
    );
    let received = queue.try_receive(10, ReceiveMode::ReceiveAndDelete);
    assert_eq!(texts(&received), ["no id", "no id"]);
    // The third copy did not extend the window.
    advance(SECOND).await;
    send(&queue, [Sample::body("4").id("a")]);
    assert_eq!(texts(&take(&queue, 10)), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn receive_and_delete_leaves_nothing_to_settle() {
    let queue = queue();
    send(&queue, [Sample::body("a")]);
    let received = queue.try_receive(1, ReceiveMode::ReceiveAndDelete).remove(0);
    assert_eq!(received.stamp.locked_until, None);
    assert_eq!(queue.counts(), MessageCounts::default());
    assert_eq!(
        queue.settle(received.token, &Settlement::Complete),
        Err(BrokerError::MessageLockLost)
    );
}

#[tokio::test(start_paused = true)]
async fn peek_sees_every_state_and_takes_nothing() {
    let queue = queue();
    send(
        &queue,
        [
            Sample::body("locked"),
            Sample::body("deferred"),
            Sample::body("scheduled").scheduled_at_ms(timestamp_in(60 * SECOND)),
            Sample::body("active"),
        ],
    );
    let held = take(&queue, 2);
    queue
        .settle(held[1].token, &Settlement::Defer(PropertyChanges::default()))
        .unwrap();
    let states = |from| -> Vec<i32> {
        let peeked = queue.peek(from, 10, None);
        peeked.iter().map(|(_, stamp)| stamp.state).collect()
    };
    assert_eq!(states(0), [0, 1, 2, 0]);
    assert_eq!(states(3), [2, 0]);
    assert_eq!(texts(&take(&queue, 10)), ["active"]);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_waiting_receivers_gets_each_message() {
    let queue = queue();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { texts(&queue.receive(1, PEEK_LOCK).await.unwrap()) })
        })
        .collect();
    tokio::task::yield_now().await;
    send(&queue, ["a", "b"].map(Sample::body));
    let mut got = Vec::new();
    for receiver in receivers {
        got.extend(timeout(SECOND, receiver).await.unwrap().unwrap());
    }
    got.sort();
    assert_eq!(got, ["a", "b"]);
}

fn session_queue() -> Arc<Queue> {
    queue_with(|config| config.requires_session = true)
}

fn in_session(session: &str, bodies: &[&str]) -> Vec<Sample> {
    bodies.iter().map(|body| Sample::body(body).session(session)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_session_has_one_holder_and_is_offered_again_when_released() {
    let queue = session_queue();
    send(&queue, in_session("A", &["1", "2"]));
    let held = queue.accept_session(None, SECOND).await.unwrap();
    assert_eq!(&**held.id(), "A");
    assert_eq!(
        queue.accept_session(Some("A"), SECOND).await.unwrap_err(),
        BrokerError::SessionCannotBeLocked("A".into())
    );
    assert_eq!(
        queue.accept_session(None, SECOND).await.unwrap_err(),
        BrokerError::Timeout
    );
    let waiting = queue.accept_session(None, 60 * SECOND);
    tokio::pin!(waiting);
    assert!(timeout(SECOND, &mut waiting).await.is_err());
    let first = held.try_receive(1, PEEK_LOCK).unwrap();
    drop(held);
    let next = waiting.await.unwrap();
    let received = next.try_receive(10, PEEK_LOCK).unwrap();
    assert_eq!(texts(&received), ["1", "2"]);
    // Giving a session back is no failed delivery.
    assert_eq!(received[0].stamp.delivery_count, 0);
    assert_ne!(received[0].token, first[0].token);
}

#[tokio::test(start_paused = true)]
async fn a_session_lock_that_expires_tells_its_holder_and_brings_all_messages_back_in_order() {
    let queue = session_queue();
    send(&queue, in_session("A", &["1", "2", "3"]));
    let slow = queue.accept_session(Some("A"), SECOND).await.unwrap();
    let held = slow.try_receive(2, PEEK_LOCK).unwrap();
    slow.settle(held[0].token, &Settlement::Complete).unwrap();
    slow.try_receive(1, PEEK_LOCK).unwrap();
    let lost = slow.receive(1, PEEK_LOCK).await.unwrap_err();
    assert_eq!(lost, BrokerError::SessionLockLost);
    assert_eq!(
        slow.settle(held[1].token, &Settlement::Complete),
        Err(BrokerError::SessionLockLost)
    );
    let next = queue.accept_session(None, SECOND).await.unwrap();
    // The old holder has no say any more.
    drop(slow);
    let received = next.try_receive(10, PEEK_LOCK).unwrap();
    assert_eq!(texts(&received), ["2", "3"]);
    assert!(received.iter().all(|message| message.stamp.delivery_count == 1));
    next.settle(received[0].token, &Settlement::Complete).unwrap();
}

#[tokio::test(start_paused = true)]
async fn renewing_a_session_renews_the_locks_of_its_messages() {
    let queue = session_queue();
    send(&queue, in_session("A", &["1"]));
    let held = queue.accept_session(Some("A"), SECOND).await.unwrap();
    let message = held.try_receive(1, PEEK_LOCK).unwrap().remove(0);
    for _ in 0..5 {
        advance(4 * SECOND).await;
        queue.renew_session("A", held.holder()).unwrap();
    }
    assert!(matches!(
        queue.renew_lock(message.token),
        Err(BrokerError::NotAllowed(_))
    ));
    held.settle(message.token, &Settlement::Complete).unwrap();
}

#[tokio::test(start_paused = true)]
async fn session_state_outlives_holders_and_messages_until_it_is_cleared() {
    let queue = session_queue();
    let held = queue.accept_session(Some("A"), SECOND).await.unwrap();
    let state = Some(bytes::Bytes::from_static(b"seen"));
    queue.set_session_state("A", held.holder(), state.clone()).unwrap();
    drop(held);
    let held = queue.accept_session(Some("A"), SECOND).await.unwrap();
    assert_eq!(queue.session_state("A", held.holder()).unwrap(), state);
    assert_eq!(queue.session_ids(0, 10), ["A".into()]);
    queue.set_session_state("A", held.holder(), None).unwrap();
    drop(held);
    assert!(queue.session_ids(0, 10).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_released_session_queues_up_behind_those_that_wait() {
    let queue = session_queue();
    for session in ["A", "B", "C"] {
        send(&queue, in_session(session, &["1"]));
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let held = queue.accept_session(None, SECOND).await.unwrap();
        order.push(held.id().to_string());
    }
    assert_eq!(order, ["A", "B", "C", "A", "B", "C"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_session_is_refused_where_sessions_are_required() {
    let queue = session_queue();
    let batch = vec![
        Sample::body("fine").session("A").message(),
        Sample::body("not").message(),
    ];
    assert!(matches!(queue.send(batch), Err(BrokerError::NotAllowed(_))));
    assert_eq!(queue.counts().active, 0, "a batch is stored whole or not at all");
}

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

#[tokio::test(start_paused = true)]
async fn an_injected_repeat_confirms_the_completion_and_delivers_once_more() {
    let faults = Faults::none();
    let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), faults.clone());
    let queue = namespace.create_queue(&QueueConfig::new("q")).unwrap();
    send(&queue, [Sample::body("a")]);
    faults.set_plan(FaultPlan::new(1).with(FaultKind::RepeatDelivery, 1.0, 1));
    let first = take(&queue, 1).remove(0);
    queue.settle(first.token, &Settlement::Complete).unwrap();
    let again = take(&queue, 1).remove(0);
    assert_eq!(again.stamp.delivery_count, 1);
    queue.settle(again.token, &Settlement::Complete).unwrap();
    assert_eq!(queue.counts().active, 0);

    faults.set_plan(FaultPlan::new(1).with(FaultKind::LoseSettle, 1.0, 1));
    send(&queue, [Sample::body("b")]);
    let first = take(&queue, 1).remove(0);
    assert_eq!(
        queue.settle(first.token, &Settlement::Complete),
        Err(BrokerError::MessageLockLost)
    );
    assert_eq!(texts(&take(&queue, 1)), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn injected_faults_never_dead_letter_a_message() {
    let faults = Faults::none();
    let namespace = Namespace::new(NamespaceConfig::default(), Clock::start(), faults.clone());
    let mut config = QueueConfig::new("q");
    config.max_delivery_count = 3;
    let queue = namespace.create_queue(&config).unwrap();
    faults.set_plan(FaultPlan::new(1).with(FaultKind::RepeatDelivery, 1.0, u64::MAX));
    send(&queue, [Sample::body("a")]);
    while let Some(received) = take(&queue, 1).pop() {
        queue.settle(received.token, &Settlement::Complete).unwrap();
    }
    assert_eq!(queue.dead_letters().unwrap().counts().active, 0);
}

#[test]
fn a_lock_token_reads_the_same_as_tag_and_as_uuid() {
    let tag = *b"0123456789abcdef";
    let token = LockToken::from_tag(tag);
    assert_eq!(token.to_tag(), tag);
    assert_eq!(LockToken::from_uuid(token.to_uuid()), token);
    assert_eq!(token.to_uuid().as_bytes()[..4], [b'3', b'2', b'1', b'0']);
}

#[test]
fn ticks_count_from_the_year_one() {
    // DateTime.UnixEpoch.Ticks in .NET.
    assert_eq!(Timestamp::from_millis(0).as_dotnet_ticks(), 621_355_968_000_000_000);
}

#[tokio::test(start_paused = true)]
async fn settlements_together_are_all_or_none_also_where_properties_cannot_be_changed() {
    let queue = queue();
    let mut encoded = Sample::body("b").property("name", "x").encode().to_vec();
    // The name of the property as bytes and not as text.
    let name = encoded.windows(6).position(|bytes| bytes == b"\xa1\x04name").unwrap();
    encoded[name] = 0xa0;
    let odd = crate::servicebus::message::Message::decode(&encoded.into()).unwrap();
    queue.send(vec![Sample::body("a").message(), odd]).unwrap();
    let received = take(&queue, 2);
    let [good, odd] = [received[0].token, received[1].token];
    let mut changes = PropertyChanges::default();
    changes.set_text("reason", "y");
    let together = vec![(good, Settlement::Complete), (odd, Settlement::Defer(changes))];
    assert!(Queue::settle_together(vec![(Arc::clone(&queue), together)]).is_err());
    queue.check_locked(&[good, odd]).unwrap();
}
