//! A proxy between client and emulator that knows where AMQP frames begin, and does to them what networks
//! and load balancers do: it cuts connections between frames and within them, hands bytes on in pieces,
//! stalls, and swaps frames of different channels, which AMQP promises no order between. Seeded: the same
//! seed makes the same choices.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Frame headers and protocol headers have eight bytes (AMQP 1.0 sections 2.2 and 2.3.1).
const HEADER: usize = 8;
/// How long a frame may wait for another one to be swapped with.
const PATIENCE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Cut,
    Halve,
    Split,
    Stall,
    Swap,
}

const FAULTS: [Fault; 5] = [Fault::Cut, Fault::Halve, Fault::Split, Fault::Stall, Fault::Swap];

pub(crate) struct ChaosProxy {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    /// Of the generator; advanced by every choice.
    random: AtomicU64,
    /// One frame in so many meets a fault; 0 for none.
    rate: AtomicUsize,
    struck: Mutex<BTreeMap<Fault, usize>>,
    /// Cancelled to freeze the connections there are.
    frozen: Mutex<CancellationToken>,
    /// Cancelled to cut the connections there are.
    cut: Mutex<CancellationToken>,
    /// How long bytes are on their way, in either direction.
    latency: Duration,
}

impl ChaosProxy {
    /// In front of a port on loopback, harmless at first.
    pub(crate) async fn before(target: u16, seed: u64) -> Self {
        Self::far_before(target, seed, Duration::ZERO).await
    }

    /// As [`before`](Self::before), and so far away that bytes take a while in either direction.
    pub(crate) async fn far_before(target: u16, seed: u64, latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            random: AtomicU64::new(seed),
            rate: AtomicUsize::new(0),
            struck: Mutex::default(),
            frozen: Mutex::default(),
            cut: Mutex::default(),
            latency,
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                    tokio::spawn(carry(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self { port, state, accepting }
    }

    /// The connection string of whoever is behind it, by way of it.
    pub(crate) fn connection_string(&self, direct: &str, target: u16) -> String {
        direct.replace(&format!(":{target}"), &format!(":{}", self.port))
    }

    /// From here on one frame in `rate` meets a fault.
    pub(crate) fn strike(&self, rate: usize) {
        self.state.rate.store(rate, Ordering::Relaxed);
    }

    /// The connections there are carry nothing any more and stay open; new ones work.
    pub(crate) fn freeze(&self) {
        std::mem::take(&mut *self.state.frozen.lock().unwrap()).cancel();
    }

    /// The connections there are end; new ones work.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.state.cut.lock().unwrap()).cancel();
    }

    /// How often each fault has struck.
    pub(crate) fn struck(&self) -> BTreeMap<Fault, usize> {
        self.state.struck.lock().unwrap().clone()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    /// `SplitMix64`.
    fn random(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let state = self.random.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random() % bound.max(1) as u64).unwrap()
    }

    fn next_fault(&self) -> Option<Fault> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 || self.below(rate) != 0 {
            return None;
        }
        let fault = FAULTS[self.below(FAULTS.len())];
        *self.struck.lock().unwrap().entry(fault).or_default() += 1;
        Some(fault)
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let frozen = state.frozen.lock().unwrap().clone();
    let cut = state.cut.lock().unwrap().clone();
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    // Either end ends both.
    tokio::select! {
        () = cut.cancelled() => {}
        _ = pump(client_read, server_write, &state, &frozen) => {}
        _ = pump(server_read, client_write, &state, &frozen) => {}
    }
}

async fn pump(
    read: impl AsyncRead + Unpin + Send + 'static,
    mut write: impl AsyncWrite + Unpin,
    state: &State,
    frozen: &CancellationToken,
) -> io::Result<()> {
    // What is on its way must not hold up what comes behind it.
    let (frames, mut incoming) = mpsc::channel(4096);
    let reader = tokio::spawn(read_frames(read, frames));
    let _reader = AbortOnDrop(reader);
    let mut held: Option<Vec<u8>> = None;
    loop {
        let frame: Option<(Instant, Vec<u8>)> = tokio::select! {
            () = frozen.cancelled() => std::future::pending().await,
            frame = incoming.recv() => frame,
            () = tokio::time::sleep(PATIENCE), if held.is_some() => {
                write.write_all(&held.take().unwrap()).await?;
                continue;
            }
        };
        let Some((came, frame)) = frame else { return Ok(()) };
        if !state.latency.is_zero() {
            tokio::time::sleep_until(came + state.latency).await;
        }
        match state.next_fault() {
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::Halve) => {
                let half = frame.len() / 2;
                return write.write_all(&frame[..half]).await;
            }
            Some(Fault::Split) if held.is_none() => {
                let at = state.below(frame.len());
                write.write_all(&frame[..at]).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                write.write_all(&frame[at..]).await?;
                continue;
            }
            Some(Fault::Stall) => tokio::time::sleep(Duration::from_millis(state.random() % 200)).await,
            Some(Fault::Swap) if held.is_none() && channel(&frame).is_some() => {
                held = Some(frame);
                continue;
            }
            _ => {}
        }
        match held.take() {
            Some(earlier) if channel(&frame).is_some() && channel(&frame) != channel(&earlier) => {
                write.write_all(&frame).await?;
                write.write_all(&earlier).await?;
            }
            Some(earlier) => {
                write.write_all(&earlier).await?;
                write.write_all(&frame).await?;
            }
            None => write.write_all(&frame).await?,
        }
    }
}

async fn read_frames(mut read: impl AsyncRead + Unpin, frames: mpsc::Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
    loop {
        let mut frame = vec![0; HEADER];
        read.read_exact(&mut frame).await?;
        if !frame.starts_with(b"AMQP") {
            let size = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
            frame.resize(size.max(HEADER), 0);
            read.read_exact(&mut frame[HEADER..]).await?;
        }
        if frames.send((Instant::now(), frame)).await.is_err() {
            return Ok(());
        }
    }
}

/// The channel of a frame that may be swapped with one of another channel: `flow`, `transfer` and
/// `disposition` (AMQP 1.0 sections 2.7.4 to 2.7.6).
fn channel(frame: &[u8]) -> Option<u16> {
    match frame {
        [_, _, _, _, 2, 0, high, low, 0, 0x53, 0x13..=0x15, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

struct AbortOnDrop(JoinHandle<io::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
