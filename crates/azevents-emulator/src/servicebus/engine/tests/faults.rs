//! Injected faults.

use super::*;

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
