//! Links coming up: asking the broker, answering the peer, and taking links down from our side.

use std::sync::Arc;

use fe2o3_amqp_types::{
    definitions::{AmqpError, Role, SessionError},
    messaging::{Source, Target},
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Action, Connection, DetachReason, State,
    frames::OUR_RCV_SETTLE_MODE,
    state::{HANDLE_MAX, Incoming, LINKS_MAX, Link, LinkId, LinkKind, Outgoing, ReplyLink},
};
use crate::amqp::{
    AttachRequest, Attached, Direction, LinkControl, LinkEvent, LinkEvents, LinkReply, LinkSender, ListenerOptions,
    Right, Rights, SessionId,
    address::entity_path,
    codec::{Attach, AttachReply, AttachTarget},
    error::{self, Error},
    requests,
    service::OutgoingTask,
};

/// What stands for the address of a coordinator, which has none. No entity's name begins with `$`.
const COORDINATOR: &str = "$coordinator";
/// The node for put-token (AMQP Claims-based Security 1.0, draft).
const CBS: &str = "$cbs";

impl State {
    pub(super) fn attach(
        &mut self,
        connection: &Arc<Connection>,
        channel: u16,
        attach: Attach,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let handle = attach.handle;
        if handle > HANDLE_MAX {
            return Err(error::with(
                AmqpError::NotAllowed,
                format!("handle {handle} is above handle-max {HANDLE_MAX}"),
            ));
        }
        let links: usize = self.sessions.values().map(|session| session.links.len()).sum();
        if links >= LINKS_MAX {
            return Err(error::with(
                AmqpError::ResourceLimitExceeded,
                format!("a connection takes at most {LINKS_MAX} links"),
            ));
        }
        let id = LinkId {
            channel,
            handle,
            uid: self.next_uid(),
        };
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        if session.links.contains_key(&handle) {
            return Err(error::with(
                SessionError::HandleInUse,
                format!("handle {handle} is attached already"),
            ));
        }
        let (alone, session_id) = (session.links.is_empty(), SessionId(connection.id, session.uid));
        let coordinator = matches!(attach.target, Some(AttachTarget::Coordinator));
        let cancel = CancellationToken::new();
        let (role, direction) = match attach.role {
            Role::Sender => (Role::Receiver, Direction::Incoming),
            Role::Receiver => (Role::Sender, Direction::Outgoing),
        };
        session.links.insert(
            handle,
            Link {
                uid: id.uid,
                name: attach.name.clone(),
                role,
                kind: LinkKind::Attaching {
                    cancel: cancel.clone(),
                    initial_delivery_count: attach.initial_delivery_count,
                    early_flow: None,
                    then_detach: None,
                },
            },
        );
        let target = match attach.target {
            Some(AttachTarget::Node(target)) => Some(target),
            Some(AttachTarget::Coordinator) | None => None,
        };
        let address = match direction {
            Direction::Incoming if coordinator => Some(COORDINATOR),
            Direction::Incoming => target.as_ref().and_then(|target| target.address.as_deref()),
            Direction::Outgoing => attach.source.as_ref().and_then(|s| s.address.as_deref()),
        };
        let Some(address) = address.map(|address| entity_path(address).to_owned()) else {
            self.refuse(
                id,
                &error::with(
                    AmqpError::InvalidField,
                    "An address is needed to attach; dynamic nodes are not supported.",
                ),
            );
            return Ok(());
        };
        let open = !connection.options.require_token || address == CBS || address == COORDINATOR;
        let rights = if open { Rights::ALL } else { self.rights_on(&address) };
        if let Err(error) = check_rights(rights, &address, direction) {
            self.refuse(id, &error);
            return Ok(());
        }
        let request = AttachRequest {
            connection: connection.id,
            session: session_id,
            alone,
            name: attach.name,
            direction,
            address,
            rights,
            source: attach.source,
            target,
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            desired_capabilities: attach.desired_capabilities,
            properties: attach.properties,
            control: LinkControl::new(connection, id),
        };
        actions.push(Action::Attach(id, cancel, Box::new(request)));
        Ok(())
    }

