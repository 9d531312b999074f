//! An AMQP 1.0 listener (OASIS AMQP 1.0, parts 1 to 3) that brokers are written on.
//!
//! It owns everything that is protocol and nothing that is broker: connections, SASL, sessions,
//! credit, windows, fragmentation and the request/response pattern of `$cbs` and `$management`.
//! A broker implements [`Service`] and never sees a frame.
//!
//! | a broker wants to | it uses |
//! | --- | --- |
//! | listen, and stop | [`Listener`], [`ListenerOptions`] |
//! | decide who may come in, and what for | [`Service::authorize`], [`SharedAccessKey`], [`Rights`] |
//! | accept or refuse a link | [`Service::attach`], [`AttachRequest`], [`Attached`] |
//! | take messages from a client | [`IncomingHandler`], [`IncomingDelivery`], [`Responder`] |
//! | give messages to a client | [`LinkSender`], [`LinkEvents`] |
//! | answer requests | [`RequestHandler`] |
//! | name what went wrong | [`error`] |

pub(crate) mod address;
mod cbs;
mod codec;
mod connection;
mod incoming;
mod listener;
mod outgoing;
mod requests;
mod rights;
mod sas;
mod sections;
mod service;

pub(crate) mod error;

pub(crate) use incoming::{IncomingDelivery, IncomingHandler, Responder};
pub(crate) use listener::{Listener, ListenerOptions};
pub(crate) use outgoing::{
    Delivery, DeliveryId, DeliveryTag, DetachReason, LinkEvent, LinkEvents, LinkGone, LinkSender,
};
pub(crate) use requests::{Request, RequestHandler, RequestMessage, decode_message};
pub(crate) use rights::{Right, Rights};
pub(crate) use sas::{EntityKey, SharedAccessKey};
pub(crate) use sections::{binary, code, decode, sections};
pub(crate) use service::{
    AttachRequest, Attached, ConnectionId, Credential, Direction, Grant, LinkControl, LinkReply, Service, SessionId,
};
