//! The program killed in the middle of its work, again and again, on one data folder.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use azure_messaging_eventhubs::{SendEventOptions, StartLocation};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::client::{body, consumer_at, endpoint_in, from, producer_at, read};

const CONFIG: &str = r#"{"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"n","Entities":[
    {"Name":"order-events","PartitionCount":4,"ConsumerGroups":[]}]}]}}"#;

/// A folder with a configuration file and the state; goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("killed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Config.json"), CONFIG).unwrap();
        Self(folder)
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
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_azevents-emulator"))
            .args(["--log", "warn", "--config"])
            .arg(folder.join("Config.json"))
            .arg("--data")
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).expect("the ready line");
        Self { child, ready }
    }

    fn text(&self, pointer: &str) -> String {
        self.ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect(pointer)
            .to_owned()
    }

    fn eventhubs(&self) -> String {
        endpoint_in(&self.text("/eventhubs/connection_string"))
    }

    fn blobs(&self) -> Blobs {
        let endpoint = self.text("/blobs/endpoint");
        let (host, account) = endpoint.trim_start_matches("http://").split_once('/').expect("a path");
        Blobs {
            host: host.to_owned(),
            account: account.to_owned(),
            sas: self.text("/blobs/sas"),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until it is killed");
        self.child.wait().expect("it ends");
    }
}

/// As little of a client as will do.
struct Blobs {
    host: String,
    account: String,
    sas: String,
}

impl Blobs {
    /// Status and body; `None` if there was no answer.
    async fn request(&self, method: &str, path: &str, query: &str, body: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(&self.host).await.ok()?;
        let Self { host, account, sas } = self;
        let request = format!(
            "{method} /{account}/{path}?{query}{sas} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             x-ms-blob-type: BlockBlob\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// What was acknowledged so far, over all lives.
#[derive(Default)]
struct Acknowledged {
    /// By sender, in order: (partition, text).
    events: BTreeMap<usize, Vec<(String, String)>>,
    /// The last content of each blob.
    blobs: BTreeMap<String, u64>,
    count: usize,
}

type Shared = Arc<Mutex<Acknowledged>>;

/// Sends until it is aborted, and notes what is acknowledged.
async fn send_events(endpoint: String, sender: usize, round: u64, acknowledged: Shared, progress: Arc<Notify>) {
    let producer = producer_at(endpoint).await;
    for n in 0.. {
        let partition = (n % 4).to_string();
        let text = format!("{sender}/{round}/{n}");
        let to = SendEventOptions {
            partition_id: Some(partition.clone()),
        };
        producer.send_event(text.clone(), Some(to)).await.expect("sent");
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.events.entry(sender).or_default().push((partition, text));
        acknowledged.count += 1;
        progress.notify_one();
    }
}

async fn write_blobs(blobs: Blobs, round: u64, acknowledged: Shared, progress: Arc<Notify>) {
    for n in 0.. {
        let (name, content) = (format!("checkpoint-{}", n % 3), round * 1_000_000 + n);
        let path = format!("checkpoints/{name}");
        let Some((201, _)) = blobs.request("PUT", &path, "", &content.to_string()).await else {
            return;
        };
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.blobs.insert(name, content);
        acknowledged.count += 1;
        progress.notify_one();
    }
}

/// Works on a running emulator until so many things more are acknowledged, and kills it then.
async fn work_and_kill(program: Program, round: u64, kill_after: usize, acknowledged: &Shared) {
    let progress = Arc::new(Notify::new());
    let until = acknowledged.lock().unwrap().count + kill_after;
    let blobs = program.blobs();
    let made = blobs.request("PUT", "checkpoints", "restype=container&", "").await;
    assert!(matches!(made, Some((201 | 409, _))), "{made:?}");
    let mut work = tokio::task::JoinSet::new();
    work.spawn(write_blobs(
        blobs,
        round,
        Arc::clone(acknowledged),
        Arc::clone(&progress),
    ));
    for sender in 0..3 {
        let (acknowledged, progress) = (Arc::clone(acknowledged), Arc::clone(&progress));
        work.spawn(send_events(program.eventhubs(), sender, round, acknowledged, progress));
    }
    while acknowledged.lock().unwrap().count < until {
        progress.notified().await;
    }
    drop(program);
    work.shutdown().await;
}

/// Everything in the hub: sequence number, offset and text, by partition.
async fn events(program: &Program) -> BTreeMap<String, Vec<(i64, String, String)>> {
    let mut events = BTreeMap::new();
    for partition in ["0", "1", "2", "3"] {
        let client = consumer_at(program.eventhubs(), "$Default").await;
        let last = client.get_partition_properties(partition).await.expect("properties");
        let count = usize::try_from(last.last_enqueued_sequence_number + 1).unwrap();
        let read = read(&client, partition, from(StartLocation::Earliest), count).await;
        let read = read.iter().map(|event| {
            let offset = event.offset().clone().expect("an offset");
            (event.sequence_number().expect("a number"), offset, body(event))
        });
        events.insert(partition.to_owned(), read.collect());
    }
    events
}

/// Rounds: 3 unless `AZEVENTS_KILLS` says otherwise. The seed decides when each is killed.
#[tokio::test]
async fn a_killed_emulator_has_all_that_it_acknowledged_in_the_same_order() {
    let rounds: u64 = std::env::var("AZEVENTS_KILLS").map_or(3, |rounds| rounds.parse().expect("a number"));
    let scratch = Scratch::new();
    let acknowledged = Shared::default();
    let mut seen: BTreeMap<String, Vec<(i64, String, String)>> = BTreeMap::new();
    let mut seed = 42_u64;
    for round in 0..rounds {
        // Numerical Recipes' generator: the same moments in every run.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let kill_after = 20 + usize::try_from(seed >> 33).unwrap() % 200;
        work_and_kill(Program::start(&scratch.0), round, kill_after, &acknowledged).await;

        let program = Program::start(&scratch.0);
        let now = events(&program).await;
        for (partition, events) in &now {
            let numbers: Vec<i64> = events.iter().map(|(number, ..)| *number).collect();
            assert_eq!(
                numbers,
                (0..events.len() as i64).collect::<Vec<_>>(),
                "partition {partition}"
            );
            let before = seen.get(partition).map_or(&[][..], Vec::as_slice);
            assert!(events.starts_with(before), "partition {partition} has another past");
        }
        for (sender, sent) in &acknowledged.lock().unwrap().events {
            for partition in ["0", "1", "2", "3"] {
                let of = |text: &str| text.starts_with(&format!("{sender}/"));
                let kept = now[partition].iter().map(|(.., text)| text).filter(|text| of(text));
                let mut kept = kept.peekable();
                for (_, text) in sent.iter().filter(|(to, _)| to == partition) {
                    // What was sent and not acknowledged may be between.
                    assert!(kept.any(|other| other == text), "{text} is lost or out of order");
                }
            }
        }
        let blobs = program.blobs();
        let expected = acknowledged.lock().unwrap().blobs.clone();
        for (name, content) in expected {
            let answer = blobs.request("GET", &format!("checkpoints/{name}"), "", "").await;
            let (status, kept) = answer.expect("an answer");
            assert_eq!(status, 200, "{name}");
            assert!(
                kept.parse::<u64>().unwrap() >= content,
                "{name} went back from {content} to {kept}"
            );
        }
        seen = now;
    }
}
