//! What a connection, a session and a link are, as data.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use fe2o3_amqp_types::{definitions::Role, messaging::DeliveryState};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Action, HIGH_WATER,
    hold_up::HeldUp,
    unfinished::{Partial, Unfinished},
};
use crate::amqp::{
    DeliveryTag, DetachReason, Grant, IncomingHandler, LinkEvent,
    codec::{Encoder, Flow, FlowOut},
    error::Error,
    requests::Response,
};

/// Transfer frames a peer may send before it hears from us again.
pub(super) const INCOMING_WINDOW: u32 = 4096;

/// Ours is not limited; the specification wants a number below 2^31 (section 2.5.6).
pub(super) const OUTGOING_WINDOW: u32 = i32::MAX as u32;

/// Highest handle, and highest channel, that we take.
pub(super) const HANDLE_MAX: u32 = 4095;
pub(super) const CHANNEL_MAX: u16 = 1023;

/// Links of a connection in all its sessions. Each costs some kilobytes, and often a task.
pub(super) const LINKS_MAX: usize = 5000;

/// Entities a connection may have tokens for; nobody can use more than one for each link.
pub(super) const GRANTS_MAX: usize = LINKS_MAX;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    AwaitingOpen,
    Open,
    /// Our close is queued; only the peer's is waited for.
    Closing,
    /// The socket is gone.
    Dead,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// By a fault.
    pub(super) held_up: Option<HeldUp>,
    /// Nothing more will come.
    pub(super) peer_closed: bool,
    pub(super) out: Encoder,
    /// Bytes the writer has taken and not yet written.
    pub(super) writing: usize,
    /// The reader is at work and will wake the writer itself.
    pub(super) corked: bool,
    pub(super) peer_max_frame: usize,
    pub(super) peer_idle_timeout_ms: Option<u32>,
    /// By channel. Our channel and handle numbers are the peer's.
    pub(super) sessions: HashMap<u16, Session>,
    pub(super) grants: Vec<Grant>,
    pub(super) reply_links: Vec<ReplyLink>,
    /// Bytes handed to the broker and not yet answered.
    pub(super) in_flight: usize,
    /// Dispositions in transactions that their links have not dealt with yet.
    pub(super) enlisting: Vec<CancellationToken>,
    pub(super) unfinished: Unfinished,
    /// Source of [`LinkId`]s: handles and channels are used again, these are not.
    pub(super) last_uid: u64,
}

/// A link of this connection, also after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) struct LinkId {
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) uid: u64,
}

/// The way back of a request/response node.
pub(super) struct ReplyLink {
    pub(super) link: LinkId,
    pub(super) node: String,
    /// The target's address: what requests carry as `reply-to`.
    pub(super) reply_to: Option<String>,
    pub(super) responses: mpsc::UnboundedSender<Response>,
}

pub(super) struct Session {
    /// Unlike its channel, never used again on this connection.
    pub(super) uid: u64,
    /// We have ended it; everything up to the peer's end is discarded.
    pub(super) ending: bool,
    pub(super) window: Window,
    /// By handle.
    pub(super) links: HashMap<u32, Link>,
}

/// What the links of a session share.
pub(super) struct Window {
    pub(super) next_incoming_id: u32,
    /// Transfers the peer may still send.
    pub(super) incoming: u32,
    pub(super) next_outgoing_id: u32,
    /// Transfers we may still send.
    pub(super) outgoing: u32,
    pub(super) next_delivery_id: u32,
    /// What we sent and nobody has settled.
    pub(super) unsettled: BTreeMap<u32, Unsettled>,
    /// Answers to the peer's deliveries, not yet written. `None` stands for accepted.
    pub(super) outcomes: Vec<(u32, Option<Box<DeliveryState>>)>,
    /// A flow with the session's numbers is due.
    pub(super) flow_due: bool,
}

pub(super) struct Unsettled {
    pub(super) handle: u32,
    pub(super) tag: DeliveryTag,
    /// The peer has named an outcome and waits for ours: naming one again changes nothing.
    pub(super) asked: bool,
}

pub(super) struct Link {
    pub(super) uid: u64,
    pub(super) name: String,
    /// Our role.
    pub(super) role: Role,
    pub(super) kind: LinkKind,
}

