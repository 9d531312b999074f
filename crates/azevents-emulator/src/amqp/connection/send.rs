//! Transfers to the peer: credit, windows, fragments, drain and settlement.

use std::sync::Arc;

use fe2o3_amqp_types::{definitions::Role, messaging::DeliveryState};

use super::{
    Connection, HIGH_WATER, State,
    state::{LinkId, LinkKind, Outgoing, Pending, Session, Unsettled, Window},
};
use crate::{
    FaultKind,
    amqp::{
        Delivery, DeliveryId, LinkEvent,
        codec::{Encoder, Flow, TransferOut},
        error::{self, Error},
    },
};

/// Deliveries of a session that may wait for their settlement. A peer that takes and takes and
/// settles nothing must not fill our memory.
const MAX_UNSETTLED: usize = 500_000;

impl Outgoing {
    /// Credit as the receiver counts it (AMQP 1.0 section 2.6.7).
    pub(super) fn take_flow(&mut self, flow: &Flow) {
        if let Some(credit) = flow.link_credit {
            // Without a count the receiver has not seen our attach yet, where it starts at 0.
            self.credit = flow
                .delivery_count
                .unwrap_or(0)
                .wrapping_add(credit)
                .wrapping_sub(self.delivery_count);
            // A count that is behind ours by more than the credit would wrap around.
            if self.credit > i32::MAX as u32 {
                self.credit = 0;
            }
        }
        self.drain = flow.drain;
        if flow.drain && !std::mem::replace(&mut self.drain_told, true) {
            let _ = self.events.send(LinkEvent::Drain);
        }
    }

    fn can_send(&self, window: &Window, room: bool) -> bool {
        let link = self.credit > 0 && self.pending.is_none() && self.finish.is_none();
        link && room && window.outgoing > 0 && window.unsettled.len() < MAX_UNSETTLED
    }

    /// Writes what is pending as far as windows and room allow.
    fn pump(&mut self, id: (u16, u32), window: &mut Window, out: &mut Encoder, max_frame: usize, room: usize) {
        let (channel, handle) = id;
        let enough = out.len().saturating_add(room);
        while let Some(pending) = &mut self.pending {
            if window.outgoing == 0 || out.len() >= enough {
                return;
            }
            let first = (!pending.started).then_some((pending.id, &pending.tag[..], pending.format));
            let head = TransferOut {
                handle,
                first,
                settled: pending.settled,
                more: false,
            };
            let done = out.transfer(channel, max_frame, head, &mut pending.pieces);
            pending.started = true;
            window.next_outgoing_id = window.next_outgoing_id.wrapping_add(1);
            window.outgoing -= 1;
            if done {
                self.pending = None;
            }
        }
    }
}

impl Session {
    /// Goes on with every link that was waiting for the window or for room.
    pub(super) fn pump(&mut self, channel: u16, out: &mut Encoder, max_frame: usize, room: bool) {
        if !room || self.ending {
            return;
        }
        for (handle, link) in &mut self.links {
            let LinkKind::Outgoing(outgoing) = &mut link.kind else {
                continue;
            };
            outgoing.pump((channel, *handle), &mut self.window, out, max_frame, HIGH_WATER);
            if outgoing.pending.is_none()
                && let Some(result) = outgoing.finish.take()
            {
                out.detach(channel, *handle, true, result.err().as_ref());
                self.window.forget_link(*handle);
                link.kind = LinkKind::Detaching;
            } else if outgoing.can_send(&self.window, room) {
                outgoing.wake();
            }
        }
    }
}

impl State {
    /// The socket has taken what was queued: everybody may go on.
    pub(super) fn pump_all(&mut self) {
        let (max_frame, room) = (self.peer_max_frame, self.has_room());
        for (channel, session) in &mut self.sessions {
            session.pump(*channel, &mut self.out, max_frame, room);
        }
    }
}

/// Why nothing was sent.
pub(in crate::amqp) enum NotSent {
    /// No credit, no window or no room at the moment.
    NotNow,
    Gone,
}

