//! The engine's publisher and consumers, through its traits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    Consumer, DeadLetter, DeadLetterSink, Delivery, ErrorKind, Handled, Handler, HandlerError, Message, Pipeline,
    Publisher, RetryPolicy,
};
use azevents_emulator::{FaultKind, FaultPlan};
use azevents_servicebus::{
    ConsumerOptions, ServiceBusConsumer, ServiceBusDeadLetters, ServiceBusPublisher, SessionConsumer,
    SessionConsumerOptions, dead_letter_queue, subscription,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, client, emulator, line, number, run_until, soon};

/// Keeps what it has seen, by key, each once; fails when told to.
#[derive(Default)]
struct Recorder {
    seen: Mutex<HashMap<String, Vec<usize>>>,
    changed: Notify,
    /// Fails the first delivery of messages with this number.
    fail_once: Option<usize>,
    refuse: Option<usize>,
    out_of_order: Mutex<Vec<String>>,
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        let n = number(message);
        if self.refuse == Some(n) {
            return Err(HandlerError::permanent("Refused", "not this one"));
        }
        if self.fail_once == Some(n) && delivery.count == 1 {
            return Err(HandlerError::transient("not the first time"));
        }
        let mut seen = self.seen.lock().unwrap();
        let numbers = seen.entry(message.key.clone()).or_default();
        if numbers.contains(&n) {
            return Ok(Handled::Duplicate);
        }
        if numbers.last().is_some_and(|last| *last > n) {
            self.out_of_order.lock().unwrap().push(message.id.clone());
        }
        numbers.push(n);
        self.changed.notify_one();
        Ok(Handled::Done)
    }
}

impl Recorder {
    fn count(&self) -> usize {
        self.seen.lock().unwrap().values().map(Vec::len).sum()
    }

    async fn has(&self, count: usize) {
        while self.count() < count {
            self.changed.notified().await;
        }
    }
}

fn pipeline(recorder: &Arc<Recorder>) -> Arc<Pipeline> {
    Arc::new(Pipeline::new(recorder.clone()).with_retry(RetryPolicy::none()))
}

fn interleaved(keys: usize, each: usize) -> Vec<Message> {
    (0..each)
        .flat_map(|n| (0..keys).map(move |key| line(&format!("order-{key}"), n)))
        .collect()
}

#[tokio::test]
async fn every_published_message_is_handled_once() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&interleaved(10, 20)))
        .await
        .unwrap();
    let recorder = Arc::new(Recorder::default());
    let options = ConsumerOptions::default().with_concurrency(8).with_prefetch(50);
    let consumer = ServiceBusConsumer::new(client.clone(), subscription("t", "a"), options);
    let pipeline = pipeline(&recorder);
    run_until(consumer, pipeline.clone(), recorder.has(200)).await;
    assert_eq!((pipeline.stats().handled, pipeline.stats().duplicates), (200, 0));
    let left = soon(client.create_receiver(&subscription("t", "a")).peek(0, 10))
        .await
        .unwrap();
    assert!(left.is_empty(), "all was completed before the consumer returned");
}

#[tokio::test]
async fn sessions_are_handled_in_order_also_when_a_message_fails_and_comes_again() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&interleaved(20, 20)))
        .await
        .unwrap();
    let recorder = Arc::new(Recorder {
        fail_once: Some(7),
        ..Recorder::default()
    });
    let options = SessionConsumerOptions::default()
        .with_sessions(5)
        .with_idle_timeout(Duration::from_millis(50));
    let consumer = SessionConsumer::new(client, subscription("t", "s"), options);
    let pipeline = pipeline(&recorder);
    run_until(consumer, pipeline.clone(), recorder.has(400)).await;
    assert_eq!(*recorder.out_of_order.lock().unwrap(), Vec::<String>::new());
    assert_eq!((pipeline.stats().handled, pipeline.stats().abandoned), (400, 20));
}

