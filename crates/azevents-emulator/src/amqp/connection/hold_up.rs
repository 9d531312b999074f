//! Faults that hold a connection up: for a while, or until it is cut.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{Connection, State};
use crate::{FaultKind, Faults};

/// How long where the fault plan doesn't say.
const DELAY: Duration = Duration::from_millis(100);
const STALL: Duration = Duration::from_secs(300);

/// Nothing is read or written until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldUp {
    until: Instant,
    /// Whether the connection is cut then.
    then_cut: bool,
}

impl State {
    /// Asks the fault plan at an opportunity, which is a message on its way.
    pub(super) fn hold_up(&mut self, faults: &Faults) {
        let (rule, default, then_cut) = if let Some(rule) = faults.inject(FaultKind::Stall) {
            (rule, STALL, true)
        } else if let Some(rule) = faults.inject(FaultKind::Delay) {
            (rule, DELAY, false)
        } else {
            return;
        };
        let until = Instant::now() + rule.delay_or(default);
        if self.held_up.is_none_or(|held| !held.then_cut) {
            self.held_up = Some(HeldUp { until, then_cut });
        }
    }
}

impl Connection {
    /// Waits until the connection is free to go on, or is cut.
    pub(super) async fn free(self: &Arc<Self>) {
        loop {
            let Some(held) = self.lock().held_up else { return };
            sleep_until(held.until).await;
            if held.then_cut {
                return self.abort();
            }
            let mut state = self.lock();
            if state.held_up.is_some_and(|held| held.until <= Instant::now()) {
                state.held_up = None;
            }
        }
    }
}
