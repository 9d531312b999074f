//! What each frame of the peer does to the state; transfers and attaches have rooms of their own.

use std::{collections::HashMap, sync::Arc};

use fe2o3_amqp_types::{
    definitions::{AmqpError, ConnectionError, ReceiverSettleMode, Role, SessionError},
    messaging::{DeliveryState, Rejected},
};
use tokio_util::sync::CancellationToken;

use super::{
    Action, Connection, DetachReason, Phase, State,
    state::{CHANNEL_MAX, HANDLE_MAX, INCOMING_WINDOW, LinkKind, Session, Window},
};
use crate::amqp::{
    LinkEvent,
    codec::{Begin, Detach, Disposition, Flow, Frame, FrameKind, Open, Performative},
    error::{self, Error},
};

/// The smallest largest frame (AMQP 1.0 section 2.8.19, MIN-MAX-FRAME-SIZE).
const MIN_MAX_FRAME_SIZE: u32 = 512;

/// Frames we write never need to be larger than this, whatever the peer would take.
const MAX_FRAME_WRITTEN: u32 = 64 * 1024;

impl State {
    /// Takes one frame. An error closes the connection with it.
    pub(super) fn frame(
        &mut self,
        connection: &Arc<Connection>,
        frame: &Frame,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        if frame.kind != FrameKind::Amqp {
            return Err(error::with(
                ConnectionError::FramingError,
                "a SASL frame after the SASL exchange",
            ));
        }
        if frame.body.is_empty() || matches!(self.phase, Phase::Dead) {
            return Ok(()); // a heartbeat, or too late
        }
        let performative = Performative::decode(&frame.body)?;
        if self.phase == Phase::Closing {
            if let Performative::Close(_) = performative {
                self.phase = Phase::Dead;
            }
            return Ok(());
        }
        let channel = frame.channel;
        match performative {
            Performative::Open(open) => return self.open(connection, &open),
            _ if self.phase == Phase::AwaitingOpen => {
                return Err(error::with(AmqpError::IllegalState, "the first frame must be an open"));
            }
            Performative::Begin(begin) => return self.begin(channel, &begin),
            Performative::Close(error) => {
                if let Some(error) = error {
                    tracing::debug!(id = ?connection.id, %error, "the peer closes with an error");
                }
                self.close(&DetachReason::ConnectionLost, None, actions);
                // Both halves of the close are there: the reader has nothing to wait for.
                self.peer_closed = true;
                return Ok(());
            }
            _ => {}
        }
        let Some(session) = self.sessions.get(&channel) else {
            if let Performative::End(_) = performative {
                return Ok(()); // Python ends a session twice
            }
            return Err(error::with(
                AmqpError::NotAllowed,
                format!("channel {channel} has no session for {performative:?}"),
            ));
        };
        if session.ending {
            if let Performative::End(_) = performative {
                self.sessions.remove(&channel);
            }
            return Ok(());
        }
        let result = match performative {
            Performative::Attach(attach) => self.attach(connection, channel, *attach, actions),
            Performative::Flow(flow) => self.flow(channel, flow),
            Performative::Transfer(transfer) => self.transfer(connection, channel, transfer, actions),
            Performative::Disposition(disposition) => {
                self.disposition(channel, &disposition);
                Ok(())
            }
            Performative::Detach(detach) => self.peer_detached(channel, detach, actions),
            Performative::End(error) => {
                self.out.end(channel, None);
                self.end_links(channel, &DetachReason::Peer(error), actions);
                self.sessions.remove(&channel);
                Ok(())
            }
            Performative::Open(_) | Performative::Begin(_) | Performative::Close(_) => Ok(()),
        };
        if let Err(error) = result {
            // An error of the session's: end it, the connection goes on (section 2.5.5).
            self.out.end(channel, Some(&error));
            self.end_links(channel, &DetachReason::Local(error), actions);
            if let Some(session) = self.sessions.get_mut(&channel) {
                session.ending = true;
            }
        }
        Ok(())
    }

