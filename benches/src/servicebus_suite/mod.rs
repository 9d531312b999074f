//! Sending, receiving with completion, and sessions with messages of 1 KB, beside `fe2o3-amqp` with nothing
//! around it and the official clients for Python and JavaScript, all on one emulator in a process of its own.
//!
//! The contenders take turns, in several rounds; a figure is the median of its rounds. Links are open before
//! the clock starts. Sending counts until the last acknowledgement. Receiving takes pages of up to 100 messages
//! and completes them concurrently before it asks for the next; it counts from the first page to the end of
//! the last completion: ours waits for the broker's word on each, the bare links for none but in that they
//! close, the others as they do.

mod bare;
mod ours;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bare as plain;
use crate::official::{Client, Script, known};
use crate::process::EmulatorProcess;
use crate::rows::{Better, Row};

const COUNT: usize = 10_000;
const QUICK: usize = 2_000;
const ROUNDS: usize = 3;
const BODY: usize = 1_000;
/// Sessions that messages are spread over.
const SESSIONS: usize = 20;
/// Messages that are asked for at once.
const PAGE: usize = 100;
/// Whoever takes longer than this for a figure has none.
const PATIENCE: Duration = Duration::from_secs(180);

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

const CONTENDERS: [(&str, Contender); 4] = [
    ("ours", Contender::Ours),
    ("bare fe2o3-amqp", Contender::Bare),
    ("python", Contender::Official(Client::Python)),
    ("javascript", Contender::Official(Client::JavaScript)),
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
        rows.push(measured(work, count, rounds).await?);
    }
    Ok(rows)
}

async fn measured(work: Work, count: usize, rounds: usize) -> Result<Row> {
    let mut figures: [Vec<f64>; CONTENDERS.len()] = Default::default();
    for _ in 0..rounds {
        for ((name, contender), figures) in CONTENDERS.iter().zip(&mut figures) {
            let scene = Scene::start(work, count).await?;
            let figure = scene.run(*contender).await;
            let figure = match contender {
                Contender::Ours => figure.context("our own client")?,
                _ => known(figure.with_context(|| format!("{name}: {}", work.describe()))),
            };
            figures.extend(figure);
        }
    }
    let mut medians = CONTENDERS
        .iter()
        .zip(figures)
        .map(|((name, _), figures)| (*name, median(figures)));
    let ours = medians.next().and_then(|(_, ours)| ours).context("ours is measured")?;
    Ok(Row::beside(
        work.describe(),
        "messages/s",
        Better::Higher,
        ours,
        medians,
    ))
}

impl Scene {
    async fn start(work: Work, count: usize) -> Result<Self> {
        let emulator = EmulatorProcess::start(
            "[[queue]]\nname = \"work\"\nlock_duration = \"60s\"\n\
             [[queue]]\nname = \"sessions\"\nlock_duration = \"60s\"\nsessions = true\n",
        )
        .await?;
        let scene = Self { emulator, work, count };
        if work.needs_messages() {
            scene.fill().await.context("sending what is to be received")?;
        }
        Ok(scene)
    }

    async fn run(&self, contender: Contender) -> Result<Option<f64>> {
        match contender {
            Contender::Ours => tokio::time::timeout(PATIENCE, ours::run(self)).await?.map(Some),
            Contender::Bare => tokio::time::timeout(PATIENCE, bare::run(self)).await?.map(Some),
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
