//! How many messages an entity has, those of its dead-letter queues among them.

use std::sync::Arc;

use super::fields::Fields;
use crate::servicebus::{MessageCounts, Queue};

pub(super) struct Counts {
    here: MessageCounts,
    dead: usize,
    transfer_dead: usize,
}

impl Counts {
    pub(super) fn of(queue: &Queue) -> Self {
        let all_in = |below: Option<&Arc<Queue>>| {
            below.map_or(0, |below| {
                let counts = below.counts();
                counts.active + counts.deferred + counts.transferred
            })
        };
        Self {
            here: queue.counts(),
            dead: all_in(queue.dead_letters()),
            transfer_dead: all_in(queue.transfer_dead_letters()),
        }
    }

    pub(super) fn total(&self) -> usize {
        let here = &self.here;
        here.active + here.deferred + here.scheduled + here.transferred + self.dead + self.transfer_dead
    }

    pub(super) fn write(&self) -> String {
        let mut out = Fields::default();
        out.raw("<CountDetails xmlns:d=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">");
        for (name, count) in [
            // The service counts what is deferred as active.
            ("d:ActiveMessageCount", self.here.active + self.here.deferred),
            ("d:DeadLetterMessageCount", self.dead),
            ("d:ScheduledMessageCount", self.here.scheduled),
            ("d:TransferMessageCount", self.here.transferred),
            ("d:TransferDeadLetterMessageCount", self.transfer_dead),
        ] {
            out.number(name, count);
        }
        out.raw("</CountDetails>").take()
    }
}
