//! Expiry, schedules and duplicates.

use super::*;

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

#[test]
fn ticks_count_from_the_year_one() {
    // DateTime.UnixEpoch.Ticks in .NET.
    assert_eq!(Timestamp::from_millis(0).as_dotnet_ticks(), 621_355_968_000_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_changed_holds_for_what_was_seen_before_too() {
    let namespace = namespace();
    let mut config = QueueConfig {
        duplicate_detection: Some(60 * SECOND),
        ..QueueConfig::new("q1")
    };
    let queue = namespace.create_queue(&config).unwrap();
    let sent = |id: &str| send(&queue, [Sample::body("x").id(id)]);
    let update = |config: &QueueConfig| namespace.update_queue(config).unwrap();
    sent("a");
    advance(25 * SECOND).await;
    config.duplicate_detection = Some(20 * SECOND);
    update(&config);
    sent("a");
    assert_eq!(queue.counts().active, 2, "forgotten after 20 seconds");
    config.duplicate_detection = Some(600 * SECOND);
    update(&config);
    advance(500 * SECOND).await;
    sent("a");
    assert_eq!(queue.counts().active, 2, "remembered for 600 seconds");
}
