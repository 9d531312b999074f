//! Sending, receiving with completion, and sessions with messages of 1 KB, beside `fe2o3-amqp` with nothing
//! around it, the official clients for Python and JavaScript, and the community's for Rust, all on one emulator in a process of its own.
//!
//! The contenders take turns, in several rounds; a figure is the median of its rounds. Links are open before
//! the clock starts. Sending counts until the last acknowledgement. Receiving takes pages of up to 100 messages
//! and completes them, with no more than the prefetch waiting for that; it counts from the first page to the
//! end of the last completion. Ours waits for the broker's word on each; the bare links cannot, and wait only
//! for the answer to their closing, which comes after; the official clients do as they do.

#[cfg(feature = "allocations")]
pub(crate) mod allocations;
mod bare;
mod ours;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bare as plain;
use crate::official::{Client, Script, known};
use crate::process::EmulatorProcess;
use crate::rows::{Better, Row};

const COUNT: usize = 4_000;
const QUICK: usize = 2_000;
/// The quick do so many times that work, else it were over before it can be timed.
const MORE: usize = 5;
const ROUNDS: usize = 3;
const BODY: usize = 1_000;
/// Sessions that messages are spread over.
const SESSIONS: usize = 20;
/// Messages that are asked for at once.
const PAGE: usize = 100;
/// Whoever takes longer than this for a figure has none.
const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: Script = Script {
    name: "servicebus",
    python: "azure.servicebus",
    javascript: &["@azure/service-bus"],
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Message by message, so many waiting for their acknowledgements.
    Send { in_flight: usize },
    /// Full batches, one after the other.
    Batches,
    /// Receive and complete, with so many messages fetched ahead.
    Receive { prefetch: u32 },
    /// Receive and complete session after session.
    Sessions,
}

impl Work {
    const ALL: [Self; 7] = [
        Self::Send { in_flight: 1 },
        Self::Send { in_flight: 32 },
        Self::Batches,
        Self::Receive { prefetch: 0 },
        Self::Receive { prefetch: 100 },
        Self::Receive { prefetch: 1000 },
        Self::Sessions,
    ];

    fn describe(self) -> String {
        match self {
            Self::Send { in_flight } => format!("send, {in_flight} in flight"),
            Self::Batches => "send in batches".to_owned(),
            Self::Receive { prefetch } => format!("receive and complete, prefetch {prefetch}"),
            Self::Sessions => format!("receive and complete, {SESSIONS} sessions in turn"),
        }
    }

    /// As the scripts call it.
    fn arguments(self) -> [String; 2] {
        let (name, number) = match self {
            Self::Send { in_flight } => ("send", in_flight),
            Self::Batches => ("batches", 1),
            Self::Receive { prefetch } => ("receive", prefetch as usize),
            Self::Sessions => ("sessions", SESSIONS),
        };
        [name.to_owned(), number.to_string()]
    }

    fn queue(self) -> &'static str {
        if matches!(self, Self::Sessions) {
            "sessions"
        } else {
            "work"
        }
    }

    fn needs_messages(self) -> bool {
        matches!(self, Self::Receive { .. } | Self::Sessions)
    }
}

#[derive(Debug, Clone, Copy)]
enum Contender {
    Ours,
    Bare,
    Official(Client),
}

impl Contender {
    /// So quick that it takes more messages to see how quick.
    fn is_quick(self) -> bool {
        matches!(self, Self::Ours | Self::Bare)
    }

    /// What the emulator is started with, for those who don't go where it happens to be.
    fn emulator(self) -> &'static [&'static str] {
        match self {
            Self::Official(Client::Azservicebus) => &["--host", "127.0.72.6", "--servicebus-port", "5672"],
            _ => &[],
        }
    }
}

const BARE: &str = "bare fe2o3-amqp";
const CONTENDERS: [(&str, Contender); 5] = [
    ("ours", Contender::Ours),
    (BARE, Contender::Bare),
    ("python", Contender::Official(Client::Python)),
    ("javascript", Contender::Official(Client::JavaScript)),
    ("azservicebus", Contender::Official(Client::Azservicebus)),
];

/// Where it happens.
struct Scene {
    emulator: EmulatorProcess,
    work: Work,
    count: usize,
}

