//! What the processors promise.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azevents_emulator::Emulator;
use azevents_servicebus::{
    BoxError, ErrorSource, HeldMessage, MessageHandler, Prefetch, ProcessorError, ProcessorOptions, ReceiveMode,
    ServiceBusClient, ServiceBusProcessor, ServiceBusSessionProcessor, SessionProcessorOptions, Settlement,
    dead_letter_queue,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::support::{client, emulator, id, message, soon};

/// Records what it sees; calls wait for a permit of the gate.
struct Probe {
    gate: Semaphore,
    seen: Mutex<Vec<String>>,
    errors: Mutex<Vec<(ErrorSource, Option<String>)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    changed: Notify,
    fail: AtomicBool,
    settle: Option<Settlement>,
}

impl Probe {
    fn new(permits: usize) -> Self {
        Self {
            gate: Semaphore::new(permits),
            seen: Mutex::default(),
            errors: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            changed: Notify::new(),
            fail: AtomicBool::new(false),
            settle: None,
        }
    }

    async fn until(&self, reached: impl Fn(&Self) -> bool) {
        soon(async {
            while !reached(self) {
                self.changed.notified().await;
            }
        })
        .await;
    }

    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[async_trait]
impl MessageHandler for Probe {
    async fn handle(&self, held: &HeldMessage<'_>) -> Result<(), BoxError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.changed.notify_one();
        self.gate.acquire().await?.forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.fail.swap(false, Ordering::SeqCst) {
            return Err("as told".into());
        }
        if let Some(settlement) = &self.settle {
            held.settle(settlement).await?;
        }
        self.seen.lock().unwrap().push(id(held.message()).to_owned());
        self.changed.notify_one();
        Ok(())
    }

    fn on_error(&self, error: &ProcessorError) {
        let error = (error.source, error.message_id.clone());
        self.errors.lock().unwrap().push(error);
        self.changed.notify_one();
    }
}

/// A processor in the background.
struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), azevents_servicebus::Error>>,
}

impl Running {
    fn start(processor: ServiceBusProcessor, probe: &Arc<Probe>) -> Self {
        let stop = CancellationToken::new();
        let (handler, token) = (Arc::clone(probe), stop.clone());
        let task = tokio::spawn(async move { processor.run(handler, token).await });
        Self { stop, task }
    }