    fn open(&mut self, connection: &Connection, open: &Open) -> Result<(), Error> {
        if self.phase != Phase::AwaitingOpen {
            return Err(error::with(AmqpError::IllegalState, "a second open"));
        }
        tracing::debug!(id = ?connection.id, container = %open.container_id, "open");
        if open.max_frame_size < MIN_MAX_FRAME_SIZE {
            return Err(error::with(
                AmqpError::InvalidField,
                format!("open.max-frame-size is below {MIN_MAX_FRAME_SIZE}"),
            ));
        }
        self.phase = Phase::Open;
        self.peer_max_frame = open.max_frame_size.min(MAX_FRAME_WRITTEN) as usize;
        self.peer_idle_timeout_ms = open.idle_timeout.filter(|ms| *ms > 0);
        let options = &connection.options;
        // Announce half of what we really wait (section 2.4.5).
        let idle = u32::try_from(options.idle_timeout.as_millis() / 2).unwrap_or(u32::MAX);
        self.out.open(
            &options.container_id,
            options.max_frame_size,
            CHANNEL_MAX.min(open.channel_max),
            idle.max(1),
        );
        Ok(())
    }

    fn begin(&mut self, channel: u16, begin: &Begin) -> Result<(), Error> {
        if channel > CHANNEL_MAX {
            return Err(error::with(
                ConnectionError::FramingError,
                format!("channel {channel} is above channel-max {CHANNEL_MAX}"),
            ));
        }
        if self.sessions.contains_key(&channel) {
            return Err(error::with(
                AmqpError::IllegalState,
                format!("channel {channel} already has a session"),
            ));
        }
        let window = Window {
            next_incoming_id: begin.next_outgoing_id,
            incoming: INCOMING_WINDOW,
            next_outgoing_id: 0,
            outgoing: begin.incoming_window,
            next_delivery_id: 0,
            unsettled: Default::default(),
            outcomes: Vec::new(),
            flow_due: false,
        };
        let handle_max = HANDLE_MAX.min(begin.handle_max);
        self.out.begin(channel, channel, window.flow(None), handle_max);
        let uid = self.next_uid();
        self.sessions.insert(
            channel,
            Session {
                uid,
                ending: false,
                window,
                links: HashMap::new(),
            },
        );
        Ok(())
    }

    fn end_links(&mut self, channel: u16, reason: &DetachReason, actions: &mut Vec<Action>) {
        if let Some(session) = self.sessions.get_mut(&channel) {
            for (_, link) in session.links.drain() {
                link.over(reason.clone(), actions);
            }
            session.window.unsettled.clear();
            session.window.outcomes.clear();
        }
        self.reply_links.retain(|reply| reply.link.channel != channel);
    }

    fn flow(&mut self, channel: u16, flow: Flow) -> Result<(), Error> {
        let max_frame = self.peer_max_frame;
        let room = self.has_room();
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        let window = &mut session.window;
        // Section 2.5.6: what the peer will still take, less what is on its way. Before it has
        // seen our begin it can't name an id; then the first one counts, which is 0.
        window.outgoing = flow
            .next_incoming_id
            .unwrap_or(0)
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(window.next_outgoing_id);
        let mut echo = flow.echo;
        if let Some(handle) = flow.handle {
            let link = session.links.get_mut(&handle).ok_or_else(|| unattached(handle))?;
            match &mut link.kind {
                LinkKind::Attaching { early_flow, .. } => *early_flow = Some(flow),
                LinkKind::Outgoing(outgoing) => {
                    outgoing.take_flow(&flow);
                    if flow.echo {
                        echo = false;
                        self.out.flow(
                            channel,
                            window.flow(Some((handle, outgoing.delivery_count, outgoing.credit, false))),
                        );
                    }
                }
                LinkKind::Incoming(incoming) => {
                    // A sender that has used credit up without sending says so here.
                    if let Some(count) = flow.delivery_count {
                        let skipped = count.wrapping_sub(incoming.delivery_count);
                        if skipped <= incoming.credit {
                            incoming.credit -= skipped;
                            incoming.delivery_count = count;
                        }
                    }
                    if flow.echo {
                        echo = false;
                        self.out.flow(
                            channel,
                            window.flow(Some((handle, incoming.delivery_count, incoming.credit, false))),
                        );
                    }
                }
                LinkKind::Detaching => {}
            }
        }
        window.flow_due |= echo;
        session.pump(channel, &mut self.out, max_frame, room);
        Ok(())
    }

