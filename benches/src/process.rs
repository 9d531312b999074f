//! The emulator as the program it is, in a process of its own: what it costs is then its own, too.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running emulator, killed when dropped.
pub(crate) struct EmulatorProcess {
    process: Child,
    ready: Value,
    /// From before it was spawned until its ready line had been read.
    pub(crate) ready_after: Duration,
    _configuration: TemporaryFile,
}

impl EmulatorProcess {
    /// Starts the program with entities as its TOML names them.
    ///
    /// # Errors
    /// When there is no such program beside this one, or it does not become ready.
    pub(crate) async fn start(entities: &str) -> Result<Self> {
        Self::start_with(entities, &[]).await
    }

    /// As [`start`](Self::start), with options of the program.
    pub(crate) async fn start_with(entities: &str, options: &[&str]) -> Result<Self> {
        let program = program()?;
        let configuration = TemporaryFile::new(entities)?;
        let began = Instant::now();
        let mut process = Command::new(&program)
            .arg("--config")
            .arg(&configuration.0)
            .args(["--log", "error"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let output = process.stdout.take().context("the output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .context("no ready line")??
            .context("it ended before it was ready")?;
        let ready_after = began.elapsed();
        let ready = serde_json::from_str(&line).with_context(|| format!("not a ready line: {line}"))?;
        Ok(Self {
            process,
            ready,
            ready_after,
            _configuration: configuration,
        })
    }

    /// With which clients reach its Service Bus.
    pub(crate) fn servicebus(&self) -> &str {
        self.ready["servicebus"]["connection_string"]
            .as_str()
            .unwrap_or_default()
    }

    /// `host:port` of its Service Bus.
    pub(crate) fn servicebus_address(&self) -> &str {
        let text = self.servicebus();
        let rest = text.split_once("sb://").map_or(text, |(_, rest)| rest);
        rest.split([';', '/']).next().unwrap_or_default()
    }

    /// Its process id; 0 once it has ended.
    pub(crate) fn id(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// What it uses.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.id())
    }
}

/// What a process uses, as Linux counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes of memory that are its own or shared.
    pub(crate) resident: u64,
    /// Of all its threads, since it began.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Of this process.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// # Errors
    /// Where there is no such process, or no `/proc`.
    pub(crate) fn of(process: u32) -> Result<Self> {
        // proc(5): numbers in pages of 4096 bytes and ticks of 10 ms on every platform that we build for.
        const PAGE: u64 = 4096;
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("usage is read from Linux' /proc")?;
        // The second field is a name in parentheses, which may hold blanks.
        let (_, rest) = stat.rsplit_once(") ").context("a strange /proc/stat")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |field: usize| -> Result<u64> {
            let field = fields.get(field - 3).context("a short /proc/stat")?;
            Ok(field.parse()?)
        };
        let ticks = u32::try_from(number(14)? + number(15)?)?;
        Ok(Self {
            resident: number(24)? * PAGE,
            cpu: TICK * ticks,
        })
    }

    /// In units of 2^20 bytes.
    pub(crate) fn mebibytes(&self) -> f64 {
        self.resident as f64 / f64::from(1 << 20)
    }
}

fn program() -> Result<PathBuf> {
    let mut path = env::current_exe()?;
    path.set_file_name("azevents-emulator");
    ensure!(
        path.exists(),
        "{} is missing; build it first: cargo build --release -p azevents-emulator",
        path.display()
    );
    Ok(path)
}

/// Removed when dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(content: &str) -> Result<Self> {
        let name = |n: u32| env::temp_dir().join(format!("azevents-bench-{}-{n}.toml", std::process::id()));
        for path in (0..1000).map(name) {
            if let Ok(mut file) = fs::File::create_new(&path) {
                std::io::Write::write_all(&mut file, content.as_bytes())?;
                return Ok(Self(path));
            }
        }
        bail!("no file can be made in {}", env::temp_dir().display())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
