//! Order, locks and what ends a delivery.

use super::*;

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

#[test]
fn a_lock_token_reads_the_same_as_tag_and_as_uuid() {
    let tag = *b"0123456789abcdef";
    let token = LockToken::from_tag(tag);
    assert_eq!(token.to_tag(), tag);
    assert_eq!(LockToken::from_uuid(token.to_uuid()), token);
    assert_eq!(token.to_uuid().as_bytes()[..4], [b'3', b'2', b'1', b'0']);
}
