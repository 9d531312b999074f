//! The task that reads.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{
    CLOSE_PATIENCE, Connection, DetachReason, HIGH_WATER, MAX_IN_FLIGHT,
    state::{Phase, State},
};
use crate::{
    amqp::{
        codec::next_frame,
        error::{self, Error},
    },
    transport::{ReadHalf, acknowledge_now},
};

/// How much is asked of the socket at once.
const READ_SIZE: usize = 64 * 1024;

impl Connection {
    /// Reads until either side has closed, the socket fails or the connection is cut.
    pub(super) async fn read_frames(self: &Arc<Self>, mut socket: ReadHalf, mut buffer: BytesMut) {
        loop {
            if let Err(error) = self.take_frames(&mut buffer) {
                tracing::debug!(id = ?self.id, %error, "closing with an error");
                self.close(&DetachReason::Local(error.clone()), Some(&error));
            }
            let (phase, peer_closed) = {
                let state = self.lock();
                (state.phase, state.peer_closed)
            };
            let patience = match phase {
                Phase::Dead => return,
                Phase::Closing if peer_closed => {
                    // The writer cuts the connection once our close is out.
                    let _ = timeout(CLOSE_PATIENCE, self.dead.cancelled()).await;
                    return;
                }
                Phase::Closing => CLOSE_PATIENCE,
                Phase::AwaitingOpen | Phase::Open => self.options.idle_timeout,
            };
            buffer.reserve(READ_SIZE);
            let read = async {
                self.free().await;
                self.wait_until_readable().await;
                timeout(patience, socket.read_buf(&mut buffer)).await
            };
            tokio::select! {
                () = self.dead.cancelled() => return,
                read = read => match read {
                    Ok(Ok(0) | Err(_)) => return,
                    Ok(Ok(_)) => acknowledge_now(&socket),
                    Err(_) if phase == Phase::Closing => return,
                    Err(_) => {
                        let error = error::with(
                            fe2o3_amqp_types::definitions::AmqpError::ResourceLimitExceeded,
                            "Nothing was received for longer than the idle timeout.",
                        );
                        self.close(&DetachReason::ConnectionLost, Some(&error));
                    }
                },
            }
        }
    }

    /// Takes all complete frames off the buffer. What they answer is written as one.
    fn take_frames(self: &Arc<Self>, buffer: &mut BytesMut) -> Result<(), Error> {
        let mut actions = Vec::new();
        let mut result = Ok(());
        {
            let mut state = self.lock();
            while result.is_ok() {
                match next_frame(buffer, self.options.max_frame_size) {
                    Ok(Some(frame)) => result = state.frame(self, &frame, &mut actions),
                    Ok(None) => break,
                    Err(error) => result = Err(error.into()),
                }
            }
            state.corked = true;
        }
        self.run(&mut actions);
        self.lock().corked = false;
        self.output.notify_one();
        result
    }

    async fn wait_until_readable(&self) {
        while self.lock().is_congested() {
            self.readable.notified().await;
        }
    }
}

impl State {
    fn is_congested(&self) -> bool {
        self.in_flight >= MAX_IN_FLIGHT || self.queued() >= 4 * HIGH_WATER
    }
}
