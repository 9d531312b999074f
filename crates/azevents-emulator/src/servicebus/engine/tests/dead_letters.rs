//! What becomes a dead letter, and why.

use super::*;

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
