//! Three processors, 32 partitions, and a schedule of crashes, arrivals and cut lines to the lease store: every event is
//! handled, each key in order, and no checkpoint is ever ahead of an event that is neither handled nor parked.
//!
//! `AZEVENTS_TURMOIL_EVENTS` sets how many events, `AZEVENTS_TURMOIL_SEED` the schedule.

mod ledger;
mod line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use azevents_core::{BatchLimits, Message, Pipeline, Publisher};
use azevents_eventhubs::{ConsumerOptions, EventHubs, Placement, PublisherOptions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Bench, GROUP, HUB, Running, message, quick};
use ledger::{Ledger, Parking, Worker};
use line::Line;

const PARTITIONS: u32 = 32;
const PROCESSORS: usize = 3;
const KEYS: usize = 7;
/// Of so many events one can't be handled, and another one only at its third delivery.
const TROUBLE: usize = 101;
const LEASE: Duration = Duration::from_millis(1500);
/// What is to be done is done once every so many parts of the events, or when nothing has moved for this long.
const STEPS: usize = 60;
const STEP: Duration = Duration::from_secs(2);
/// Nothing may stand still for as long as this.
const STALLED: Duration = Duration::from_secs(60);

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is to be a number, not {value:?}"))
    })
}

/// The events of a partition: there the `n`th has the sequence number `n`, for each partition is published by itself.
fn events(partition: u32, count: usize) -> Vec<Message> {
    (0..count)
        .map(|n| {
            let mut event = message(&format!("order-{partition}-{}", n % KEYS), n / KEYS);
            event.id = format!("{partition}/{n}");
            event
        })
        .collect()
}

fn trouble(n: usize) -> Option<ledger::Trouble> {
    match n % TROUBLE {
        50 => Some(ledger::Trouble::Poison),
        77 => Some(ledger::Trouble::Fails(2)),
        _ => None,
    }
}

/// Publishes to all partitions in turn, while consumers read.
async fn publish(hubs: EventHubs, each: usize) {
    let publishers: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let to = Placement::Partition(partition.to_string());
            let options = PublisherOptions::default().with_placement(to).with_connections(1);
            (hubs.publisher(HUB).with_options(options), events(partition, each))
        })
        .collect();
    let part = each.div_ceil(10);
    for from in (0..each).step_by(part) {
        for (publisher, events) in &publishers {
            let events = &events[from..each.min(from + part)];
            publisher.publish(events).await.expect("published");
        }
    }
}

/// One processor: the consumer and its line to the lease store.
struct Processor {
    running: Running,
    line: Line,
}

struct Turmoil {
    bench: Bench,
    ledger: Arc<Ledger>,
    processors: Vec<Processor>,
    started: usize,
    random: StdRng,
    log: String,
}

impl Turmoil {
    fn options() -> ConsumerOptions {
        quick()
            .with_lease_duration(LEASE)
            .with_concurrency(4)
            .with_checkpoints(20, Duration::from_millis(200))
    }

    fn start(&mut self) {
        let line = Line::new(self.bench.leases.clone(), self.ledger.clone(), self.random.random());
        let parking = Arc::new(Parking(self.ledger.clone()));
        let hubs = self.bench.hubs();
        let consumer = hubs
            .consumer(HUB, GROUP, Arc::new(line.clone()), parking)
            .with_options(Self::options());
        let worker = Arc::new(Worker(self.ledger.clone()));
        // Every other one takes batches.
        let pipeline = if self.started.is_multiple_of(2) {
            Pipeline::new(worker)
        } else {
            Pipeline::in_batches(worker, BatchLimits::default().with_messages(8))
        };
        self.started += 1;
        self.processors.push(Processor {
            running: Running::through(consumer, pipeline),
            line,
        });
    }

    /// One thing that happens.
    async fn step(&mut self) {
        let one = self.random.random_range(0..self.processors.len());
        match self.random.random_range(0..6) {
            // Killed, and perhaps followed by another.
            0 | 1 => {
                let killed = self.processors.swap_remove(one);
                self.log.push('k');
                killed.running.crash().await;
            }
            2 => {
                let stopped = self.processors.swap_remove(one);
                stopped.line.cut(false);
                self.log.push('s');
                stopped.running.stop().await.expect("stopped");
            }
            // Cut off from the leases, while the hub can be reached.
            3 | 4 => {
                self.log.push('c');
                self.processors[one].line.cut(true);
            }
            _ => {}
        }
        for processor in &self.processors {
            if self.random.random_bool(0.5) {
                processor.line.cut(false);
            }
        }
        while self.processors.is_empty() || (self.processors.len() < PROCESSORS && self.random.random_bool(0.6)) {
            self.log.push('a');
            self.start();
        }
        if self.processors.len() == PROCESSORS && self.random.random_bool(0.1) {
            self.log.push('a');
            self.start();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_reordered_or_passed_over_whatever_happens_to_processors() {
    let each = setting("AZEVENTS_TURMOIL_EVENTS", 3_200).div_ceil(PARTITIONS as usize);
    let total = each * PARTITIONS as usize;
    let bench = Bench::start(PARTITIONS).await;
    let ledger = Arc::new(Ledger::new(PARTITIONS, each));
    let mut turmoil = Turmoil {
        random: StdRng::seed_from_u64(setting("AZEVENTS_TURMOIL_SEED", 5) as u64),
        ledger: ledger.clone(),
        bench,
        processors: Vec::new(),
        started: 0,
        log: String::new(),
    };
    let begun = Instant::now();
    for _ in 0..PROCESSORS {
        turmoil.start();
    }
    let publishing = tokio::spawn(publish(turmoil.bench.hubs(), each));
    let (mut next, mut moved, mut seen, mut longest) = (0, Instant::now(), 0, Duration::ZERO);
    while ledger.finished() < total {
        ledger.reaches(next, STEP).await;
        let now = ledger.finished();
        if now > seen {
            longest = longest.max(moved.elapsed());
            (seen, moved) = (now, Instant::now());
        }
        assert!(
            moved.elapsed() < STALLED,
            "{now} of {total} after {}: {}",
            turmoil.log,
            ledger.stands()
        );
        if now >= next || moved.elapsed() >= STEP {
            next = now + total / STEPS;
            turmoil.step().await;
        }
    }
    publishing.await.expect("published");
    for processor in turmoil.processors.drain(..) {
        processor.line.cut(false);
        processor.running.stop().await.expect("stopped");
    }
    // A processor that was the last to be killed has left its last checkpoint unwritten.
    turmoil.start();
    let last = turmoil.processors.remove(0);
    ledger.all_checkpointed(STALLED).await;
    last.running.stop().await.expect("stopped");

    ledger.check();
    println!(
        "{total} events, {} finished twice or more, {} parked, {} checkpoints, {} processors, {}, {:.1} s, at most {:.1} s without an event",
        ledger.copies(),
        ledger.parked(),
        ledger.checkpoints(),
        turmoil.started,
        turmoil.log,
        begun.elapsed().as_secs_f64(),
        longest.as_secs_f64()
    );
}
