//! RabbitMQ as Debian packages it, with everything it writes in a temporary folder and every port on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::drive::Broker;
use crate::process::Usage;

const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running RabbitMQ, killed when dropped.
pub(super) struct RabbitMq {
    server: Child,
    /// Erlang's directory of nodes. One of our own, since the one that the server would start outlives it.
    _directory: Child,
    _folder: Folder,
    port: u16,
    /// From before it was spawned until it took connections.
    pub(super) ready_after: Duration,
}

impl RabbitMq {
    /// `None`, and a word on it, where it is not installed.
    pub(super) async fn start() -> Result<Option<Self>> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("rabbitmq is left out: {PROGRAM} is missing; apt-get install rabbitmq-server");
            return Ok(None);
        }
        let folder = Folder::new()?;
        let file = |name: &str| folder.0.join(name);
        let [port, nodes, distribution] = [free_port().await?, free_port().await?, free_port().await?];
        fs::write(file("plugins"), "[rabbitmq_amqp1_0].")?;
        fs::write(
            file("rabbitmq.conf"),
            format!("listeners.tcp.local = 127.0.0.1:{port}\n"),
        )?;
        let directory = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &nodes.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting epmd")?;
        let began = Instant::now();
        let mut server = Command::new(PROGRAM)
            // The script becomes the server, instead of waiting for it.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_NODENAME", format!("bench{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("ERL_EPMD_PORT", nodes.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins"))
            .env("HOME", &folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(file("errors"))?)
            .kill_on_drop(true)
            .spawn()
            .context("starting rabbitmq")?;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = server.try_wait()? {
                bail!("rabbitmq ended with {status}: {}", fs::read_to_string(file("errors"))?);
            }
            if began.elapsed() > PATIENCE {
                bail!("rabbitmq does not take connections");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(Self {
            server,
            _directory: directory,
            _folder: folder,
            port,
            ready_after: began.elapsed(),
        }))
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        Usage::of(self.id())
    }

    pub(super) fn broker(&self) -> Broker {
        Broker {
            address: format!("127.0.0.1:{}", self.port),
            // Makes the queue where there is none (README of the plug-in, "Routing and addressing").
            queue: "/queue/bench".to_owned(),
            process: self.id(),
            wants_token: false,
        }
    }

    fn id(&self) -> u32 {
        self.server.id().unwrap_or_default()
    }
}

async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("azevents-bench-rabbitmq-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