#[tokio::test]
async fn a_refused_message_is_dead_lettered_with_its_reason_and_the_session_goes_on() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&interleaved(1, 10)))
        .await
        .unwrap();
    let recorder = Arc::new(Recorder {
        refuse: Some(3),
        ..Recorder::default()
    });
    let consumer = SessionConsumer::new(
        client.clone(),
        subscription("t", "s"),
        SessionConsumerOptions::default(),
    );
    run_until(consumer, pipeline(&recorder), recorder.has(9)).await;
    let dead = soon(
        client
            .create_receiver(&dead_letter_queue(&subscription("t", "s")))
            .receive(),
    )
    .await
    .unwrap();
    assert_eq!(
        (dead.message_id(), dead.dead_letter_reason()),
        (Some("order-0-3"), Some("Refused"))
    );
    assert!(dead.dead_letter_error_description().unwrap().contains("not this one"));
}

#[tokio::test]
async fn consumers_recover_from_faults_with_nothing_lost_and_sessions_in_order() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let plan = FaultPlan::new(3)
        .with(FaultKind::DropConnection, 0.01, 5)
        .with(FaultKind::DetachLink, 0.02, 5)
        .with(FaultKind::LoseOutcome, 0.02, 3)
        .with(FaultKind::RepeatDelivery, 0.02, 10)
        .with(FaultKind::ServerBusy, 0.05, 5);
    emulator.faults().set_plan(plan);
    let publisher = ServiceBusPublisher::new(&client, "t");
    for chunk in interleaved(20, 20).chunks(25) {
        soon(publisher.publish(chunk)).await.unwrap();
    }
    let (any, ordered) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let consumer = ServiceBusConsumer::new(client.clone(), subscription("t", "a"), ConsumerOptions::default());
    let sessions = SessionConsumerOptions::default().with_idle_timeout(Duration::from_millis(50));
    let session_consumer = SessionConsumer::new(client, subscription("t", "s"), sessions);
    tokio::join!(
        run_until(consumer, pipeline(&any), any.has(400)),
        run_until(session_consumer, pipeline(&ordered), ordered.has(400)),
    );
    assert_eq!(*ordered.out_of_order.lock().unwrap(), Vec::<String>::new());
}

/// Waits inside the handler until it is let go.
#[derive(Default)]
struct Slow {
    started: Notify,
    release: Notify,
    lost: Notify,
}

#[async_trait]
impl Handler for Slow {
    async fn handle(&self, _: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        self.started.notify_one();
        tokio::select! {
            () = self.release.notified() => Ok(Handled::Done),
            () = delivery.lock_lost.cancelled() => {
                self.lost.notify_one();
                Err(HandlerError::transient("lost"))
            }
        }
    }
}