    /// The peer as a receiver says what became of our deliveries. (As a sender it has nothing to
    /// say: our incoming links settle first.)
    fn disposition(&mut self, channel: u16, disposition: &Disposition) {
        let (max_frame, room) = (self.peer_max_frame, self.has_room());
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        if disposition.role != Role::Receiver {
            return;
        }
        let (first, last) = (disposition.first, disposition.last);
        let unsettled = &mut session.window.unsettled;
        // Ids wrap around; a range over the end is two (RFC 1982 serial numbers, section 2.8.10).
        let ids: Vec<u32> = if first <= last {
            unsettled.range(first..=last).map(|(id, _)| *id).collect()
        } else {
            let upper = unsettled.range(first..);
            upper.chain(unsettled.range(..=last)).map(|(id, _)| *id).collect()
        };
        if ids.is_empty() && !disposition.settled {
            // It waits for an answer that nobody else can give.
            let state = DeliveryState::Rejected(Rejected {
                error: Some(error::with(
                    AmqpError::IllegalState,
                    "These deliveries are settled already.",
                )),
            });
            self.out
                .disposition(channel, &Role::Sender, (first, last), Some(&state));
        }
        let transactional = matches!(disposition.state, Some(DeliveryState::TransactionalState(_)));
        let enlisting = (transactional && !ids.is_empty()).then(|| {
            let dealt_with = CancellationToken::new();
            // Before it grows: what is dealt with already needs no room.
            if self.enlisting.len() == self.enlisting.capacity() {
                self.enlisting.retain(|settlement| !settlement.is_cancelled());
            }
            self.enlisting.push(dealt_with.clone());
            Arc::new(dealt_with.drop_guard())
        });
        // How far it has come with a delivery is of no use to anybody here (section 3.4.1).
        let is_outcome = !matches!(disposition.state, None | Some(DeliveryState::Received(_)));
        for id in ids {
            let Some(entry) = unsettled.get_mut(&id) else {
                continue;
            };
            let (handle, tag) = (entry.handle, entry.tag);
            if disposition.settled {
                unsettled.remove(&id);
            } else if !is_outcome || std::mem::replace(&mut entry.asked, true) {
                continue;
            }
            if let Some(LinkKind::Outgoing(outgoing)) = session.links.get_mut(&handle).map(|link| &mut link.kind) {
                let _ = outgoing.events.send(LinkEvent::Disposition {
                    delivery: crate::amqp::DeliveryId(id),
                    tag,
                    state: disposition.state.clone(),
                    settled: disposition.settled,
                    enlisting: enlisting.clone(),
                });
            }
        }
        // Somebody may have been waiting for fewer unsettled deliveries.
        session.pump(channel, &mut self.out, max_frame, room);
    }

    fn peer_detached(&mut self, channel: u16, detach: Detach, actions: &mut Vec<Action>) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        let handle = detach.handle;
        let link = session.links.remove(&handle).ok_or_else(|| unattached(handle))?;
        let uid = link.uid;
        match link.kind {
            LinkKind::Detaching => {}
            LinkKind::Attaching { .. } => {
                // Answer the attach all the same, or the peer would take the detach for another's.
                self.out.refused_attach(channel, handle, &link.name, &link.role);
                self.out.detach(channel, handle, true, None);
                link.over(DetachReason::Peer(detach.error), actions);
            }
            LinkKind::Incoming(_) | LinkKind::Outgoing(_) => {
                self.out.detach(channel, handle, detach.closed, None);
                session.window.forget_link(handle);
                link.over(DetachReason::Peer(detach.error), actions);
            }
        }
        self.reply_links.retain(|reply| reply.link.uid != uid);
        Ok(())
    }
}

impl Window {
    /// Deliveries of a link that is over can't be settled on it any more.
    pub(super) fn forget_link(&mut self, handle: u32) {
        self.unsettled.retain(|_, entry| entry.handle != handle);
    }
}

pub(super) fn unattached(handle: u32) -> Error {
    error::with(
        SessionError::UnattachedHandle,
        format!("handle {handle} is not attached"),
    )
}

/// Receivers of ours always settle first: answered even where second was asked for, because an
/// accepted message is stored when we say so, and the Python sender waits for just that answer.
pub(super) const OUR_RCV_SETTLE_MODE: ReceiverSettleMode = ReceiverSettleMode::First;