impl Connection {
    /// Takes a delivery if it can go out now.
    pub(in crate::amqp) fn try_send(
        self: &Arc<Self>,
        id: LinkId,
        delivery: Delivery,
    ) -> Result<DeliveryId, Box<(Delivery, NotSent)>> {
        let mut delivery = Some(delivery);
        let result = self.update(|state, actions| {
            let (max_frame, room, queued) = (state.peer_max_frame, state.has_room(), state.queued());
            let Some((out, window, outgoing)) = state.outgoing(id) else {
                return Err(NotSent::Gone);
            };
            if !outgoing.can_send(window, room) {
                return Err(NotSent::NotNow);
            }
            let faults = &self.options.faults;
            if outgoing.faulty && faults.decide(FaultKind::DropConnection) {
                state.die();
                self.dead.cancel();
                return Err(NotSent::Gone);
            }
            if outgoing.faulty
                && let Some(rule) = faults.inject(FaultKind::DetachLink)
            {
                state.detach(id, Some(error::injected(&rule)), actions);
                return Err(NotSent::Gone);
            }
            let faulty = outgoing.faulty;
            let Some(delivery) = delivery.take() else {
                return Err(NotSent::Gone);
            };
            if delivery.settled {
                // Perhaps the response to a request that was accepted just now: some clients lose a response
                // that comes before the word on its request.
                window.write_outcomes(id.channel, out);
            }
            let number = window.next_delivery_id;
            window.next_delivery_id = number.wrapping_add(1);
            outgoing.credit -= 1;
            outgoing.delivery_count = outgoing.delivery_count.wrapping_add(1);
            if !delivery.settled {
                window.unsettled.insert(
                    number,
                    Unsettled {
                        handle: id.handle,
                        tag: delivery.tag,
                        asked: false,
                    },
                );
            }
            outgoing.pending = Some(Pending {
                id: number,
                tag: delivery.tag,
                format: delivery.format,
                settled: delivery.settled,
                pieces: delivery.message,
                started: false,
            });
            let room = HIGH_WATER.saturating_sub(queued);
            outgoing.pump((id.channel, id.handle), window, out, max_frame, room);
            if faulty {
                state.hold_up(faults);
            }
            Ok(DeliveryId(number))
        });
        result.map_err(|why| match delivery {
            Some(delivery) => Box::new((delivery, why)),
            // Taken only on the way to Ok.
            None => unreachable!("a delivery that was taken was sent"),
        })
    }

    /// The credit if something can be sent now, 0 if it can't; `None` if the link is gone. Arms
    /// the wake-up in the second case.
    pub(in crate::amqp) fn poll_ready(&self, id: LinkId) -> Option<u32> {
        let mut state = self.lock();
        let room = state.has_room();
        let (_, window, outgoing) = state.outgoing(id)?;
        if outgoing.can_send(window, room) {
            Some(outgoing.credit)
        } else {
            outgoing.waiting = true;
            Some(0)
        }
    }

    /// What the peer still takes; 0 if the link is gone.
    pub(in crate::amqp) fn credit(&self, id: LinkId) -> u32 {
        let mut state = self.lock();
        state.outgoing(id).map_or(0, |(_, _, outgoing)| outgoing.credit)
    }

    pub(in crate::amqp) fn settle(self: &Arc<Self>, id: LinkId, delivery: DeliveryId, outcome: &DeliveryState) {
        self.update(|state, _| {
            let Some((out, window, _)) = state.outgoing(id) else {
                return;
            };
            let DeliveryId(number) = delivery;
            if window
                .unsettled
                .get(&number)
                .is_none_or(|entry| entry.handle != id.handle)
            {
                return;
            }
            window.unsettled.remove(&number);
            out.disposition(id.channel, &Role::Sender, (number, number), Some(outcome));
        });
    }

    pub(in crate::amqp) fn drained(self: &Arc<Self>, id: LinkId) {
        self.update(|state, _| {
            let Some((out, window, outgoing)) = state.outgoing(id) else {
                return;
            };
            outgoing.drain_told = false;
            if !std::mem::take(&mut outgoing.drain) {
                return;
            }
            outgoing.delivery_count = outgoing.delivery_count.wrapping_add(outgoing.credit);
            outgoing.credit = 0;
            let link = (id.handle, outgoing.delivery_count, 0, true);
            out.flow(id.channel, window.flow(Some(link)));
        });
    }

    /// The link's task has ended.
    pub(super) fn finish(self: &Arc<Self>, id: LinkId, result: Result<(), Error>) {
        self.update(|state, actions| {
            let Some((_, _, outgoing)) = state.outgoing(id) else {
                return;
            };
            if outgoing.pending.is_some() {
                outgoing.finish = Some(result);
            } else {
                state.detach(id, result.err(), actions);
            }
        });
    }

    /// See [`LinkControl::detach`](crate::amqp::LinkControl::detach).
    pub(in crate::amqp) fn detach(self: &Arc<Self>, id: LinkId, error: Error) {
        self.update(|state, actions| state.detach(id, Some(error), actions));
    }
}