pub(super) enum LinkKind {
    /// The broker is thinking about it.
    Attaching {
        cancel: CancellationToken,
        initial_delivery_count: u32,
        /// Credit that came before our answer.
        early_flow: Option<Flow>,
        /// Detach with this once attached.
        then_detach: Option<Error>,
    },
    Incoming(Incoming),
    Outgoing(Outgoing),
    /// We have detached; everything up to the peer's detach is discarded.
    Detaching,
}

pub(super) struct Incoming {
    pub(super) handler: Arc<dyn IncomingHandler>,
    /// Most deliveries unanswered at a time.
    pub(super) max_credit: u32,
    /// Deliveries the peer may still start.
    pub(super) credit: u32,
    /// Deliveries the broker has and has not answered.
    pub(super) unanswered: u32,
    pub(super) delivery_count: u32,
    pub(super) max_message_size: u64,
    pub(super) partial: Option<Partial>,
    /// Of the whole connection.
    pub(super) unfinished: Unfinished,
    /// Faults may hit it; `$cbs` and management are spared.
    pub(super) faulty: bool,
}

pub(super) struct Outgoing {
    pub(super) credit: u32,
    pub(super) delivery_count: u32,
    pub(super) drain: bool,
    /// The link's task was told to drain and has not answered.
    pub(super) drain_told: bool,
    pub(super) events: mpsc::UnboundedSender<LinkEvent>,
    /// Wakes the link's task where it waits for credit or room.
    pub(super) ready: Arc<Notify>,
    pub(super) waiting: bool,
    pub(super) pending: Option<Pending>,
    /// The task has ended; detach with this once nothing is pending.
    pub(super) finish: Option<Result<(), Error>>,
    pub(super) faulty: bool,
}

/// A delivery that has been taken and is not yet wholly in frames.
pub(super) struct Pending {
    pub(super) id: u32,
    pub(super) tag: DeliveryTag,
    pub(super) format: u32,
    pub(super) settled: bool,
    pub(super) pieces: [Bytes; 2],
    pub(super) started: bool,
}

impl State {
    pub(super) fn next_uid(&mut self) -> u64 {
        self.last_uid += 1;
        self.last_uid
    }

    /// May link tasks queue more?
    pub(super) fn has_room(&self) -> bool {
        self.queued() < HIGH_WATER
    }

    /// Bytes between link tasks and the socket.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.writing
    }

    /// A link that is still the same link, with what it needs of its session.
    pub(super) fn link(&mut self, id: LinkId) -> Option<(&mut Encoder, &mut Window, &mut Link)> {
        let session = self.sessions.get_mut(&id.channel)?;
        let link = session.links.get_mut(&id.handle)?;
        (link.uid == id.uid).then_some((&mut self.out, &mut session.window, link))
    }

    /// The same, if it is an outgoing link that is not over.
    pub(super) fn outgoing(&mut self, id: LinkId) -> Option<(&mut Encoder, &mut Window, &mut Outgoing)> {
        match self.link(id)? {
            (
                out,
                window,
                Link {
                    kind: LinkKind::Outgoing(outgoing),
                    ..
                },
            ) => Some((out, window, outgoing)),
            _ => None,
        }
    }
}

impl Window {
    pub(super) fn flow(&self, link: Option<(u32, u32, u32, bool)>) -> FlowOut {
        FlowOut {
            next_incoming_id: self.next_incoming_id,
            incoming_window: self.incoming,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            link,
        }
    }
}

impl Outgoing {
    /// Lets the link's task look again.
    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.waiting) {
            self.ready.notify_one();
        }
    }
}

impl Link {
    /// Tells the broker that the link is over.
    pub(super) fn over(self, reason: DetachReason, actions: &mut Vec<Action>) {
        match self.kind {
            LinkKind::Attaching { cancel, .. } => cancel.cancel(),
            LinkKind::Incoming(incoming) => actions.push(Action::Closed(incoming.handler)),
            LinkKind::Outgoing(outgoing) => {
                // Nobody listens if the task has ended by itself.
                let _ = outgoing.events.send(LinkEvent::Closed(reason));
                outgoing.ready.notify_one();
            }
            LinkKind::Detaching => {}
        }
    }
}
