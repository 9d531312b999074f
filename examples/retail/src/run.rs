//! The whole system in one process: emulator, provisioning, ingest, relays, consumers, report.
//!
//! Everything but the emulator is what the separate processes run, over the same sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use azevents::{Handler, Pipeline, Stats};
use azevents_emulator::Emulator;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::consumers::Name;
use crate::faults::Schedule;
use crate::ingest::{self, Progress};
use crate::input::{Source, count_rows};
use crate::progress::Bars;
use crate::relays::{self, Destination};
use crate::report::{self, Report, handled};
use crate::services::Services;
use crate::settings::Settings;
use crate::supervise::supervise;
use crate::timing::Timings;
use crate::{process, provision, status};

/// How often to look whether everything has arrived.
const LOOK: Duration = Duration::from_millis(25);
/// Without any progress for so long, something is wrong.
const STUCK: Duration = Duration::from_secs(120);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The input.
    pub sources: Vec<Source>,
    /// A schedule of faults.
    pub faults: Option<u64>,
    /// Whether to show progress on a terminal.
    pub progress: bool,
    /// A pause between invoices; without it they are appended as fast as the store takes them.
    pub pace: Option<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Finished {
    /// The figures.
    pub report: Report,
    /// Where the time went.
    pub timings: Timings,
    /// The faults that were lived through, with their number.
    pub injected: Vec<(String, u64)>,
}

/// Runs everything to its end.
///
/// # Errors
/// An input that can't be read, or anything that stops the system for good.
pub async fn run(options: Options) -> Result<Finished> {
    let timings = Timings::start();
    let emulator = Emulator::builder().start().await.context("start the emulator")?;
    let settings = Settings::of_emulator(emulator.ready())?;
    provision::run(&settings).await?;
    let services = Services::connect(settings).await?;
    let schedule = options.faults.map(Schedule::new);
    if let Some(schedule) = &schedule {
        emulator.faults().set_plan(schedule.plan());
    }
    timings.phase("start and provision");

    let begun = Instant::now();
    let mut system = System::start(&services, schedule.as_ref(), &timings);
    let bars = Bars::new(options.sources.iter().map(count_rows).sum(), options.progress);
    let progress = Arc::new(Progress::default());
    let mut ingest = Box::pin(ingest::run(&services, options.sources, options.pace, progress.clone()));
    let appended = loop {
        tokio::select! {
            done = &mut ingest => break done,
            () = tokio::time::sleep(LOOK) => bars.show(progress.rows.load(Ordering::Relaxed), |name| system.stats(name).handled),
            ended = system.ended() => bail!(ended),
        }
    };
    drop(ingest);
    appended?;
    timings.phase("ingest");
    let events = progress.events.load(Ordering::Relaxed);
    bars.set_length(progress.rows.load(Ordering::Relaxed), events);
    system.wait_until_done(&services, &bars, &progress, events).await?;
    timings.phase("the rest of the way");
    let elapsed = begun.elapsed();
    drop(bars);

    let mut injected: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in emulator.faults().counts() {
        injected.insert(kind.to_string(), count.injected);
    }
    // The report reads what happened; the schedule has done its work.
    emulator.faults().clear();
    system.stop().await?;
    let mut report = report::collect(&services).await?;
    report.elapsed_ms = elapsed.as_millis() as u64;
    timings.phase("stop and report");
    emulator.shutdown().await;
    injected.extend(schedule.iter().flat_map(Schedule::crashes));
    let injected = injected.into_iter().filter(|(_, count)| *count > 0).collect();
    Ok(Finished {
        report,
        timings,
        injected,
    })
}

/// Relays and consumers, each as a task that can be crashed and started again.
struct System {
    tasks: JoinSet<Result<()>>,
    pipelines: BTreeMap<Name, Arc<Pipeline>>,
    stop: CancellationToken,
    /// Stops the status writers, which outlive the consumers.
    stopped: CancellationToken,
    writers: JoinSet<azevents::Result<()>>,
}

