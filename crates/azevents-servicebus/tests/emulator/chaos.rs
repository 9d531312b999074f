//! Messages on a bad network: none is lost, none is there twice where the entity detects duplicates, and
//! none stays locked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use azevents_core::RetryPolicy;
use azevents_emulator::{Emulator, Queue};
use azevents_servicebus::{
    ClientOptions, ConnectionString, ErrorKind, ReceivedMessage, Receiver, ReceiverOptions, RetryOptions,
    ServiceBusClient, SessionReceiverOptions, dead_letter_queue,
};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;

use crate::proxy::{ChaosProxy, Fault};
use crate::support::{client, connection_string, id, message, soon};

/// Messages, where the environment does not say how many.
const FEW: usize = 1500;
/// One frame in so many meets a fault.
const RATE: usize = 150;
const SHORTLY: Duration = Duration::from_millis(300);
const LOCK: Duration = Duration::from_secs(5);

fn how_many() -> usize {
    std::env::var("AZEVENTS_CHAOS_MESSAGES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(FEW)
}

/// As long as it takes: a lock that a lost connection leaves behind has to expire.
fn patience() -> Duration {
    Duration::from_secs(120 + how_many() as u64 / 20)
}

/// Gives up on a silent connection after a second.
fn impatient() -> ClientOptions {
    let policy = RetryPolicy::default()
        .with_base(Duration::from_millis(5))
        .with_cap(Duration::from_millis(100));
    let retry = RetryOptions::default()
        .with_policy(policy.with_retries(100))
        .with_try_timeout(Duration::from_secs(3));
    ClientOptions::default()
        .with_retry(retry)
        .with_idle_timeout(Duration::from_secs(1))
}

async fn emulator() -> Emulator {
    let queue = |name| Queue::new(name).with_lock_duration(LOCK).with_max_delivery_count(1000);
    Emulator::builder()
        .queue(queue("dedupe").with_duplicate_detection(Duration::from_secs(3600)))
        .queue(queue("qs").with_sessions())
        .start()
        .await
        .unwrap()
}

async fn before(emulator: &Emulator, seed: u64) -> (ChaosProxy, ServiceBusClient) {
    let direct = connection_string(emulator);
    let port = ConnectionString::parse(direct).unwrap().port();
    let proxy = ChaosProxy::before(port, seed).await;
    let text = proxy.connection_string(direct, port);
    let client = ServiceBusClient::from_connection_string_with(&text, impatient()).unwrap();
    (proxy, client)
}

/// Sequence numbers by message id: a message that was enqueued twice has two.
type Seen = Mutex<BTreeMap<String, BTreeSet<i64>>>;

/// Completes what comes; what that fails for comes again. `seen` has all that came.
async fn complete_all(receiver: &Receiver, messages: &[ReceivedMessage], seen: &Seen) {
    let settled = join_all(messages.iter().map(|message| receiver.complete(message))).await;
    for (message, settled) in messages.iter().zip(settled) {
        let mut seen = seen.lock().unwrap();
        let numbers = seen.entry(id(message).to_owned()).or_default();
        numbers.insert(message.sequence_number());
        match settled {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::MessageLockLost || error.is_transient() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn is_empty(client: &ServiceBusClient, entity: &str) -> bool {
    client.create_receiver(entity).peek(0, 1).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_bad_network_loses_no_message_doubles_none_and_leaves_none_locked() {
    let count = how_many();
    let emulator = emulator().await;
    let (proxy, chaotic) = before(&emulator, 7).await;
    proxy.strike(RATE);
    let (seen, all_sent) = (Seen::default(), AtomicBool::new(false));
    let direct = client(&emulator);
    let sending = async {
        let sender = chaotic.create_sender("dedupe");
        let failed: Vec<_> = stream::iter(0..count)
            .map(|n| {
                let sender = sender.clone();
                async move { sender.send(&message(n)).await }
            })
            .buffer_unordered(50)
            .filter_map(|sent| async { sent.err() })
            .collect()
            .await;
        assert!(failed.is_empty(), "{failed:?}");
        all_sent.store(true, Ordering::Relaxed);
    };
    let receiving = async {
        let options = ReceiverOptions::default().with_prefetch(30);
        let receiver = chaotic.create_receiver_with("dedupe", &options);
        loop {
            let messages = match receiver.receive_batch(30, SHORTLY).await {
                Ok(messages) => messages,
                Err(error) if error.is_transient() => continue,
                Err(error) => panic!("{error}"),
            };
            complete_all(&receiver, &messages, &seen).await;
            // A completion whose answer was lost has happened all the same: only the broker knows.
            let idle = messages.is_empty() && all_sent.load(Ordering::Relaxed);
            if idle && is_empty(&direct, "dedupe").await {
                break;
            }
        }
    };
    let both = async { tokio::join!(Box::pin(sending), Box::pin(receiving)) };
    tokio::time::timeout(patience(), both).await.expect("done in time");
    proxy.strike(0);
    soon(async {
        while !is_empty(&direct, "dedupe").await {
            tokio::time::sleep(SHORTLY).await;
        }
    })
    .await;

    let seen = seen.into_inner().unwrap();
    let doubled: Vec<_> = seen.iter().filter(|(_, numbers)| numbers.len() > 1).collect();
    assert!(doubled.is_empty(), "enqueued twice: {doubled:?}");
    assert!(soon(is_empty(&direct, &dead_letter_queue("dedupe"))).await);
    let struck = proxy.struck();
    eprintln!("{count} messages; faults: {struck:?}");
    assert_eq!(seen.len(), count, "{struck:?}");
    assert!(
        struck.contains_key(&Fault::Cut) || struck.contains_key(&Fault::Halve),
        "{struck:?}"
    );
}

#[tokio::test]
async fn on_a_bad_network_a_sessions_messages_are_completed_in_order() {
    const EACH: usize = 40;
    let emulator = emulator().await;
    let (proxy, chaotic) = before(&emulator, 11).await;
    let sender = client(&emulator).create_sender("qs");
    let sessions = ["a", "b", "c"];
    for session in sessions {
        let mut batch = soon(sender.create_batch()).await.unwrap();
        for n in 0..EACH {
            assert!(batch.try_add(&message(n).with_session_id(session)).unwrap());
        }
        soon(sender.send_batch(batch)).await.unwrap();
    }
    proxy.strike(40);
    let in_order = async |session: &str| {
        let options = SessionReceiverOptions::default().with_accept_timeout(Duration::from_secs(2));
        let mut next = 0;
        while next < EACH {
            let Ok(held) = chaotic.accept_session("qs", session, &options).await else {
                // Held by a link that was cut, or the network again.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            while let Ok(messages) = held.receive_batch(5, SHORTLY).await {
                if messages.is_empty() {
                    break;
                }
                for message in &messages {
                    let number: usize = id(message).parse().unwrap();
                    // One that was completed without our knowing is not there any more; none is skipped.
                    assert!(
                        number == next || number == next + 1,
                        "{number} after {next} in {session}"
                    );
                    next = number;
                    if held.complete(message).await.is_err() {
                        break;
                    }
                    next = number + 1;
                }
            }
            if is_session_empty(&emulator, session).await {
                break;
            }
        }
    };
    let all = join_all(sessions.map(in_order));
    tokio::time::timeout(patience(), all).await.expect("done in time");
}

async fn is_session_empty(emulator: &Emulator, session: &str) -> bool {
    let left = client(emulator).create_receiver("qs").peek(0, 1000).await.unwrap();
    left.iter().all(|message| message.session_id() != Some(session))
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let emulator = emulator().await;
    let (proxy, client) = before(&emulator, 1).await;
    let (sender, receiver) = (client.create_sender("dedupe"), client.create_receiver("dedupe"));
    soon(sender.send(&message(1))).await.unwrap();
    let received = soon(receiver.receive()).await.unwrap();
    soon(receiver.complete(&received)).await.unwrap();
    let waiting = receiver.receive();
    let sending = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.freeze();
        sender.send(&message(2)).await
    };
    let (received, sent) = soon(async { tokio::join!(waiting, sending) }).await;
    sent.unwrap();
    assert_eq!(id(&received.unwrap()), "2");
}
