//! What was handled, parked and checkpointed, by whomever, and whether it had to be so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use azevents_core::{
    BatchHandler, Checkpoint, DeadLetter, DeadLetterSink, Delivery, FeedRange, Handled, Handler, HandlerError, Message,
    Result,
};
use azevents_eventhubs::PARKED_SEQUENCE_NUMBER;
use serde_json::Value;
use tokio::sync::watch;

/// How an event behaves.
#[derive(Clone, Copy)]
pub(super) enum Trouble {
    Poison,
    /// At the first deliveries, this many.
    Fails(u32),
}

/// One partition.
#[derive(Default)]
struct Track {
    /// By sequence number.
    finished: Vec<bool>,
    /// Everything before this is finished, as far as it was looked at.
    looked: usize,
    /// The next event of each key that was not seen yet.
    next: BTreeMap<String, usize>,
    parked: usize,
    /// The last checkpoint.
    checkpoint: Option<usize>,
}

#[derive(Default)]
struct State {
    tracks: Vec<Track>,
    copies: usize,
    checkpoints: usize,
    wrong: Vec<String>,
}

pub(super) struct Ledger {
    state: Mutex<State>,
    finished: watch::Sender<usize>,
}

/// Partition and sequence number, as the id says them.
fn place(message: &Message) -> (usize, usize) {
    let (partition, number) = message.id.split_once('/').expect("partition/number");
    (partition.parse().expect("a number"), number.parse().expect("a number"))
}

