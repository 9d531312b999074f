//! Sessions: their holders, their order, their state.

use super::*;

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
