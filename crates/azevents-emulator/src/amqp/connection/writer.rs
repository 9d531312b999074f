//! The task that writes: everything queued since the last time, in as few calls as possible.

use std::{collections::VecDeque, io, io::IoSlice, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use time::OffsetDateTime;
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{Connection, DetachReason, state::Phase};
use crate::{amqp::error, transport::WriteHalf};

/// Slices per system call.
const MAX_SLICES: usize = 64;

impl Connection {
    /// Writes until the connection has ended and what was queued is out.
    pub(super) async fn write_frames(self: Arc<Self>, mut socket: WriteHalf) {
        let mut last_write = Instant::now();
        loop {
            // Let whoever is about to queue something do so, then write it all at once.
            tokio::task::yield_now().await;
            tokio::select! {
                () = self.dead.cancelled() => break,
                () = self.free() => {}
            }
            let (batch, phase, heartbeat) = {
                let mut state = self.lock();
                state.flush();
                state.writing = state.out.len();
                let heartbeat = state
                    .peer_idle_timeout_ms
                    .map(|ms| Duration::from_millis(u64::from(ms) / 2));
                (state.out.take(), state.phase, heartbeat)
            };
            if batch.is_empty() {
                match phase {
                    Phase::Open | Phase::AwaitingOpen => {}
                    Phase::Closing | Phase::Dead => break,
                }
                let due = heartbeat.map_or(Duration::from_secs(3600), |every| {
                    every.saturating_sub(last_write.elapsed())
                });
                tokio::select! {
                    () = self.dead.cancelled() => break,
                    () = self.output.notified() => {}
                    () = tokio::time::sleep(due) => {
                        if heartbeat.is_some() {
                            self.lock().out.heartbeat();
                        }
                    }
                    () = self.grant_ends() => {}
                }
                continue;
            }
            let written = tokio::select! {
                () = self.dead.cancelled() => break,
                written = write_all(&mut socket, batch) => written,
            };
            if let Err(error) = written {
                tracing::debug!(id = ?self.id, %error, "write failed");
                break;
            }
            last_write = Instant::now();
            {
                let mut state = self.lock();
                state.writing = 0;
                state.pump_all();
            }
            self.readable.notify_one();
        }
        let _ = socket.shutdown().await;
        // The reader may still be waiting for the peer's close.
        let (closing, peer_closed) = {
            let state = self.lock();
            (state.phase == Phase::Closing, state.peer_closed)
        };
        if !closing || peer_closed {
            self.abort();
        }
    }

    /// Closes the connection when a token ends that was not renewed.
    async fn grant_ends(self: &Arc<Self>) {
        let first = {
            let state = self.lock();
            state.grants.iter().filter_map(|grant| grant.expires).min()
        };
        let Some(first) = first else {
            return std::future::pending().await;
        };
        let left = first - OffsetDateTime::now_utc();
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        let error = error::unauthorized("Unauthorized access: the token has expired.");
        self.close(&DetachReason::Local(error.clone()), Some(&error));
    }
}

async fn write_all(socket: &mut WriteHalf, mut batch: VecDeque<Bytes>) -> io::Result<()> {
    while !batch.is_empty() {
        let slices: Vec<IoSlice<'_>> = batch.iter().take(MAX_SLICES).map(|chunk| IoSlice::new(chunk)).collect();
        let mut written = socket.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(chunk) = batch.front_mut() {
            if written < chunk.len() {
                chunk.advance(written);
                break;
            }
            written -= chunk.len();
            batch.pop_front();
        }
    }
    socket.flush().await
}
