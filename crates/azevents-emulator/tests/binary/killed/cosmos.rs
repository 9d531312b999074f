//! Cosmos DB: batches and a reader of the change feed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Known, Program, Scratch, moments};

const CONFIG: &str = r#"
[[database]]
name = "d"
[[database.containers]]
name = "c"
partition_key = "/stream"
"#;

const ITEMS: &str = "/dbs/d/colls/c/docs";

/// As little of a client as will do: a connection for each request.
#[derive(Clone)]
struct Client(String);

struct Answer {
    status: u16,
    etag: String,
    body: Value,
}

impl Client {
    fn new(program: &Program) -> Self {
        let endpoint = program.text("/cosmos/endpoint");
        Self(endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned())
    }

    /// `None` if the program is killed meanwhile.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let headers = headers
            .iter()
            .map(|(name, value)| [*name, ": ", *value, "\r\n"].concat());
        let headers = headers.collect::<String>();
        let mut socket = TcpStream::connect(&self.0).await.ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Authorization: type=aad&ver=1.0&sig=e30.e30.c2ln\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.0,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let etag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        Some(Answer {
            status: head.split(' ').nth(1)?.parse().ok()?,
            etag: etag.unwrap_or_default().to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
        })
    }

    /// Creates two items, and writes over a third of about so many bytes.
    async fn append(&self, stream: &str, n: usize, bytes: usize) -> Option<u16> {
        let item = |id: String| json!({ "id": id, "stream": stream, "n": n });
        let create = |id| json!({ "operationType": "Create", "resourceBody": item(id) });
        let mut head = item("head".into());
        head["filler"] = "x".repeat(bytes).into();
        let body = json!([
            create(format!("{n}-a")),
            { "operationType": "Upsert", "resourceBody": head },
            create(format!("{n}-b")),
        ]);
        let headers = [
            ("x-ms-documentdb-partitionkey", &*format!(r#"["{stream}"]"#)),
            ("x-ms-cosmos-is-batch-request", "true"),
            ("x-ms-cosmos-batch-atomic", "true"),
        ];
        self.send("POST", ITEMS, &headers, &body.to_string())
            .await
            .map(|answer| answer.status)
    }
}

/// A reader of all partitions.
#[derive(Clone, Default)]
struct Reader {
    positions: BTreeMap<String, String>,
    /// Stream and id.
    seen: BTreeSet<(String, String)>,
}

impl Reader {
    /// Reads on from where it was; `None` if the program is killed meanwhile.
    async fn read_on(&mut self, client: &Client) -> Option<()> {
        let ranges = client.send("GET", "/dbs/d/colls/c/pkranges", &[], "").await?.body;
        for range in ranges["PartitionKeyRanges"].as_array()? {
            let id = range["id"].as_str()?;
            loop {
                let mut headers = vec![
                    ("A-IM", "Incremental Feed"),
                    ("x-ms-documentdb-partitionkeyrangeid", id),
                ];
                let position = self.positions.get(id).cloned();
                if let Some(position) = &position {
                    headers.push(("If-None-Match", position));
                }
                let page = client.send("GET", ITEMS, &headers, "").await?;
                self.positions.insert(id.to_owned(), page.etag);
                let Some(items) = page.body["Documents"].as_array() else {
                    break;
                };
                for item in items {
                    let text = |name: &str| item[name].as_str().unwrap().to_owned();
                    self.seen.insert((text("stream"), text("id")));
                }
            }
        }
        Some(())
    }
}

/// Numbers that were acknowledged, by stream.
type Appended = BTreeMap<String, BTreeSet<usize>>;

async fn work(client: Client, stream: String, known: Known<Appended>, bytes: usize) {
    let mut n = known
        .lock()
        .0
        .get(&stream)
        .and_then(BTreeSet::last)
        .map_or(0, |n| n + 1);
    loop {
        match client.append(&stream, n, bytes).await {
            None => return,
            Some(201 | 200) => known.learn(|appended| {
                appended.entry(stream.clone()).or_default().insert(n);
            }),
            // Written in the last life, and never acknowledged.
            Some(409 | 207) => {}
            Some(other) => panic!("{other}"),
        }
        n += 1;
    }
}

/// The program at work, over all its lives.
struct Bench {
    scratch: Scratch,
    known: Known<Appended>,
    reader: Reader,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self {
            scratch: Scratch::new(name, CONFIG),
            known: Known::new(),
            reader: Reader::default(),
        }
    }

    /// Starts the program, writes and reads until `enough`, kills it and starts it again: then it has to have all
    /// that was acknowledged, whole batches, and for the reader whatever it hasn't seen.
    async fn live_and_die(&mut self, bytes: usize, enough: impl AsyncFnOnce(&Self)) {
        let program = self.scratch.start();
        let client = Client::new(&program);
        let mut tasks = tokio::task::JoinSet::new();
        for stream in ["x", "y", "z"] {
            tasks.spawn(work(client.clone(), stream.to_owned(), self.known.clone(), bytes));
        }
        let reading = {
            let (mut reader, client) = (self.reader.clone(), client.clone());
            tokio::spawn(async move {
                while reader.read_on(&client).await.is_some() {}
                reader
            })
        };
        enough(self).await;
        drop(program);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        self.reader = reading.await.unwrap();

        let program = self.scratch.start();
        let client = Client::new(&program);
        self.reader.read_on(&client).await.expect("it runs");
        let mut all = Reader::default();
        all.read_on(&client).await.expect("it runs");
        let only = |these: &Reader, those: &Reader| these.seen.difference(&those.seen).cloned().collect::<Vec<_>>();
        assert_eq!(only(&all, &self.reader), [], "the reader missed these");
        assert_eq!(only(&self.reader, &all), [], "the reader saw what was taken back");
        for (stream, id) in &all.seen {
            if let Some(n) = id.strip_suffix("-a") {
                let other = (stream.clone(), format!("{n}-b"));
                assert!(all.seen.contains(&other), "half of {n} in {stream}");
            }
        }
        for (stream, numbers) in &self.known.lock().0 {
            for n in numbers {
                for id in [format!("{n}-a"), format!("{n}-b")] {
                    assert!(all.seen.contains(&(stream.clone(), id)), "{n} in {stream} is lost");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_killed_emulator_has_whole_batches_and_a_reader_of_changes_misses_none() {
    let mut bench = Bench::new("cosmos");
    for moment in moments() {
        bench
            .live_and_die(0, async |bench: &Bench| bench.known.progress(moment).await)
            .await;
    }
}

#[tokio::test]
async fn killed_while_its_log_is_condensed_it_has_all_and_the_log_stays_short() {
    let mut bench = Bench::new("cosmos-condensed");
    let log = bench.scratch.0.join("data/cosmos.log");
    let new = log.with_extension("log.new");
    for _ in moments() {
        bench
            .live_and_die(100_000, async |bench: &Bench| {
                while !new.exists() {
                    bench.known.progress(1).await;
                }
            })
            .await;
    }
    let length = || log.metadata().map_or(0, |log| log.len());
    bench
        .live_and_die(100_000, async |bench: &Bench| {
            let mut before = 0;
            while length() >= before {
                before = length();
                bench.known.progress(1).await;
            }
        })
        .await;
    assert!(length() < 6_000_000, "{}", length());
}
