//! Transfers from the peer: putting messages together, credit, and the answers to them.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp_types::{
    definitions::{AmqpError, LinkError, Role, SessionError},
    messaging::{DeliveryState, Rejected},
};

use super::{
    Action, Connection, MAX_IN_FLIGHT, State,
    frames::unattached,
    state::{INCOMING_WINDOW, Incoming, LinkId, LinkKind, Window},
    unfinished::Partial,
};
use crate::{
    FaultKind,
    amqp::{
        IncomingDelivery, Responder,
        codec::{Encoder, Transfer},
        error::{self, Error},
    },
};

/// Messages up to this size get memory of their own. A slice would keep the whole piece that was
/// read from the socket alive for as long as the broker keeps one small message of it.
const COPY_UP_TO: usize = 2048;

/// A message this many times larger than its link takes ends the link.
const GIVE_UP_AT: u64 = 16;

/// In the service's words (azure-event-hubs-python#106).
fn too_large(partial: &Partial, limit: u64) -> Error {
    error::message_too_large(format!(
        "The received message (delivery-id:{}, size:{} bytes) exceeds the limit ({limit} bytes) currently allowed on \
         the link.",
        partial.id,
        partial.size()
    ))
}

/// What is owed to the peer for one delivery.
pub(in crate::amqp) struct Receipt {
    connection: Arc<Connection>,
    link: LinkId,
    delivery: u32,
    settled: bool,
    faulty: bool,
    size: usize,
}

impl State {
    pub(super) fn transfer(
        &mut self,
        connection: &Arc<Connection>,
        channel: u16,
        transfer: Transfer,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        let window = &mut session.window;
        if window.incoming == 0 {
            return Err(error::with(
                SessionError::WindowViolation,
                "more transfers than the incoming window allows",
            ));
        }
        window.incoming -= 1;
        window.next_incoming_id = window.next_incoming_id.wrapping_add(1);
        let handle = transfer.handle;
        let link = session.links.get_mut(&handle).ok_or_else(|| unattached(handle))?;
        let id = LinkId {
            channel,
            handle,
            uid: link.uid,
        };
        let incoming = match &mut link.kind {
            LinkKind::Incoming(incoming) => incoming,
            LinkKind::Detaching => return Ok(()),
            LinkKind::Attaching { .. } | LinkKind::Outgoing(_) => {
                return Err(error::with(
                    SessionError::ErrantLink,
                    format!("a transfer on handle {handle}, which takes none"),
                ));
            }
        };
        match incoming.take(transfer) {
            Ok(None) => {}
            Ok(Some((partial, _))) if partial.is_too_large() => {
                let error = too_large(&partial, incoming.max_message_size);
                if partial.settled {
                    // Nobody waits for an answer to it.
                    self.detach(id, Some(error), actions);
                } else {
                    let rejected = DeliveryState::Rejected(Rejected { error: Some(error) });
                    session.window.outcomes.push((partial.id, Some(Box::new(rejected))));
                }
            }
            Ok(Some((partial, message))) => {
                let faults = &connection.options.faults;
                if incoming.faulty && faults.decide(FaultKind::DropConnection) {
                    // Before the broker has seen the message.
                    self.die();
                    connection.dead.cancel();
                    return Ok(());
                }
                if incoming.faulty
                    && let Some(rule) = faults.inject(FaultKind::DetachLink)
                {
                    self.detach(id, Some(error::injected(&rule)), actions);
                    return Ok(());
                }
                let faulty = incoming.faulty;
                incoming.unanswered += 1;
                self.in_flight += message.len();
                let receipt = Receipt {
                    connection: Arc::clone(connection),
                    link: id,
                    delivery: partial.id,
                    settled: partial.settled,
                    faulty,
                    size: message.len(),
                };
                self.enlisting.retain(|settlement| !settlement.is_cancelled());
                actions.push(Action::Deliver(
                    Arc::clone(&incoming.handler),
                    IncomingDelivery {
                        message: compact(message),
                        format: partial.format,
                        state: partial.state.clone(),
                        enlisting: self.enlisting.clone(),
                    },
                    Responder::new(receipt),
                ));
                if faulty {
                    self.hold_up(&connection.options.faults);
                }
            }
            // The link's error, not the session's.
            Err(error) => self.detach(id, Some(error), actions),
        }
        Ok(())
    }