#[tokio::test]
async fn stopping_waits_for_the_running_handler_and_settles_its_message() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&[line("k", 1)]))
        .await
        .unwrap();
    for sessions in [false, true] {
        let slow = Arc::new(Slow::default());
        let pipeline = Arc::new(Pipeline::new(slow.clone()));
        let entity = subscription("t", if sessions { "s" } else { "a" });
        let consumer: Box<dyn Consumer> = if sessions {
            Box::new(SessionConsumer::new(
                client.clone(),
                entity.clone(),
                SessionConsumerOptions::default(),
            ))
        } else {
            Box::new(ServiceBusConsumer::new(
                client.clone(),
                entity.clone(),
                ConsumerOptions::default(),
            ))
        };
        let stop = CancellationToken::new();
        let mut running = tokio::spawn({
            let (pipeline, stop) = (pipeline.clone(), stop.clone());
            async move { consumer.run(pipeline, stop).await }
        });
        soon(slow.started.notified()).await;
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_millis(100), &mut running).await;
        assert!(
            ended.is_err(),
            "with sessions {sessions} it ended: {ended:?} {:?}",
            pipeline.stats()
        );
        slow.release.notify_one();
        soon(running).await.unwrap().unwrap();
        assert_eq!(pipeline.stats().handled, 1);
        assert!(
            soon(client.create_receiver(&entity).peek(0, 1))
                .await
                .unwrap()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_lock_is_kept_for_longer_than_it_lasts_while_the_handler_runs() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&[line("k", 1)]))
        .await
        .unwrap();
    let slow = Arc::new(Slow::default());
    let pipeline = Arc::new(Pipeline::new(slow.clone()));
    let consumer = ServiceBusConsumer::new(client.clone(), subscription("t", "a"), ConsumerOptions::default());
    run_until(consumer, pipeline.clone(), async {
        slow.started.notified().await;
        // The lock lasts 5 seconds.
        tokio::time::sleep(Duration::from_secs(7)).await;
        slow.release.notify_one();
        while pipeline.stats().handled == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(pipeline.stats().handled, 1);
    assert!(
        soon(client.create_receiver(&subscription("t", "a")).peek(0, 1))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn losing_the_session_cancels_its_handler() {
    let emulator = emulator().await;
    let client = client(&emulator);
    soon(ServiceBusPublisher::new(&client, "t").publish(&[line("k", 1)]))
        .await
        .unwrap();
    let slow = Arc::new(Slow::default());
    let consumer = SessionConsumer::new(
        client.clone(),
        subscription("t", "s"),
        SessionConsumerOptions::default(),
    );
    run_until(consumer, Arc::new(Pipeline::new(slow.clone())), async {
        slow.started.notified().await;
        emulator
            .faults()
            .set_plan(FaultPlan::new(1).with(FaultKind::DropConnection, 1.0, 1));
        // Something for the fault to strike, on the connection that both share.
        let _ = ServiceBusPublisher::new(&client, "q")
            .publish(&[line("other", 1)])
            .await;
        slow.lost.notified().await;
        // It comes again, to be handled after all.
        slow.started.notified().await;
        slow.release.notify_one();
    })
    .await;
}

#[tokio::test]
async fn a_consumer_of_a_missing_entity_ends_with_an_error() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let recorder = Arc::new(Recorder::default());
    let consumers: [Box<dyn Consumer>; 2] = [
        Box::new(ServiceBusConsumer::new(
            client.clone(),
            "nowhere",
            ConsumerOptions::default(),
        )),
        Box::new(SessionConsumer::new(
            client,
            "nowhere",
            SessionConsumerOptions::default(),
        )),
    ];
    for consumer in consumers {
        let error = soon(consumer.run(pipeline(&recorder), CancellationToken::new()))
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, "nowhere"));
    }
}

#[tokio::test]
async fn a_message_too_large_for_the_link_fails_alone_after_those_before_it() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let mut messages = vec![line("k", 1), line("k", 2), line("k", 3)];
    let limit = soon(client.create_sender("t").create_batch())
        .await
        .unwrap()
        .max_size_in_bytes();
    messages[2].body = vec![0; limit + 1].into();
    let error = tokio::time::timeout(PATIENCE, ServiceBusPublisher::new(&client, "t").publish(&messages))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!((error.accepted, error.error.kind()), (2, ErrorKind::TooLarge));
    assert!(error.to_string().contains("k-3"), "{error}");
}

#[tokio::test]
async fn a_dead_letter_set_aside_in_a_queue_reads_like_one_of_the_brokers() {
    let emulator = emulator().await;
    let client = client(&emulator);
    let why = DeadLetter::new("Undecodable", "not JSON");
    soon(ServiceBusDeadLetters::new(&client, "q").set_aside(&line("k", 1), &why))
        .await
        .unwrap();
    let received = soon(client.create_receiver("q").receive()).await.unwrap();
    assert_eq!(received.dead_letter_reason(), Some("Undecodable"));
    assert_eq!(received.dead_letter_error_description(), Some("not JSON"));
}
