//! The program killed in the middle of its work, again and again, on one data folder.

mod cosmos;
mod servicebus;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::Value;
use tokio::sync::Notify;

/// A folder with a configuration file and the state; goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, config: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("killed-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), config).unwrap();
        Self(folder)
    }

    fn start(&self) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_azevents-emulator"))
            .args(["--log", "warn", "--config"])
            .arg(self.0.join("config.toml"))
            .arg("--data")
            .arg(self.0.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).expect("the ready line");
        Program { child, ready }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running program; dropping it kills it as `kill -9` does.
struct Program {
    child: Child,
    ready: Value,
}

impl Program {
    fn text(&self, pointer: &str) -> String {
        let text = self.ready.pointer(pointer).and_then(Value::as_str);
        text.expect(pointer).to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until it is killed");
        self.child.wait().expect("it ends");
    }
}

/// What clients know, over all lives of the program. Clones share it.
struct Known<T> {
    known: Arc<Mutex<(T, usize)>>,
    progress: Arc<Notify>,
}

impl<T> Clone for Known<T> {
    fn clone(&self) -> Self {
        Self {
            known: Arc::clone(&self.known),
            progress: Arc::clone(&self.progress),
        }
    }
}

impl<T: Default> Known<T> {
    fn new() -> Self {
        Self {
            known: Arc::default(),
            progress: Arc::default(),
        }
    }

    /// Something was acknowledged.
    fn learn(&self, what: impl FnOnce(&mut T)) {
        let mut known = self.lock();
        what(&mut known.0);
        known.1 += 1;
        self.progress.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, (T, usize)> {
        self.known.lock().unwrap()
    }

    /// Waits until so many things more are acknowledged.
    async fn progress(&self, by: usize) {
        let until = self.lock().1 + by;
        while self.lock().1 < until {
            self.progress.notified().await;
        }
    }
}

/// After how many acknowledgements each round ends: 3 rounds, unless `AZEVENTS_KILLS` says otherwise.
fn moments() -> impl Iterator<Item = usize> {
    let rounds: usize = std::env::var("AZEVENTS_KILLS").map_or(3, |rounds| rounds.parse().expect("a number"));
    let mut seed = 42_u64;
    (0..rounds).map(move |_| {
        // Numerical Recipes' generator: the same moments in every run.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        20 + usize::try_from(seed >> 33).unwrap() % 200
    })
}