    fn refuse(&mut self, id: LinkId, error: &Error) {
        let Some((out, _, link)) = self.link(id) else {
            return;
        };
        out.refused_attach(id.channel, id.handle, &link.name, &link.role);
        out.detach(id.channel, id.handle, true, Some(error));
        link.kind = LinkKind::Detaching;
    }

    /// Detaches a link with an error from our side.
    pub(super) fn detach(&mut self, id: LinkId, error: Option<Error>, actions: &mut Vec<Action>) {
        let Some((out, window, link)) = self.link(id) else {
            return;
        };
        match &mut link.kind {
            LinkKind::Detaching => return,
            LinkKind::Attaching { then_detach, .. } => {
                *then_detach = error;
                return;
            }
            LinkKind::Incoming(_) | LinkKind::Outgoing(_) => {}
        }
        out.detach(id.channel, id.handle, true, error.as_ref());
        window.forget_link(id.handle);
        let over = Link {
            uid: link.uid,
            name: String::new(),
            role: link.role.clone(),
            kind: std::mem::replace(&mut link.kind, LinkKind::Detaching),
        };
        let error = error.unwrap_or_else(|| error::detach_forced("Detached by the broker."));
        over.over(DetachReason::Local(error), actions);
        self.reply_links.retain(|reply| reply.link != id);
    }
}

/// What the broker, or the listener itself, makes of an attach.
struct Answer {
    attached: Attached,
    /// Set for the way back of a request/response node.
    reply_link: Option<ReplyLink>,
    /// Faults may hit the link.
    faulty: bool,
}

impl Connection {
    /// Finds out who serves the address, and answers.
    pub(super) fn ask_broker(self: &Arc<Self>, id: LinkId, cancel: CancellationToken, request: Box<AttachRequest>) {
        if request.address == COORDINATOR {
            let attached = self.service.coordinator(&request);
            let answer = attached.map(|attached| Answer {
                attached,
                reply_link: None,
                faulty: true,
            });
            let unsupported = || error::not_implemented("Transactions are not supported by this emulator.");
            return self.answer_attach(id, &request, answer.ok_or_else(unsupported));
        }
        let node = if request.address == CBS {
            Ok(Some(requests::cbs(self)))
        } else {
            self.service.request_node(&request.address, request.rights)
        };
        match node {
            Err(error) => self.answer_attach(id, &request, Err(error)),
            Ok(Some(handler)) => {
                let (attached, responses) = requests::attach(self, &request, handler);
                let answer = Answer {
                    attached,
                    reply_link: responses.map(|responses| ReplyLink {
                        link: id,
                        node: request.address.clone(),
                        reply_to: request.target.as_ref().and_then(|t| t.address.clone()),
                        responses,
                    }),
                    faulty: false,
                };
                self.answer_attach(id, &request, Ok(answer));
            }
            Ok(None) => {
                let connection = Arc::clone(self);
                self.tasks.spawn(async move {
                    let attached = tokio::select! {
                        attached = connection.service.attach((*request).clone()) => attached,
                        () = cancel.cancelled() => return,
                    };
                    let answer = attached.map(|attached| Answer {
                        attached,
                        reply_link: None,
                        faulty: true,
                    });
                    connection.answer_attach(id, &request, answer);
                });
            }
        }
    }

    fn answer_attach(self: &Arc<Self>, id: LinkId, request: &AttachRequest, answer: Result<Answer, Error>) {
        let answer = answer.and_then(|answer| {
            let direction = match answer.attached {
                Attached::Incoming { .. } => Direction::Incoming,
                Attached::Outgoing { .. } => Direction::Outgoing,
            };
            if direction == request.direction {
                Ok(answer)
            } else {
                Err(error::internal("The broker answered for the other direction."))
            }
        });
        match answer {
            Err(error) => {
                tracing::debug!(id = ?self.id, address = %request.address, %error, "attach refused");
                self.update(|state, _| state.refuse(id, &error));
            }
            Ok(answer) => {
                // Left here if the link has gone, so that the broker's guards in it are dropped
                // outside of our lock.
                let mut answer = Some(answer);
                let task = self.update(|state, actions| state.accept(id, request, &mut answer, &self.options, actions));
                if let Some((task, events, ready)) = task {
                    let sender = LinkSender::new(Arc::clone(self), id, ready);
                    let connection = Arc::clone(self);
                    self.tasks.spawn(async move {
                        let result = task(sender, LinkEvents::new(events)).await;
                        connection.finish(id, result);
                    });
                }
            }
        }
    }
}