/// Measures the suite.
///
/// # Errors
/// When our own client does not come to its end. A peer that is missing or fails is left out.
pub(crate) async fn measure(quick: bool) -> Result<Vec<Row>> {
    let (count, rounds) = if quick { (QUICK, 1) } else { (COUNT, ROUNDS) };
    let mut rows = Vec::new();
    for work in Work::ALL {
        rows.extend(measured(work, count, rounds).await?);
    }
    Ok(rows)
}

async fn measured(work: Work, count: usize, rounds: usize) -> Result<[Row; 2]> {
    let mut figures: [Vec<f64>; CONTENDERS.len()] = Default::default();
    for round in 0..rounds {
        for ((name, contender), figures) in CONTENDERS.iter().zip(&mut figures) {
            // One that is missing or failed does so again.
            if figures.len() < round {
                continue;
            }
            let more = if contender.is_quick() { MORE } else { 1 };
            let scene = Arc::new(Scene::start(work, count * more, *contender).await?);
            let figure = scene.run(*contender).await;
            let figure = match contender {
                Contender::Ours => figure.context("our own client")?,
                _ => known(figure.with_context(|| format!("{name}: {}", work.describe()))),
            };
            figures.extend(figure);
        }
    }
    let medians = figures.map(median);
    let ours = medians[0].context("ours is measured")?;
    let peers = CONTENDERS.iter().map(|(name, _)| *name).zip(medians);
    let (bare, official): (Vec<_>, Vec<_>) = peers.skip(1).partition(|(name, _)| *name == BARE);
    let row = |what, peers| Row::beside(what, "messages/s", Better::Higher, ours, peers);
    Ok([
        row(work.describe(), official),
        row("  the same beside bare links".to_owned(), bare),
    ])
}

/// As a service's tasks run: on a thread that its timers and sockets are on, too.
async fn on_a_worker(work: impl Future<Output = Result<f64>> + Send + 'static) -> Result<Option<f64>> {
    tokio::spawn(tokio::time::timeout(PATIENCE, work)).await??.map(Some)
}

impl Scene {
    async fn start(work: Work, count: usize, contender: Contender) -> Result<Self> {
        let emulator = EmulatorProcess::start_with(
            "[[queue]]\nname = \"work\"\nlock_duration = \"60s\"\n\
             [[queue]]\nname = \"sessions\"\nlock_duration = \"60s\"\nsessions = true\n",
            contender.emulator(),
        )
        .await?;
        let scene = Self { emulator, work, count };
        if work.needs_messages() {
            scene.fill().await.context("sending what is to be received")?;
        }
        Ok(scene)
    }

    async fn run(self: &Arc<Self>, contender: Contender) -> Result<Option<f64>> {
        match contender {
            Contender::Ours => on_a_worker(ours::run(Arc::clone(self))).await,
            Contender::Bare => on_a_worker(bare::run(Arc::clone(self))).await,
            Contender::Official(client) => {
                let [what, number] = self.work.arguments();
                let count = self.count.to_string();
                let arguments = [&what, &number, self.emulator.servicebus(), self.work.queue(), &count];
                client.run(SCRIPT, &arguments, PATIENCE).await
            }
        }
    }

    /// Puts the messages there that are to be received, session by session where there are sessions.
    async fn fill(&self) -> Result<()> {
        let queue = self.work.queue();
        let mut bare = plain::Bare::servicebus(self.emulator.servicebus_address(), queue).await?;
        let mut sender = bare.sender(queue).await?;
        let body = vec![b'x'; BODY];
        let numbers: Vec<usize> = (0..self.count).collect();
        let each = self.count / SESSIONS;
        let batches = numbers.chunks(PAGE).map(|numbers| {
            plain::batch(numbers.iter().map(|number| {
                let session = matches!(self.work, Work::Sessions).then(|| (number / each).to_string());
                plain::message(*number, &body, session.as_deref())
            }))
        });
        plain::send_all(&mut sender, batches, 4).await?;
        sender.close().await?;
        bare.close().await
    }

    fn rate(&self, since: Instant) -> f64 {
        self.count as f64 / since.elapsed().as_secs_f64()
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
