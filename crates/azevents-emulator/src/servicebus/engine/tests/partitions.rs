//! Entities with partitions.

use super::*;

fn partitioned(change: impl FnOnce(&mut QueueConfig)) -> Arc<Queue> {
    queue_with(|config| {
        config.partitioned = true;
        change(config);
    })
}

fn partition(received: &Received) -> i64 {
    received.stamp.sequence_number >> 48
}

#[tokio::test(start_paused = true)]
async fn messages_with_a_key_share_a_partition_and_keep_their_order_in_it() {
    let queue = partitioned(|_| {});
    let sample =
        |n: usize| Sample::body(format!("{}{n}", ["a", "b", "c"][n % 3])).partition_key(["a", "b", "c"][n % 3]);
    let sequences = send(&queue, (0..30).map(sample));
    let received = take(&queue, 30);
    let of_a: Vec<&Received> = received.iter().filter(|one| text(one).starts_with('a')).collect();
    let bodies: Vec<String> = of_a.iter().map(|one| text(one)).collect();
    assert_eq!(
        bodies,
        ["a0", "a3", "a6", "a9", "a12", "a15", "a18", "a21", "a24", "a27"]
    );
    assert!(of_a.iter().all(|one| partition(one) == partition(of_a[0])));
    let numbers: Vec<i64> = of_a.iter().map(|one| one.stamp.sequence_number).collect();
    assert!(numbers.is_sorted() && numbers.iter().all(|number| sequences.contains(number)));
    assert!(received.iter().all(|one| (0..16).contains(&partition(one))));
}

#[tokio::test(start_paused = true)]
async fn partitions_are_received_from_in_turn_so_that_none_waits_for_another() {
    let queue = partitioned(|_| {});
    send(&queue, (0..64).map(|n| Sample::body(n.to_string())));
    let round: Vec<i64> = take(&queue, 16).iter().map(partition).collect();
    assert_eq!(round, (0..16).collect::<Vec<_>>(), "without keys they are spread");
    let again = take(&queue, 1);
    assert_eq!(partition(&again[0]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_in_one_partition_and_in_order_also_after_a_schedule() {
    let queue = partitioned(|config| config.requires_session = true);
    let later = Sample::body("later").session("S").scheduled_at_ms(timestamp_in(SECOND));
    send(
        &queue,
        [
            later,
            Sample::body("1").session("S"),
            Sample::body("2").session("S").partition_key("S"),
        ],
    );
    let other = Sample::body("x").session("S").partition_key("T").message();
    let refused = queue.send(vec![other]).unwrap_err();
    assert!(refused.to_string().contains("they must be the same"), "{refused}");
    advance(2 * SECOND).await;
    let held = queue.accept_session(None, SECOND).await.unwrap();
    let received = held.try_receive(10, PEEK_LOCK).unwrap();
    assert_eq!(texts(&received), ["1", "2", "later"]);
    assert!(received.iter().all(|one| partition(one) == partition(&received[0])));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_sends_to_one_partition() {
    let message = |sample: Sample| sample.message();
    let keyed = |key: &str| message(Sample::body("x").partition_key(key));
    let queue = partitioned(|_| {});
    queue.check_together([].iter()).unwrap();
    queue.check_together([keyed("a"), keyed("a")].iter()).unwrap();
    for refused in [vec![keyed("a"), keyed("b")], vec![message(Sample::body("x"))]] {
        let refused = queue.check_together(refused.iter()).unwrap_err();
        assert!(refused.to_string().contains("the same partition key"), "{refused}");
    }
    let plain = queue_with(|_| {});
    plain.check_together([keyed("a"), keyed("b")].iter()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_has_the_same_id_and_the_same_key() {
    let queue = partitioned(|config| config.duplicate_detection = Some(60 * SECOND));
    let sample = |key: &str| Sample::body("x").id("1").partition_key(key);
    send(&queue, [sample("a"), sample("b"), sample("a")]);
    assert_eq!(queue.counts().active, 2);
    send(&queue, [Sample::body("x").id("1"), Sample::body("x").id("1")]);
    assert_eq!(queue.counts().active, 3);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_and_copies_keep_to_their_partitions() {
    let namespace = namespace();
    let config = TopicConfig {
        partitioned: true,
        ..TopicConfig::new("t")
    };
    let topic = namespace.create_topic(&config).unwrap();
    let queue = namespace
        .create_subscription("t", &SubscriptionConfig::new("s"))
        .unwrap();
    let samples = (0..32).map(|n| Sample::body(n.to_string()).partition_key("k").message());
    topic.intake().send(samples.collect()).unwrap();
    let received = take(&queue, 40);
    let sent: Vec<String> = (0..32).map(|n| n.to_string()).collect();
    assert_eq!(texts(&received), sent);
    let dead = Settlement::DeadLetter {
        reason: None,
        description: None,
        properties: PropertyChanges::default(),
    };
    for one in &received {
        queue.settle(one.token, &dead).unwrap();
    }
    let letters = take(queue.dead_letters().unwrap(), 40);
    assert_eq!(texts(&letters), sent);
    assert!(letters.iter().all(|one| partition(one) == partition(&received[0])));
    let refused = queue.delete_batch(1, queue.now() + SECOND, None).unwrap_err();
    assert!(refused.to_string().contains("has partitions"), "{refused}");
}