impl Ledger {
    pub(super) fn new(partitions: u32, each: usize) -> Self {
        let track = || Track {
            finished: vec![false; each],
            ..Track::default()
        };
        let state = State {
            tracks: (0..partitions).map(|_| track()).collect(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            finished: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An event was handled or parked.
    fn finish(&self, message: &Message, parked: bool) {
        let (partition, number) = place(message);
        let mut state = self.state();
        let track = &mut state.tracks[partition];
        let of_key: usize = number / super::KEYS;
        let next = track.next.entry(message.key.clone()).or_default();
        let overtook = (of_key > *next).then(|| format!("{} came before its predecessor, {next} was next", message.id));
        *next = (*next).max(of_key + 1);
        let copy = std::mem::replace(&mut track.finished[number], true);
        track.parked += usize::from(parked && !copy);
        state.copies += usize::from(copy);
        state.wrong.extend(overtook);
        drop(state);
        if !copy {
            self.finished.send_modify(|finished| *finished += 1);
        }
    }

    /// A checkpoint is about to be written, by whomever and however late.
    pub(super) fn look_at(&self, range: &FeedRange, checkpoint: &Checkpoint) {
        let Some(number) = sequence_number(range, checkpoint) else {
            return;
        };
        let mut state = self.state();
        let track = &mut state.tracks[range.0.parse::<usize>().expect("a partition")];
        while track.looked <= number && track.finished[track.looked] {
            track.looked += 1;
        }
        let ahead = (track.looked <= number).then(|| {
            format!(
                "a checkpoint of {range} at {number} is ahead of {}, which is unfinished",
                track.looked
            )
        });
        let miscounted = (checkpoint.events != number as u64 + 1).then(|| {
            format!(
                "a checkpoint of {range} at {number} counts {} events",
                checkpoint.events
            )
        });
        state.wrong.extend(ahead.into_iter().chain(miscounted));
    }

    /// A checkpoint was written.
    pub(super) fn written(&self, range: &FeedRange, checkpoint: &Checkpoint) {
        let Some(number) = sequence_number(range, checkpoint) else {
            return;
        };
        let mut state = self.state();
        state.checkpoints += 1;
        let track = &mut state.tracks[range.0.parse::<usize>().expect("a partition")];
        let back = track
            .checkpoint
            .filter(|last| *last > number)
            .map(|last| format!("the checkpoint of {range} went back from {last} to {number}"));
        track.checkpoint = Some(number);
        state.wrong.extend(back);
    }

    pub(super) fn finished(&self) -> usize {
        *self.finished.borrow()
    }

    /// Waits until so many are finished, at most for a while.
    pub(super) async fn reaches(&self, finished: usize, limit: Duration) {
        let mut changes = self.finished.subscribe();
        let _ = tokio::time::timeout(limit, changes.wait_for(|now| *now >= finished)).await;
    }

    /// Waits until every partition's checkpoint is at its end.
    pub(super) async fn all_checkpointed(&self, limit: Duration) {
        let at_end = |track: &Track| track.checkpoint.map_or(0, |last| last + 1) == track.finished.len();
        let waiting = async {
            while !self.state().tracks.iter().all(at_end) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(limit, waiting).await;
        assert!(waited.is_ok(), "not all is checkpointed: {}", self.stands());
    }

    /// What is unfinished, for whoever has to find out why.
    pub(super) fn stands(&self) -> String {
        let state = self.state();
        let unfinished = state.tracks.iter().enumerate().filter_map(|(partition, track)| {
            let first = track.finished.iter().position(|finished| !finished)?;
            Some(format!("{partition} from {first}, checkpoint {:?}", track.checkpoint))
        });
        unfinished.collect::<Vec<_>>().join("; ")
    }

    /// Fails if anything was wrong on the way.
    pub(super) fn check(&self) {
        let state = self.state();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
        for (partition, track) in state.tracks.iter().enumerate() {
            let poison = |n: &usize| matches!(super::trouble(*n), Some(Trouble::Poison));
            let expected = (0..track.finished.len()).filter(poison).count();
            assert_eq!(track.parked, expected, "parked of {partition}");
        }
    }

    pub(super) fn copies(&self) -> usize {
        self.state().copies
    }

    pub(super) fn checkpoints(&self) -> usize {
        self.state().checkpoints
    }

    pub(super) fn parked(&self) -> usize {
        self.state().tracks.iter().map(|track| track.parked).sum()
    }
}

/// The last event that a checkpoint has passed. `None` for those of members' seats.
fn sequence_number(range: &FeedRange, checkpoint: &Checkpoint) -> Option<usize> {
    let value: Value = serde_json::from_str(&checkpoint.continuation.0).expect("a position");
    let number = value["sequenceNumber"].as_u64();
    assert!(number.is_some(), "{range}: {value}");
    number.map(|number| number as usize)
}

/// Handles an event with an effect in the ledger.
pub(super) struct Worker(pub(super) Arc<Ledger>);

#[async_trait]
impl Handler for Worker {
    async fn handle(&self, message: &Message, delivery: &Delivery) -> Result<Handled, HandlerError> {
        tokio::task::yield_now().await;
        match super::trouble(place(message).1) {
            Some(Trouble::Poison) => return Err(HandlerError::permanent("Poison", "cannot be handled")),
            Some(Trouble::Fails(times)) if delivery.count <= times => return Err(HandlerError::transient("not yet")),
            _ => self.0.finish(message, false),
        }
        // A crash may come between the effect and the answer.
        tokio::task::yield_now().await;
        Ok(Handled::Done)
    }
}

#[async_trait]
impl BatchHandler for Worker {
    /// Stops at the first that fails, with the effects of those before it.
    async fn handle_batch(&self, messages: &[&Message], delivery: &Delivery) -> Result<(), HandlerError> {
        for message in messages {
            self.handle(message, delivery).await?;
        }
        Ok(())
    }
}

/// Keeps dead letters in the ledger.
pub(super) struct Parking(pub(super) Arc<Ledger>);

#[async_trait]
impl DeadLetterSink for Parking {
    async fn set_aside(&self, message: &Message, _: &DeadLetter) -> Result<()> {
        let number = place(message).1.to_string();
        assert_eq!(message.headers[PARKED_SEQUENCE_NUMBER], number, "where it came from");
        tokio::task::yield_now().await;
        self.0.finish(message, true);
        Ok(())
    }
}