    /// Writes the answers and flows that have come due.
    pub(super) fn flush(&mut self) {
        for (channel, session) in &mut self.sessions {
            if session.ending {
                continue;
            }
            let window = &mut session.window;
            window.write_outcomes(*channel, &mut self.out);
            let mut flow_due = std::mem::take(&mut window.flow_due) || window.incoming <= INCOMING_WINDOW / 2;
            for (handle, link) in &mut session.links {
                if let LinkKind::Incoming(incoming) = &mut link.kind {
                    let target = incoming.max_credit.saturating_sub(incoming.unanswered);
                    if target > incoming.credit && target - incoming.credit >= incoming.max_credit.div_ceil(2) {
                        incoming.credit = target;
                        window.incoming = INCOMING_WINDOW;
                        flow_due = false;
                        let link = (*handle, incoming.delivery_count, target, false);
                        self.out.flow(*channel, window.flow(Some(link)));
                    }
                }
            }
            if flow_due {
                window.incoming = INCOMING_WINDOW;
                self.out.flow(*channel, window.flow(None));
            }
        }
    }
}

impl Window {
    /// One disposition for each run of consecutive accepted deliveries.
    pub(super) fn write_outcomes(&mut self, channel: u16, out: &mut Encoder) {
        // Answers come in the broker's order, which is nearly always that of the deliveries.
        let accepted = DeliveryState::Accepted(fe2o3_amqp_types::messaging::Accepted {});
        let mut run: Option<(u32, u32)> = None;
        for (id, state) in self.outcomes.drain(..) {
            match (state, &mut run) {
                (None, Some((_, last))) if id == last.wrapping_add(1) => *last = id,
                (state, run) => {
                    if let Some(range) = run.take() {
                        out.disposition(channel, &Role::Receiver, range, Some(&accepted));
                    }
                    match state {
                        None => *run = Some((id, id)),
                        Some(state) => {
                            out.disposition(channel, &Role::Receiver, (id, id), Some(&state));
                        }
                    }
                }
            }
        }
        if let Some(range) = run {
            out.disposition(channel, &Role::Receiver, range, Some(&accepted));
        }
    }
}

impl Incoming {
    /// Adds a frame; the whole message once its last frame is there.
    fn take(&mut self, mut transfer: Transfer) -> Result<Option<(Partial, Bytes)>, Error> {
        let mut partial = if let Some(partial) = self.partial.take() {
            if transfer.delivery_id.is_some_and(|id| id != partial.id) {
                return Err(error::with(
                    AmqpError::NotAllowed,
                    "a delivery began before the one before it was complete",
                ));
            }
            partial
        } else {
            self.begin(&transfer)?
        };
        if transfer.aborted {
            return Ok(None); // as if it had never been sent (section 2.6.14)
        }
        partial.note(&mut transfer);
        let size = (partial.size() + transfer.payload.len()) as u64;
        // The service refuses a message that is too large as any other, once it is there, and the link goes on. One
        // that doesn't come to an end at all does end it.
        if size > self.max_message_size {
            partial.discard(transfer.payload.len());
            if size > self.max_message_size.saturating_mul(GIVE_UP_AT) {
                return Err(too_large(&partial, self.max_message_size));
            }
            transfer.payload = Bytes::new();
        }
        if transfer.more {
            partial.keep(&transfer.payload)?;
            self.partial = Some(partial);
            return Ok(None);
        }
        let message = partial.finish(transfer.payload);
        Ok(Some((partial, message)))
    }

    /// A delivery's first frame uses up credit.
    fn begin(&mut self, transfer: &Transfer) -> Result<Partial, Error> {
        if self.credit == 0 {
            return Err(error::with(
                LinkError::TransferLimitExceeded,
                "a transfer without credit",
            ));
        }
        let (Some(id), true) = (transfer.delivery_id, transfer.has_tag) else {
            return Err(error::with(
                AmqpError::InvalidField,
                "the first transfer of a delivery needs delivery-id and delivery-tag",
            ));
        };
        self.credit -= 1;
        self.delivery_count = self.delivery_count.wrapping_add(1);
        Ok(Partial::new(id, transfer.message_format.unwrap_or(0), &self.unfinished))
    }
}

/// A message in memory of its own if it is small.
fn compact(message: Bytes) -> Bytes {
    if message.len() > COPY_UP_TO {
        message
    } else {
        Bytes::copy_from_slice(&message)
    }
}

impl Receipt {
    /// Settles with this state; `None` is accepted.
    pub(in crate::amqp) fn answer(self, state: Option<Box<DeliveryState>>) {
        let connection = self.connection;
        let accepted = state.is_none() && !self.settled;
        let lost = accepted && self.faulty && connection.options.faults.decide(FaultKind::LoseOutcome);
        if lost {
            // The broker has the message, and the sender will never hear of it.
            return connection.abort();
        }
        let readable = connection.update(|state_of, _| {
            let was = state_of.in_flight;
            state_of.in_flight -= self.size;
            if let Some((_, window, link)) = state_of.link(self.link)
                && let LinkKind::Incoming(incoming) = &mut link.kind
            {
                incoming.unanswered -= 1;
                if !self.settled {
                    window.outcomes.push((self.delivery, state));
                }
            }
            was >= MAX_IN_FLIGHT && state_of.in_flight < MAX_IN_FLIGHT
        });
        if readable {
            connection.readable.notify_one();
        }
    }
}