    fn sessions(processor: ServiceBusSessionProcessor, probe: &Arc<Probe>) -> Self {
        let stop = CancellationToken::new();
        let (handler, token) = (Arc::clone(probe), stop.clone());
        let task = tokio::spawn(async move { processor.run(handler, token).await });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}

async fn with_messages(entity: &str, count: usize) -> (Emulator, ServiceBusClient) {
    let emulator = emulator().await;
    let client = client(&emulator);
    let sender = client.create_sender(entity);
    for n in 0..count {
        soon(sender.send(&message(n).with_session_id("s"))).await.unwrap();
    }
    (emulator, client)
}

async fn left(client: &ServiceBusClient, entity: &str) -> usize {
    soon(client.create_receiver(entity).peek(0, 100)).await.unwrap().len()
}

fn processor(client: &ServiceBusClient, options: ProcessorOptions) -> ServiceBusProcessor {
    ServiceBusProcessor::new(client.clone(), "q", options)
}

#[tokio::test]
async fn by_default_one_message_at_a_time_is_handled_and_completed() {
    let (_emulator, client) = with_messages("q", 5).await;
    let probe = Arc::new(Probe::new(5));
    let running = Running::start(processor(&client, ProcessorOptions::default()), &probe);
    probe.until(|probe| probe.seen() == 5).await;
    running.stop().await;
    assert_eq!(probe.most.load(Ordering::SeqCst), 1);
    assert_eq!(left(&client, "q").await, 0);
}

#[tokio::test]
async fn a_failure_is_reported_with_its_source_and_the_message_comes_again() {
    let (_emulator, client) = with_messages("q", 1).await;
    let probe = Arc::new(Probe::new(2));
    probe.fail.store(true, Ordering::SeqCst);
    let running = Running::start(processor(&client, ProcessorOptions::default()), &probe);
    probe.until(|probe| probe.seen() == 1).await;
    running.stop().await;
    let errors = probe.errors.lock().unwrap().clone();
    assert_eq!(errors, [(ErrorSource::UserCallback, Some("0".to_owned()))]);
    assert_eq!(left(&client, "q").await, 0);
}

#[tokio::test]
async fn what_a_handler_settles_the_processor_leaves_alone() {
    let (_emulator, client) = with_messages("q", 1).await;
    let mut probe = Probe::new(1);
    probe.settle = Some(Settlement::dead_letter("Unwanted", "by the handler"));
    let probe = Arc::new(probe);
    let running = Running::start(processor(&client, ProcessorOptions::default()), &probe);
    probe.until(|probe| probe.seen() == 1).await;
    running.stop().await;
    assert!(probe.errors.lock().unwrap().is_empty());
    assert_eq!(
        (left(&client, "q").await, left(&client, &dead_letter_queue("q")).await),
        (0, 1)
    );
}

#[tokio::test]
async fn without_auto_complete_and_settlement_a_message_stays() {
    let (_emulator, client) = with_messages("q", 1).await;
    let probe = Arc::new(Probe::new(1));
    let options = ProcessorOptions::default().with_auto_complete(false);
    let running = Running::start(processor(&client, options), &probe);
    probe.until(|probe| probe.seen() == 1).await;
    running.stop().await;
    assert_eq!(left(&client, "q").await, 1);
}

#[tokio::test]
async fn received_and_deleted_messages_are_handled_without_settling() {
    let (_emulator, client) = with_messages("q", 3).await;
    let probe = Arc::new(Probe::new(3));
    let options = ProcessorOptions::default().with_mode(ReceiveMode::ReceiveAndDelete);
    let running = Running::start(processor(&client, options), &probe);
    probe.until(|probe| probe.seen() == 3).await;
    running.stop().await;
    assert!(probe.errors.lock().unwrap().is_empty());
}

#[tokio::test]
async fn concurrency_changes_while_it_runs() {
    let (_emulator, client) = with_messages("q", 10).await;
    let probe = Arc::new(Probe::new(0));
    let processor = processor(&client, ProcessorOptions::default().with_concurrency(2));
    let control = processor.control();
    let running = Running::start(processor, &probe);
    probe.until(|probe| probe.running.load(Ordering::SeqCst) == 2).await;
    control.set_concurrency(5);
    probe.until(|probe| probe.running.load(Ordering::SeqCst) == 5).await;
    control.set_concurrency(1);
    probe.gate.add_permits(10);
    probe.until(|probe| probe.seen() == 10).await;
    running.stop().await;
    assert_eq!(probe.most.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_pause_lets_the_running_handler_end_gives_back_what_was_fetched_and_ends_with_resume() {
    let (_emulator, client) = with_messages("q", 10).await;
    let probe = Arc::new(Probe::new(0));
    let processor = processor(&client, ProcessorOptions::default().with_prefetch(Prefetch::Fixed(10)));
    let control = processor.control();
    let running = Running::start(processor, &probe);
    probe.until(|probe| probe.running.load(Ordering::SeqCst) == 1).await;
    control.pause();
    probe.gate.add_permits(1);
    probe.until(|probe| probe.seen() == 1).await;
    // The others are free for somebody else, although they were fetched ahead.
    let other = client.create_receiver("q");
    let mut free = HashSet::new();
    while free.len() < 9 {
        for message in soon(other.receive_batch(9, Duration::from_secs(10))).await.unwrap() {
            assert_eq!(message.delivery_count(), 1, "nobody has looked at it");
            free.insert(message.sequence_number());
            soon(other.abandon(&message)).await.unwrap();
        }
    }
    other.close().await;
    assert_eq!(probe.seen(), 1);
    control.resume();
    probe.gate.add_permits(100);
    probe.until(|probe| probe.seen() == 10).await;
    running.stop().await;
}

#[tokio::test]
async fn messages_fetched_ahead_keep_their_locks_while_they_wait() {
    let (_emulator, client) = with_messages("q", 3).await;
    let probe = Arc::new(Probe::new(0));
    let options = ProcessorOptions::default().with_prefetch(Prefetch::Fixed(10));
    let running = Running::start(processor(&client, options), &probe);
    probe.until(|probe| probe.running.load(Ordering::SeqCst) == 1).await;
    // Their locks last 5 seconds.
    let other = client.create_receiver("q");
    let stolen = soon(other.receive_batch(3, Duration::from_secs(7))).await.unwrap();
    assert!(stolen.is_empty(), "{stolen:?}");
    probe.gate.add_permits(3);
    probe.until(|probe| probe.seen() == 3).await;
    running.stop().await;
    assert!(probe.errors.lock().unwrap().is_empty());
}

#[tokio::test]
async fn calls_of_one_session_run_side_by_side_where_allowed() {
    let (_emulator, client) = with_messages("qs", 6).await;
    let probe = Arc::new(Probe::new(0));
    let options = SessionProcessorOptions::default()
        .with_sessions(2)
        .with_calls_per_session(3)
        .with_idle_timeout(Duration::from_millis(200));
    let processor = ServiceBusSessionProcessor::new(client.clone(), "qs", options);
    let running = Running::sessions(processor, &probe);
    probe.until(|probe| probe.running.load(Ordering::SeqCst) == 3).await;
    probe.gate.add_permits(6);
    probe.until(|probe| probe.seen() == 6).await;
    running.stop().await;
    assert_eq!(probe.most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_paused_session_processor_lets_its_session_go_and_comes_back_to_it() {
    let (_emulator, client) = with_messages("qs", 3).await;
    let probe = Arc::new(Probe::new(1));
    let options = SessionProcessorOptions::default().with_sessions(1);
    let processor = ServiceBusSessionProcessor::new(client.clone(), "qs", options);
    let control = processor.control();
    let running = Running::sessions(processor, &probe);
    probe.until(|probe| probe.seen() == 1).await;
    control.pause();
    probe.gate.add_permits(1);
    // Free for others as soon as the handler that runs has ended.
    let accepted = soon(async {
        loop {
            match client.accept_session("qs", "s", &Default::default()).await {
                Ok(session) => return session,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    accepted.close().await;
    control.resume();
    probe.gate.add_permits(10);
    probe.until(|probe| probe.seen() == 3).await;
    running.stop().await;
    assert_eq!(*probe.seen.lock().unwrap(), ["0", "1", "2"]);
}
