//! What a journal promises, on real files.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::state::{DataFolder, Sink, frame::HEAD};

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("azevents-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<Folder, DataError> {
        Folder::open(&DataFolder::new(&self.0))
    }

    fn log(&self) -> PathBuf {
        self.0.join("numbers.log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(folder: &Folder) -> Result<(Vec<u64>, Recovered), DataError> {
    let mut numbers = Vec::new();
    let recovered = folder.recover("numbers", |record| {
        let number: u64 = record.read()?;
        assert!(record.bytes.iter().all(|byte| u64::from(*byte) == number % 256));
        numbers.push(number);
        Ok(())
    })?;
    Ok((numbers, recovered))
}

fn start(recovered: Recovered, snapshot: Snapshot) -> Journal {
    let journal = Journal::default();
    recovered.start(&journal, snapshot).unwrap();
    journal
}

fn nothing() -> Snapshot {
    Box::new(|_: &mut Sink| {})
}

fn append(journal: &Journal, number: u64, bytes: usize) {
    let filler = vec![(number % 256) as u8; bytes];
    journal.append(&number, &[&filler], |_| {});
}

#[tokio::test]
async fn what_is_written_is_there_the_next_time_in_order() {
    let scratch = Scratch::new("order");
    for round in 0..3 {
        let folder = scratch.open().unwrap();
        let (numbers, recovered) = read(&folder).unwrap();
        assert_eq!(numbers, (0..round * 100).collect::<Vec<_>>());
        let journal = start(recovered, nothing());
        for number in round * 100..(round + 1) * 100 {
            append(&journal, number, 10);
        }
        journal.written().await.unwrap();
        journal.close().await;
        assert_eq!(journal.written().await, Err(NotWritten));
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let scratch = Scratch::new("torn");
    let journal = start(read(&scratch.open().unwrap()).unwrap().1, nothing());
    append(&journal, 1, 50);
    journal.written().await.unwrap();
    let whole = std::fs::metadata(scratch.log()).unwrap().len();
    append(&journal, 2, 50);
    journal.close().await;
    drop(journal);
    let bytes = std::fs::read(scratch.log()).unwrap();
    for end in whole as usize..bytes.len() {
        std::fs::write(scratch.log(), &bytes[..end]).unwrap();
        let folder = scratch.open().unwrap();
        assert_eq!(read(&folder).unwrap().0, [1]);
        assert_eq!(std::fs::metadata(scratch.log()).unwrap().len(), whole);
    }
    // Power lost: the length is there, the content isn't.
    let mut zeroed = bytes.clone();
    zeroed[whole as usize..].fill(0);
    std::fs::write(scratch.log(), &zeroed).unwrap();
    assert_eq!(read(&scratch.open().unwrap()).unwrap().0, [1]);
}

#[tokio::test]
async fn damage_before_the_end_is_an_error_and_not_a_loss() {
    let scratch = Scratch::new("damage");
    let journal = start(read(&scratch.open().unwrap()).unwrap().1, nothing());
    (1..=3).for_each(|number| append(&journal, number, 50));
    journal.close().await;
    drop(journal);
    let mut bytes = std::fs::read(scratch.log()).unwrap();
    bytes[MAGIC.len() + HEAD + 20] ^= 1;
    std::fs::write(scratch.log(), &bytes).unwrap();
    let error = read(&scratch.open().unwrap()).err().unwrap();
    assert!(matches!(error, DataError::Damaged { at: 8, .. }), "{error}");
    assert_eq!(std::fs::read(scratch.log()).unwrap(), bytes, "nothing is changed");
    std::fs::write(scratch.log(), b"something else").unwrap();
    assert!(matches!(
        read(&scratch.open().unwrap()),
        Err(DataError::Damaged { at: 0, .. })
    ));
}

#[tokio::test]
async fn a_folder_belongs_to_one_emulator_at_a_time() {
    let scratch = Scratch::new("lock");
    let folder = scratch.open().unwrap();
    if cfg!(unix) {
        assert!(matches!(scratch.open(), Err(DataError::InUse { .. })));
    }
    let journal = start(read(&folder).unwrap().1, nothing());
    drop(folder);
    if cfg!(unix) {
        assert!(scratch.open().is_err(), "the journal may still write");
    }
    journal.close().await;
    scratch.open().unwrap();
}

#[tokio::test]
async fn a_log_written_anew_has_the_state_and_all_that_came_after() {
    let scratch = Scratch::new("anew");
    let live = Arc::new(Mutex::new(Vec::new()));
    let rewritten = Arc::new(AtomicUsize::new(0));
    let folder = scratch.open().unwrap();
    let (state, times) = (Arc::clone(&live), Arc::clone(&rewritten));
    let snapshot: Snapshot = Box::new(move |sink| {
        times.fetch_add(1, Ordering::Relaxed);
        for number in state.lock().unwrap().iter() {
            sink.record(number, &[]);
        }
    });
    let journal = start(read(&folder).unwrap().1, snapshot);
    // Only the last ten are worth keeping.
    for number in 0..3000_u64 {
        let live = Arc::clone(&live);
        let filler = vec![(number % 256) as u8; 20_000];
        journal.append(&number, &[&filler], move |_| {
            let mut live = live.lock().unwrap();
            live.push(number);
            let excess = live.len().saturating_sub(10);
            live.drain(..excess);
        });
        if number % 100 == 0 {
            journal.written().await.unwrap();
        }
    }
    journal.close().await;
    assert!(rewritten.load(Ordering::Relaxed) >= 2);
    assert!(std::fs::metadata(scratch.log()).unwrap().len() < 20 * 1024 * 1024);
    drop((journal, folder));
    let (numbers, _) = read(&scratch.open().unwrap()).unwrap();
    assert!(numbers.is_sorted() && numbers.ends_with(&[2997, 2998, 2999]));
    assert!(numbers.len() < 1500);
}

/// Of each last digit the last number.
#[cfg(feature = "cosmos")]
fn condense(log: &Written, sink: &mut Sink, mut between: impl FnMut()) -> Result<bool, DataError> {
    let mut last = std::collections::BTreeMap::new();
    log.read(|record| {
        let number: u64 = record.read()?;
        last.insert(number % 10, number);
        Ok(())
    })?;
    log.read(|record| {
        between();
        let number: u64 = record.read()?;
        if last[&(number % 10)] == number {
            sink.record(&number, &[record.bytes]);
        }
        Ok(())
    })?;
    Ok(true)
}

#[cfg(feature = "cosmos")]
#[tokio::test]
async fn a_kill_while_a_log_is_condensed_loses_nothing_and_writers_go_on_meanwhile() {
    let scratch = Scratch::new("condensed");
    let folder = scratch.open().unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    // What a kill leaves, with what was acknowledged then.
    let kills: Arc<Mutex<Vec<(usize, Scratch)>>> = Arc::default();
    // At each of the first records something more is acknowledged before it goes on.
    let kill = {
        let (kills, acknowledged, log) = (Arc::clone(&kills), Arc::clone(&acknowledged), scratch.log());
        move || {
            let mut kills = kills.lock().unwrap();
            if kills.len() == 50 {
                return;
            }
            let before = acknowledged.load(Ordering::SeqCst);
            while acknowledged.load(Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
            let left = Scratch::new(&format!("condensed-{}", kills.len()));
            std::fs::create_dir(&left.0).unwrap();
            for name in ["numbers.log", "numbers.log.new"] {
                std::fs::copy(log.with_file_name(name), left.0.join(name)).unwrap();
            }
            kills.push((before + 1, left));
        }
    };
    let journal = Journal::default();
    let condense: Condense = Arc::new(move |log, sink| condense(log, sink, &kill));
    read(&folder)
        .unwrap()
        .1
        .start_condensing(&journal, 4000, condense)
        .unwrap();
    // Twice, so that what was written beside it is condensed as well.
    let (mut shrunk, mut number, mut before) = (0, 0, 0);
    while shrunk < 2 {
        append(&journal, number, 50);
        journal.written().await.unwrap();
        number += 1;
        acknowledged.fetch_add(1, Ordering::SeqCst);
        let length = std::fs::metadata(scratch.log()).unwrap().len();
        shrunk += usize::from(length < before);
        before = length;
    }
    journal.close().await;
    drop((journal, folder));
    let kills = std::mem::take(&mut *kills.lock().unwrap());
    assert_eq!(kills.len(), 50);
    let all = (acknowledged.load(Ordering::SeqCst), scratch);
    for (acknowledged, left) in kills.iter().chain([&all]) {
        let numbers = read(&left.open().unwrap()).unwrap().0;
        for digit in 0..10 {
            let last = numbers.iter().rev().find(|number| **number % 10 == digit);
            let expected = (0..*acknowledged as u64).rev().find(|number| number % 10 == digit);
            assert!(last >= expected.as_ref(), "{last:?} of {acknowledged}");
        }
        assert!(numbers.is_sorted());
    }
}