impl System {
    fn start(services: &Services, schedule: Option<&Schedule>, timings: &Timings) -> Self {
        let mut system = Self {
            tasks: JoinSet::new(),
            pipelines: BTreeMap::new(),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            writers: JoinSet::new(),
        };
        for destination in Destination::ALL {
            system.relay(services.clone(), destination, schedule);
        }
        for name in Name::ALL {
            let handler = timings.measure(name, name.handler(services.read_model.clone()));
            system.consumer(services.clone(), name, handler, schedule);
        }
        system
    }

    fn relay(&mut self, services: Services, destination: Destination, schedule: Option<&Schedule>) {
        let crash = Arc::new(Notify::new());
        let leases = match schedule {
            Some(schedule) => schedule.leases(services.leases.clone(), &crash),
            None => services.leases.clone(),
        };
        let stop = self.stop.clone();
        self.tasks.spawn(supervise(crash, move || {
            let owner = Some(destination.as_str().to_owned());
            let relay = relays::relay(&services, destination, leases.clone(), process::relay_options(owner))?;
            let stop = stop.clone();
            Ok(async move {
                relay
                    .run(stop)
                    .await
                    .with_context(|| format!("relay to {}", destination.as_str()))
            })
        }));
    }

    fn consumer(&mut self, services: Services, name: Name, handler: Arc<dyn Handler>, schedule: Option<&Schedule>) {
        let crash = Arc::new(Notify::new());
        let handler = match schedule {
            Some(schedule) => schedule.handler(handler, &crash),
            None => handler,
        };
        let pipeline = process::pipeline(handler);
        self.writers.spawn(status::keep(
            services.clone(),
            name,
            pipeline.clone(),
            self.stopped.clone(),
        ));
        self.pipelines.insert(name, pipeline.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(supervise(crash, move || {
            let consumer = process::consumer(&services, name, Some(name.as_str().to_owned()))?;
            let (pipeline, stop) = (pipeline.clone(), stop.clone());
            Ok(async move {
                consumer
                    .run(pipeline, stop)
                    .await
                    .with_context(|| format!("consumer {}", name.as_str()))
            })
        }));
    }

    fn stats(&self, name: Name) -> Stats {
        self.pipelines
            .get(&name)
            .map(|pipeline| pipeline.stats())
            .unwrap_or_default()
    }

    /// Why a part has ended although nobody asked it to.
    async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => anyhow::Error::new(panic),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of the system has ended by itself"),
        }
    }

    /// Waits until every event has been published and has had its effect, three times.
    async fn wait_until_done(
        &mut self,
        services: &Services,
        bars: &Bars,
        progress: &Progress,
        events: u64,
    ) -> Result<()> {
        let mut last = (0, Instant::now());
        loop {
            bars.show(progress.rows.load(Ordering::Relaxed), |name| self.stats(name).handled);
            let stats = Name::ALL.map(|name| self.stats(name));
            // The counters are cheap to read and know when it is worth asking the read models.
            if stats
                .iter()
                .all(|stats| stats.handled + stats.duplicates + stats.dead_lettered >= events)
                && self.is_done(services, events).await.unwrap_or(false)
            {
                return Ok(());
            }
            let seen: u64 = stats
                .iter()
                .map(|stats| stats.handled + stats.duplicates + stats.abandoned)
                .sum();
            if seen != last.0 {
                last = (seen, Instant::now());
            } else if last.1.elapsed() > STUCK {
                bail!(
                    "nothing has moved for {} s; of {events} events: {stats:?}",
                    STUCK.as_secs()
                );
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                ended = self.ended() => bail!(ended),
            }
        }
    }

    async fn is_done(&self, services: &Services, events: u64) -> azevents::Result<bool> {
        for name in Name::ALL {
            if handled(services.read_model.as_ref(), name).await? + self.stats(name).dead_lettered < events {
                return Ok(false);
            }
        }
        for destination in Destination::ALL {
            if report::published(services, destination).await? < events {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stops everything gracefully.
    async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        self.stopped.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        Ok(())
    }
}
