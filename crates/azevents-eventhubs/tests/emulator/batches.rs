//! Batch handlers: in order, bounded, apart where one event fails, never past an unfinished one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::memory::MemoryInbox;
use azevents_core::{
    BatchHandler, BatchLimits, Delivery, Handled, Handler, HandlerError, Idempotent, Message, Pipeline, Publisher,
};
use tokio::sync::{Semaphore, watch};

use crate::support::{Bench, Failure, Recorder, Running, assert_in_order, eventually, interleaved, message, quick};

/// Hands what it is given to a recorder, if none of it fails, and remembers how many there were at once.
struct Together {
    recorder: Recorder,
    sizes: watch::Sender<Vec<usize>>,
    /// A permit per batch.
    turns: Semaphore,
}

impl Together {
    fn new(recorder: &Recorder, turns: usize) -> Arc<Self> {
        Arc::new(Self {
            recorder: recorder.clone(),
            sizes: watch::Sender::new(Vec::new()),
            turns: Semaphore::new(turns),
        })
    }

    fn pipeline(self: &Arc<Self>, messages: usize) -> Pipeline {
        Pipeline::in_batches(self.clone(), BatchLimits::default().with_messages(messages))
    }

    fn largest(&self) -> usize {
        self.sizes.borrow().iter().copied().max().unwrap_or_default()
    }
}

#[async_trait]
impl BatchHandler for Together {
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        self.sizes.send_modify(|sizes| sizes.push(messages.len()));
        self.turns.acquire().await.map_err(HandlerError::transient)?.forget();
        if messages.iter().any(|message| self.recorder.fails(&message.id)) && messages.len() > 1 {
            return Err(HandlerError::transient("not all of these"));
        }
        for message in messages {
            let Handled::Done = self.recorder.handle(message, delivery).await? else {
                unreachable!("a recorder knows no copies");
            };
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handler_gets_many_events_at_once_in_order_per_key() {
    let bench = Bench::start(2).await;
    let messages = interleaved(20, 20);
    bench.publisher().publish(&messages).await.expect("published");
    let recorder = Recorder::new();
    let together = Together::new(&recorder, 10_000);
    let consumer = bench.consumer(quick().with_concurrency(2));
    let running = Running::through(consumer, together.pipeline(16));
    recorder
        .until("all arrive", |seen| seen.ids().len() == messages.len())
        .await;
    running.stop().await.expect("stopped");
    assert_in_order(&recorder.messages());
    assert!((2..=16).contains(&together.largest()), "{:?}", together.sizes.borrow());
    assert_eq!(bench.checkpointed().await, messages.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poison_event_of_a_batch_is_parked_alone_and_nothing_has_a_second_effect() {
    let bench = Bench::start(1).await;
    let messages: Vec<_> = (0..40).map(|number| message("order-1", number)).collect();
    bench.publisher().publish(&messages).await.expect("published");
    let recorder = Recorder::new()
        .failing("order-1/17", Failure::Permanent)
        .failing("order-1/23", Failure::Times(1));
    let together = Together::new(&recorder, 10_000);
    let handler = Idempotent::new("analytics", together.clone(), MemoryInbox::new());
    let pipeline = Pipeline::in_batches(Arc::new(handler), BatchLimits::default().with_messages(10));
    let running = Running::through(bench.consumer(quick().with_concurrency(1)), pipeline);
    recorder.until("all arrive", |seen| seen.distinct() == 40).await;
    running.stop().await.expect("stopped");

    let parked = bench.parking.all();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0].0.id, "order-1/17");
    assert_in_order(&recorder.messages());
    assert_eq!(recorder.deliveries("order-1/23"), [1, 2], "tried again alone");
    assert_eq!(recorder.ids().len(), 41, "nothing else twice");
    assert_eq!(bench.checkpointed().await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_never_passes_a_batch_that_is_unfinished_and_a_crash_repeats_it() {
    let bench = Bench::start(1).await;
    let messages: Vec<_> = (0..30).map(|number| message("order-1", number)).collect();
    bench.publisher().publish(&messages).await.expect("published");
    let options = quick().with_owner("reader").with_concurrency(1);
    let first = Recorder::new();
    // Two batches go through, the third hangs.
    let together = Together::new(&first, 2);
    let limits = BatchLimits::default()
        .with_messages(10)
        .with_linger(Duration::from_secs(20));
    let pipeline = Pipeline::in_batches(together.clone(), limits);
    let crashing = Running::through(bench.consumer(options.clone()), pipeline);
    eventually("the third batch is begun", || async {
        together.sizes.borrow().len() == 3
    })
    .await;
    eventually("what came before is checkpointed", || async {
        bench.checkpointed().await == 20
    })
    .await;
    crashing.crash().await;
    assert_eq!(bench.checkpointed().await, 20);

    let second = Recorder::new();
    let together = Together::new(&second, 10_000);
    let running = Running::through(bench.consumer(options), together.pipeline(10));
    second.until("the rest arrives", |seen| seen.ids().len() == 10).await;
    running.stop().await.expect("stopped");
    assert_eq!(second.messages(), messages[20..]);
}