/// Whether these rights are enough for a link. What is asked of a node that answers requests is the broker's to check.
fn check_rights(rights: Rights, address: &str, direction: Direction) -> Result<(), Error> {
    if rights == Rights::NONE {
        return Err(error::unauthorized(format!(
            "Unauthorized access: no token for '{address}' on this connection. Put one to $cbs first."
        )));
    }
    let needed = match direction {
        Direction::Incoming => Right::Send,
        Direction::Outgoing => Right::Listen,
    };
    if rights.has(needed) || answers_requests(address) {
        return Ok(());
    }
    Err(error::lacks(needed, address))
}

/// Both links to such a node are one conversation.
fn answers_requests(address: &str) -> bool {
    let last = address.rsplit('/').next();
    last.is_some_and(|last| last.eq_ignore_ascii_case("$management"))
}

/// What is needed to start an outgoing link's task.
type Start = (OutgoingTask, mpsc::UnboundedReceiver<LinkEvent>, Arc<Notify>);

impl State {
    /// Writes our half of the attach and makes the link what the broker wants it to be. Nothing
    /// happens if the link has gone meanwhile.
    fn accept(
        &mut self,
        id: LinkId,
        request: &AttachRequest,
        answer: &mut Option<Answer>,
        options: &ListenerOptions,
        actions: &mut Vec<Action>,
    ) -> Option<Start> {
        let unfinished = self.unfinished.clone();
        let (out, window, link) = self.link(id)?;
        let LinkKind::Attaching {
            initial_delivery_count,
            early_flow,
            then_detach,
            ..
        } = &mut link.kind
        else {
            return None;
        };
        let answer = answer.take()?;
        let (initial_delivery_count, then_detach) = (*initial_delivery_count, then_detach.take());
        let early_flow = early_flow.take();
        let limit = |reply: &LinkReply| match reply.max_message_size {
            0 => options.max_message_size,
            size => size,
        };
        let mut start = None;
        let reply = match answer.attached {
            Attached::Incoming { reply, handler, credit } => {
                link.kind = LinkKind::Incoming(Incoming {
                    handler,
                    max_credit: credit.max(1),
                    credit: 0,
                    unanswered: 0,
                    delivery_count: initial_delivery_count,
                    max_message_size: limit(&reply),
                    partial: None,
                    unfinished,
                    faulty: answer.faulty,
                });
                reply
            }
            Attached::Outgoing { reply, task } => {
                let (events, receiver) = mpsc::unbounded_channel();
                let ready = Arc::new(Notify::new());
                let mut outgoing = Outgoing {
                    credit: 0,
                    delivery_count: 0,
                    drain: false,
                    drain_told: false,
                    events,
                    ready: Arc::clone(&ready),
                    waiting: false,
                    pending: None,
                    finish: None,
                    faulty: answer.faulty,
                };
                if let Some(flow) = early_flow {
                    outgoing.take_flow(&flow);
                }
                link.kind = LinkKind::Outgoing(outgoing);
                start = Some((task, receiver, ready));
                reply
            }
        };
        let source = reply.source.as_ref().or(request.source.as_ref());
        let target = reply.target.as_ref().or(request.target.as_ref());
        out.attach(
            id.channel,
            &AttachReply {
                name: &link.name,
                handle: id.handle,
                role: link.role.clone(),
                snd_settle_mode: &request.snd_settle_mode,
                rcv_settle_mode: match request.direction {
                    Direction::Incoming => OUR_RCV_SETTLE_MODE,
                    Direction::Outgoing => request.rcv_settle_mode.clone(),
                },
                // Null would mean refused, so a terminus the peer left out is an empty one.
                source: Some(source.unwrap_or(&Source::default())),
                target: Some(target.unwrap_or(&Target::default())),
                coordinator: request.address == COORDINATOR,
                max_message_size: limit(&reply),
                offered_capabilities: &reply.offered_capabilities,
                properties: &reply.properties,
            },
        );
        window.flow_due = true;
        self.reply_links.extend(answer.reply_link);
        if then_detach.is_some() {
            self.detach(id, then_detach, actions);
        }
        start
    }
}
